//! Heat: which translations are entered, by windows of time.
//!
//! Generated code stores a byte when a translation is entered, in an array of its hart. Once a window
//! the arrays are read and cleared: a translation's heat decays by a quarter and grows by [`ENTERED`]
//! for each hart that entered it.
//!
//! A store that races with the clearing may be lost. That costs a little heat and nothing else.

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Weak};

use crate::hash::hash;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::tally::Tally;

/// Heat of having been entered in a window.
const ENTERED: u32 = 1 << 16;
/// Log2 of the number of swept addresses that are remembered.
const SWEPT_BITS: u32 = 14;
/// Translated again within so many windows, what was swept is regretted.
const REGRET_WINDOWS: u32 = 50;

/// One reader's bytes.
pub struct Touches(Box<[AtomicU8]>);

impl Touches {
    /// Where generated code stores.
    pub fn base(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

/// See the module.
pub struct Heat {
    readers: Mutex<Vec<Weak<Touches>>>,
    translations: usize,
    window: AtomicU32,
    /// Bytes entered in the window that is being folded, by segment.
    pub entered: Box<[AtomicU32]>,
    swept: Box<[AtomicU64]>,
}

impl Heat {
    /// For numbers up to `translations`.
    pub fn new(translations: usize, segments: usize) -> Self {
        Self {
            readers: Mutex::default(),
            translations,
            window: AtomicU32::new(1),
            entered: (0..segments).map(|_| AtomicU32::new(0)).collect(),
            swept: crate::sync::zeroed(1 << SWEPT_BITS),
        }
    }

    /// The array of a new reader.
    pub fn reader(&self) -> Arc<Touches> {
        let touches = Arc::new(Touches((0..=self.translations).map(|_| AtomicU8::new(0)).collect()));
        let mut readers = self.readers.lock();
        readers.retain(|r| r.strong_count() > 0);
        readers.push(Arc::downgrade(&touches));
        touches
    }

    /// Number of the window that runs.
    pub fn window(&self) -> u32 {
        self.window.load(Ordering::Relaxed)
    }

    /// Starts the next window.
    pub fn next_window(&self) {
        self.window.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers that what was entered at `gpa` was swept.
    pub fn swept(&self, gpa: u64) {
        let (at, tag) = place(gpa);
        self.swept[at].store(tag | u64::from(self.window()), Ordering::Relaxed);
    }

    /// Counts code that is translated although it was swept not long ago.
    pub fn regret(&self, entries: &[(u64, u32)], bytes: u32, tally: &Tally) {
        let recent = |&(gpa, _): &(u64, u32)| {
            let (at, tag) = place(gpa);
            let swept = self.swept[at].load(Ordering::Relaxed);
            swept != 0
                && swept & TAG == tag
                && self.window().wrapping_sub(swept as u32) <= REGRET_WINDOWS
                && self.swept[at].swap(0, Ordering::Relaxed) != 0
        };
        if entries.iter().any(recent) {
            tally.regretted_bytes.add(bytes.into());
        }
    }
}

const TAG: u64 = !(u32::MAX as u64);

fn place(gpa: u64) -> (usize, u64) {
    let hash = hash(gpa);
    ((hash >> (64 - SWEPT_BITS)) as usize, hash << SWEPT_BITS & TAG)
}
