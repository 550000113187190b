//! Which pages were written, and which granules of them translations were made from.
//!
//! One structure serves snapshots (dirty pages) and self-modifying code. A page holds 64 granules of
//! 64 bytes; bit `n` of its mask says that a translation was made from bytes `64n..64n+64`.
//!
//! **Invariant:** a translator sets bits first and reads the bytes afterwards; a writer stores first,
//! fences, and looks at the bits afterwards. So for any pair of them either the writer sees the bit
//! (and the listener kills the translation), or the translator reads the new bytes. A translation may
//! still be published after the kill of its bits: see [`Tracker::holds`].
//!
//! The fence is one for both sides. Writers that go through here execute it themselves if the page holds
//! code. Those that store beside code often do not: they have the page [shared](Tracker::share), store, and
//! look at its word of granules ([`Tracker::words`]) in plain program order. In a shared page it is the
//! translator, who comes rarely, that makes all threads fence between its two steps. A page once shared
//! stays so.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};

use parking_lot::RwLock;

use crate::{PAGE, host};

/// How often [`Tracker::holds`] begins anew because of writes to code elsewhere.
const HOLD_TURNS: u32 = 16;

/// Bytes of a granule.
pub const GRANULE: u64 = PAGE / 64;

/// Hears of writes to bytes that translations were made from.
pub trait CodeListener: Send + Sync {
    /// `granules` of the page at `page_gpa` held code and were written; their bits are already clear.
    /// Called on the thread that wrote, after the bytes are in memory.
    fn code_written(&self, page_gpa: u64, granules: u64);
}

/// Dirty and code pages of one address space.
pub struct Tracker {
    range: Range<u64>,
    code: Box<[AtomicU64]>,
    dirty: Box<[AtomicU64]>,
    shared: Box<[AtomicU64]>,
    logging: AtomicBool,
    kills: AtomicU64,
    /// A page that becomes a code page orders all threads, so that stores to other pages need no fence.
    remote_order: bool,
    listener: RwLock<Option<Arc<dyn CodeListener>>>,
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").field("range", &self.range).finish_non_exhaustive()
    }
}

impl Tracker {
    /// For the pages of `range`, which is page-aligned.
    pub(crate) fn new(range: Range<u64>) -> Tracker {
        let pages = ((range.end - range.start) / PAGE) as usize;
        Tracker {
            range,
            code: host::zeroed(pages),
            dirty: host::zeroed(pages.div_ceil(64)),
            shared: host::zeroed(pages.div_ceil(64)),
            logging: AtomicBool::new(false),
            kills: AtomicU64::new(0),
            remote_order: host::can_order_everywhere(),
            listener: RwLock::new(None),
        }
    }

    /// Who hears of writes to code from now on.
    pub fn set_listener(&self, listener: Arc<dyn CodeListener>) {
        *self.listener.write() = Some(listener);
    }

    /// Says that translations are about to be made from `granules` of a page. Returns the mask before:
    /// 0 means that the page becomes a code page, and the caller must revoke its write tags in every
    /// TLB before it reads the bytes. A page outside of memory is not tracked and returns all ones.
    pub fn add_code(&self, page_gpa: u64, granules: u64) -> u64 {
        match self.index(page_gpa) {
            Some(page) => {
                let before = self.code[page].fetch_or(granules, Ordering::SeqCst);
                if before == 0 && self.remote_order || self.is_shared(page) {
                    host::order_everywhere();
                }
                before
            }
            None => u64::MAX,
        }
    }

    /// From here on the caller stores to the page without a fence, looks at its word of granules after each
    /// store, and calls [`Tracker::wrote`] if that has a bit of what it stored to. False if it must not.
    pub fn share(&self, page_gpa: u64) -> bool {
        match self.index(page_gpa) {
            Some(page) if self.remote_order => {
                // Ordered with `add_code`: whoever does not see this has marked before.
                self.shared[page / 64].fetch_or(1 << (page % 64), Ordering::SeqCst);
                true
            }
            _ => false,
        }
    }

    fn is_shared(&self, page: usize) -> bool {
        self.shared[page / 64].load(Ordering::SeqCst) >> (page % 64) & 1 != 0
    }

    /// The words of granules, one a page from the first of the range on.
    pub fn words(&self) -> *const AtomicU64 {
        self.code.as_ptr()
    }

    /// Whether a translation from `granules` of a page, which has been published, still `is_true` to memory,
    /// and every store that makes it untrue from here on will be announced.
    pub fn holds(&self, page_gpa: u64, granules: u64, is_true: impl Fn() -> bool) -> bool {
        let Some(page) = self.index(page_gpa) else { return false };
        let marked = || self.code[page].load(Ordering::SeqCst) & granules == granules;
        if !self.is_shared(page) {
            // A store before this look is seen by it; one after it is announced.
            let holds = marked() && is_true();
            if !holds || !self.is_shared(page) {
                return holds;
            }
        }
        // A store before the barrier is seen, one after it is announced, if the marks stood all the while.
        for _ in 0..HOLD_TURNS {
            let kills = self.kills();
            host::order_everywhere();
            if !marked() || !is_true() {
                return false;
            }
            if self.kills() == kills {
                return true;
            }
        }
        false
    }

