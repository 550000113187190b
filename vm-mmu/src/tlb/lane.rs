//! The entries of one class, and which of them an address space sees.

#![allow(unsafe_code, reason = "memory that comes with its first use")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::Class;
use super::entry::{CODE, ENTRIES, Entry, IDS, SLOTTED, USER};
use super::stamps::Stamps;
use crate::{Access, PAGE};

/// Entries of a lane.
const COUNT: usize = ENTRIES + IDS;
/// Entries of which it is known together whether any was put.
const CHUNK: usize = 64;

/// Zeroed entries whose memory comes with the first use of it: the host's pages are zero already, and an
/// allocation with the entries' alignment would be written over.
#[derive(Debug)]
struct Entries {
    first: NonNull<[Entry; COUNT]>,
    whole: NonNull<u8>,
}

impl Entries {
    const LAYOUT: Layout = match Layout::from_size_align((COUNT + 1) * size_of::<Entry>(), align_of::<u64>())
    {
        Ok(layout) => layout,
        Err(_) => panic!("a lane has a size"),
    };

    fn new() -> Entries {
        // SAFETY: the layout is not of size 0.
        let whole = unsafe { alloc_zeroed(Entries::LAYOUT) };
        let Some(whole) = NonNull::new(whole) else { handle_alloc_error(Entries::LAYOUT) };
        let skew = whole.align_offset(align_of::<Entry>());
        // SAFETY: less than one entry is skipped, and there is room for one more.
        let first = unsafe { whole.add(skew) }.cast();
        Entries { first, whole }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.whole.as_ptr(), Entries::LAYOUT) }
    }
}

impl std::ops::Deref for Entries {
    type Target = [Entry; COUNT];

    #[inline(always)]
    fn deref(&self) -> &[Entry; COUNT] {
        // SAFETY: aligned, owned, and zeros are what `Entry::default` gives.
        unsafe { self.first.as_ref() }
    }
}

impl std::ops::DerefMut for Entries {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [Entry; COUNT] {
        // SAFETY: as in `deref`.
        unsafe { self.first.as_mut() }
    }
}

// SAFETY: plain data of one owner.
unsafe impl Send for Entries {}
// SAFETY: the same; what is shared is only read.
unsafe impl Sync for Entries {}

/// The entries of one class: that of a page and an id is at the page's index plus the id.
#[derive(Debug)]
pub(super) struct Lane {
    entries: Entries,
    id: u32,
    /// Chunks with entries that were put, a bit each.
    used: [u64; COUNT.div_ceil(CHUNK * 64)],
    /// Where the entry was put last that permits loads, and that permits stores.
    recent: [usize; 2],
    /// Where an entry permitted loads, and where one permitted stores.
    handy: [usize; 2],
    /// Indices of entries put since they were last taken, if somebody wants to know.
    pub filled: Option<Vec<u16>>,
    /// The first of them stayed when the others were forgotten.
    pub kept: bool,
}

impl Lane {
    pub fn new() -> Lane {
        let used = [0; COUNT.div_ceil(CHUNK * 64)];
        Lane {
            entries: Entries::new(),
            id: 0,
            used,
            recent: [0; 2],
            handy: [0; 2],
            filled: None,
            kept: false,
        }
    }

    #[inline(always)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Entries of `id` are hit from now on.
    #[inline]
    pub fn set_id(&mut self, id: u32) {
        self.id = id;
        // An entry that was never put would be that of page 0.
        let first = &mut self.entries[Lane::offset(id)];
        if *first == Entry::default() {
            *first = Entry::dead(0);
        }
    }

    /// The entry of page 0, from which others lie by their pages' indices.
    #[inline(always)]
    pub fn first(&self) -> *const Entry {
        &raw const self.entries[Lane::offset(self.id)]
    }

    #[inline(always)]
    fn offset(id: u32) -> usize {
        id as usize % IDS
    }

    #[inline(always)]
    fn index(id: u32, va: u64) -> usize {
        (va / PAGE) as usize % ENTRIES + Lane::offset(id)
    }

    #[inline(always)]
    pub fn at(&self, va: u64) -> &Entry {
        &self.entries[Lane::index(self.id, va)]
    }

    pub fn at_mut(&mut self, va: u64) -> &mut Entry {
        &mut self.entries[Lane::index(self.id, va)]
    }

    /// The entry at an index, if it permits `access` now.
    fn living(&self, at: usize, access: Access) -> Option<&Entry> {
        let entry = self.entries.get(at)?;
        (entry.permits(access) && Lane::index(self.id, entry.page()) == at).then_some(entry)
    }

    fn used(&mut self) -> impl Iterator<Item = &mut [Entry]> {
        let used = self.used;
        let chunks = self.entries.chunks_mut(CHUNK).enumerate();
        chunks.filter(move |(n, _)| used[n / 64] >> (n % 64) & 1 != 0).map(|(_, chunk)| chunk)
    }