    /// Granules of the page that hold code.
    #[inline]
    pub fn code(&self, page_gpa: u64) -> u64 {
        self.index(page_gpa).map_or(0, |page| self.code[page].load(Ordering::SeqCst))
    }

    /// How many writes to code there were. Changes before the listener is called.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::SeqCst)
    }

    /// To be called after `len` bytes at `gpa` were stored.
    #[inline]
    pub fn wrote(&self, gpa: u64, len: u64) {
        // "I stored, then looked for code" here against "I marked code, then looked at the bytes" there.
        match self.remote_order {
            true => compiler_fence(Ordering::SeqCst),
            false => host::full_fence(),
        }
        let Some((first, last)) = self.span(gpa, len) else { return };
        if self.logging.load(Ordering::Relaxed) {
            self.set_dirty(first, last);
        }
        for page in first..=last {
            if self.code[page].load(Ordering::Relaxed) != 0 {
                // Granules of a page that has code already are marked without ordering this thread, unless it is
                // shared.
                if !self.is_shared(page) {
                    host::full_fence();
                }
                self.kill(page, gpa, len);
            }
        }
    }

    #[cold]
    fn kill(&self, page: usize, gpa: u64, len: u64) {
        let page_gpa = self.range.start + page as u64 * PAGE;
        let written = granules(page_gpa, gpa, len);
        if self.code[page].load(Ordering::SeqCst) & written == 0 {
            return;
        }
        let hit = self.code[page].fetch_and(!written, Ordering::SeqCst) & written;
        if hit == 0 {
            return;
        }
        self.kills.fetch_add(1, Ordering::SeqCst);
        let listener = self.listener.read().clone();
        if let Some(listener) = listener {
            listener.code_written(page_gpa, hit);
        }
    }

    /// Starts to note dirty pages, from an empty set. Every write tag must be revoked after this
    /// ([`SoftTlb::revoke_write_all`](crate::SoftTlb::revoke_write_all)) and before it is relied on.
    pub fn start_dirty_log(&self) {
        self.take_dirty();
        self.logging.store(true, Ordering::SeqCst);
    }

    /// Stops noting dirty pages.
    pub fn stop_dirty_log(&self) {
        self.logging.store(false, Ordering::SeqCst);
    }

    /// Whether dirty pages are noted.
    #[inline]
    pub fn logging(&self) -> bool {
        self.logging.load(Ordering::Relaxed)
    }

    /// Notes the page of `gpa` as dirty, if dirty pages are noted.
    #[inline]
    pub fn mark_dirty(&self, gpa: u64) {
        if self.logging()
            && let Some(page) = self.index(gpa)
        {
            self.set_dirty(page, page);
        }
    }

    /// Whether the page of `gpa` is noted as dirty.
    pub fn is_dirty(&self, gpa: u64) -> bool {
        self.index(gpa)
            .is_some_and(|page| self.dirty[page / 64].load(Ordering::Relaxed) >> (page % 64) & 1 != 0)
    }

    /// The pages dirtied since the last call, and clears the set. Exact only if no hart holds a write
    /// tag meanwhile: pause the harts, take, revoke all write tags, resume.
    pub fn take_dirty(&self) -> DirtyPages {
        let take = |word: &AtomicU64| match word.load(Ordering::Relaxed) {
            0 => 0, // the table of a large guest is mostly untouched: leave it so
            _ => word.swap(0, Ordering::SeqCst),
        };
        DirtyPages { start: self.range.start, words: self.dirty.iter().map(take).collect() }
    }

    fn set_dirty(&self, first: usize, last: usize) {
        for page in first..=last {
            let (word, bit) = (&self.dirty[page / 64], 1 << (page % 64));
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::SeqCst);
            }
        }
    }

    #[inline]
    fn index(&self, gpa: u64) -> Option<usize> {
        self.range.contains(&gpa).then(|| ((gpa - self.range.start) / PAGE) as usize)
    }

    /// First and last page of a range, as far as it lies in memory.
    #[inline]
    fn span(&self, gpa: u64, len: u64) -> Option<(usize, usize)> {
        let end = gpa.saturating_add(len).min(self.range.end);
        let start = gpa.max(self.range.start);
        let offset = |a: u64| ((a - self.range.start) / PAGE) as usize;
        (start < end).then(|| (offset(start), offset(end - 1)))
    }
}

/// The granules of the page at `page_gpa` that `len` bytes at `gpa` touch, as a mask.
pub fn granules(page_gpa: u64, gpa: u64, len: u64) -> u64 {
    let start = gpa.max(page_gpa);
    let end = gpa.saturating_add(len).min(page_gpa.saturating_add(PAGE));
    if start >= end {
        return 0;
    }
    let (first, last) = ((start - page_gpa) / GRANULE, (end - 1 - page_gpa) / GRANULE);
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// A set of guest-physical pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyPages {
    start: u64,
    words: Vec<u64>,
}

impl DirtyPages {
    /// Addresses of the pages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().enumerate().flat_map(move |(at, &word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 != 0)
                .map(move |bit| self.start + (at as u64 * 64 + bit) * PAGE)
        })
    }

    /// How many pages.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}