    pub fn put(&mut self, class: Class, va: u64, mut entry: Entry, stamps: &mut Stamps) -> u16 {
        let at = Lane::index(self.id, va);
        let old = &self.entries[at];
        if old.flags & SLOTTED != 0 {
            if old.page() == entry.page() {
                entry.flags |= SLOTTED;
            } else {
                stamps.leaves(class, old.page());
            }
        }
        self.entries[at] = entry;
        for (recent, access) in self.recent.iter_mut().zip([Access::Load, Access::Store]) {
            if entry.permits(access) {
                *recent = at;
            }
        }
        self.used[at / CHUNK / 64] |= 1 << (at / CHUNK % 64);
        self.filled.iter_mut().for_each(|filled| filled.push(at as u16));
        at as u16
    }

    /// A copy of the entry of `va`, which hits.
    pub fn lend(&mut self, va: u64) -> (u64, u64) {
        self.lend_at(Lane::index(self.id, va))
    }

    fn lend_at(&mut self, at: usize) -> (u64, u64) {
        let entry = &mut self.entries[at];
        entry.flags |= SLOTTED;
        (entry.page(), entry.addend)
    }

    /// A copy of some entry that permits `access`.
    pub fn lend_any(&mut self, access: Access) -> Option<(u64, u64)> {
        let kind = usize::from(access == Access::Store);
        let is_lendable = |&at: &usize| self.living(at, access).is_some_and(Entry::is_lendable);
        let at = [self.handy[kind], self.recent[kind]].into_iter().chain(0..COUNT).find(is_lendable)?;
        self.handy[kind] = at;
        Some(self.lend_at(at))
    }

    #[inline]
    pub fn hit(&self, va: u64, access: Access) -> Option<&Entry> {
        let entry = self.at(va);
        (va.wrapping_sub(entry.page()) < PAGE && entry.permits(access)).then_some(entry)
    }

    /// The entry of `va`, if it permits stores that look for code afterwards.
    pub fn hit_beside(&self, va: u64) -> Option<&Entry> {
        let entry = self.at(va);
        (va.wrapping_sub(entry.load) < PAGE && entry.permits_beside()).then_some(entry)
    }

    /// No entry is left.
    pub fn clear(&mut self) {
        self.used().for_each(|chunk| chunk.fill(Entry::default()));
        self.used.fill(0);
    }

    /// The entry of a page under an id dies; true if there may be copies of it.
    pub fn kill(&mut self, id: u32, page: u64) -> bool {
        let entry = &mut self.entries[Lane::index(id, page)];
        let is_it = entry.page() == page;
        if is_it {
            entry.kill();
        }
        is_it && entry.flags & SLOTTED != 0
    }

    pub fn kill_user(&mut self, at: u16) -> bool {
        let entry = &mut self.entries[usize::from(at) % COUNT];
        let user = entry.flags & USER != 0;
        if user {
            *entry = Entry::dead(entry.page());
        }
        user
    }

    pub fn kill_users(&mut self) -> usize {
        (0..COUNT as u16).filter(|&at| self.kill_user(at)).count()
    }

    /// Stores to the page at `host` no longer hit; they are known as stores to code instead.
    pub fn revoke(&mut self, host: u64) -> u64 {
        let mut revoked = 0;
        let here = |entry: &&mut Entry| entry.page().wrapping_add(entry.addend) == host;
        for entry in self.used().flatten().filter(here) {
            if entry.revoke() {
                entry.flags |= CODE;
                revoked += 1;
            }
        }
        revoked
    }

    /// The entry put last that permits loads and stores, with its page.
    pub fn last_writable(&self) -> Option<(u64, Entry)> {
        self.filled.iter().flatten().rev().find_map(|&at| self.writable(at))
    }

    /// The entry that stayed when others were forgotten, with its page, if none was put in its place since.
    pub fn kept(&self) -> Option<(u64, Entry)> {
        let (first, others) = self.filled.as_deref().filter(|_| self.kept)?.split_first()?;
        if others.contains(first) { None } else { self.writable(*first) }
    }

    fn writable(&self, at: u16) -> Option<(u64, Entry)> {
        let entry = self.living(at.into(), Access::Store)?;
        entry
            .permits(Access::Load)
            .then_some((entry.page(), Entry { flags: entry.flags & !SLOTTED, ..*entry }))
    }

    /// Loads and stores miss until they are filled again.
    pub fn forget_data(&mut self) {
        self.kept = false;
        for at in self.filled.iter_mut().flat_map(|filled| filled.drain(..)) {
            self.entries[usize::from(at) % COUNT].deny_data();
        }
    }

    pub fn revoke_all(&mut self) -> u64 {
        self.used().flatten().map(|entry| u64::from(entry.revoke())).sum()
    }
}
