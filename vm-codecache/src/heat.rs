//! Heat: which translations are entered, by windows of time.
//!
//! Generated code stores a byte when a translation is entered, in an array of its hart. Once a window
//! the arrays are read and cleared: a translation's heat decays by a quarter and grows by [`ENTERED`]
//! for each hart that entered it. Decay is reckoned when heat is looked at, so a window costs what was
//! entered in it, not what there is.
//!
//! A store that races with the clearing may be lost. That costs a little heat and nothing else.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::hash::hash;
use crate::slab::NONE;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, zeroed};
use crate::tally::Tally;
use crate::translation::{Translation, state};

/// Heat of having been entered in a window.
pub const ENTERED: u32 = 1 << 16;
/// After so many windows nothing is left of a heat.
const FORGOTTEN: u32 = 64;
/// Log2 of the number of swept addresses that are remembered.
const SWEPT_BITS: u32 = 14;
/// Translated again within so many windows, what was swept is regretted.
const REGRET_WINDOWS: u32 = 50;
/// Numbers in a word of a reader's array.
const WORD: usize = 8;
/// Words read between two looks at the clock.
const STEP: usize = 512;

/// Age in windows of what was published and not entered yet.
const NOT_YET: u32 = 2;

/// One reader's bytes, eight to a word.
pub struct Touches(Box<[AtomicU64]>);

impl Touches {
    fn new(translations: usize) -> Self {
        Self(zeroed(translations / WORD + 1))
    }

    /// Where generated code stores.
    pub fn base(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    /// Reads and clears the byte of one number.
    fn take_one(&self, number: usize) -> bool {
        let mask = u64::from_le_bytes(std::array::from_fn(|i| if i == number % WORD { 0xff } else { 0 }));
        let touches = &self.0[number / WORD];
        touches.load(Ordering::Relaxed) & mask != 0 && touches.fetch_and(!mask, Ordering::Relaxed) & mask != 0
    }

    /// Reads and clears a word.
    fn take(&self, word: usize) -> u64 {
        let touches = &self.0[word];
        if touches.load(Ordering::Relaxed) == 0 { 0 } else { touches.swap(0, Ordering::Relaxed) }
    }
}

/// See the module.
pub struct Heat {
    readers: Mutex<Vec<Weak<Touches>>>,
    translations: usize,
    window: AtomicU32,
    swept: Box<[AtomicU64]>,
}

impl Heat {
    /// For numbers up to `translations`.
    pub fn new(translations: usize) -> Self {
        let swept = zeroed(1 << SWEPT_BITS);
        Self { readers: Mutex::default(), translations, window: AtomicU32::new(NOT_YET), swept }
    }

    /// The array of a new reader.
    pub fn reader(&self) -> Arc<Touches> {
        let touches = Arc::new(Touches::new(self.translations));
        let mut readers = self.readers.lock();
        readers.retain(|r| r.strong_count() > 0);
        readers.push(Arc::downgrade(&touches));
        touches
    }

    /// Number of the window that runs.
    pub fn window(&self) -> u32 {
        self.window.load(Ordering::Relaxed)
    }

    /// Heat of a translation now.
    pub fn of(&self, translation: &Translation) -> u32 {
        let age = self.window().wrapping_sub(translation.entered.load(Ordering::Relaxed));
        decayed(translation.heat.load(Ordering::Relaxed), age)
    }

    /// Whether a translation was entered in this window or the one before.
    pub fn is_recent(&self, translation: &Translation) -> bool {
        self.window().wrapping_sub(translation.entered.load(Ordering::Relaxed)) < NOT_YET
    }

    /// Gives a new translation its first heat.
    pub fn start(&self, translation: &Translation, heat: u32) {
        translation.heat.store(heat, Ordering::Relaxed);
        translation.entered.store(self.window() - NOT_YET, Ordering::Relaxed);
    }

    /// Counts what was entered of `numbers` since the window began.
    pub fn refresh(&self, core: &Core, numbers: impl Iterator<Item = u32>) {
        let readers = self.readers();
        for number in numbers {
            let harts = readers.iter().filter(|touches| touches.take_one(number as usize)).count();
            if harts > 0 {
                self.touch(core.translations.get(number), harts as u32);
            }
        }
    }

    fn readers(&self) -> Vec<Arc<Touches>> {
        self.readers.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Remembers that what was entered at `gpa` was swept.
    pub fn sweep(&self, gpa: u64) {
        let (at, tag) = place(gpa);
        self.swept[at].store(tag | u64::from(self.window()), Ordering::Relaxed);
    }

    /// Counts code that is translated although it was swept not long ago.
    pub fn regret(&self, entries: &[(u64, u32)], bytes: u32, tally: &Tally) {
        let recent = |&(gpa, _): &(u64, u32)| {
            let (at, tag) = place(gpa);
            let swept = self.swept[at].load(Ordering::Relaxed);
            swept & TAG == tag
                && self.window().wrapping_sub(swept as u32) <= REGRET_WINDOWS
                && self.swept[at].swap(0, Ordering::Relaxed) != 0
        };
        if entries.iter().any(recent) {
            tally.regretted_bytes.add(bytes.into());
        }
    }

    fn touch(&self, translation: &Translation, harts: u32) {
        let heat = self.of(translation).saturating_add(ENTERED * harts);
        translation.heat.store(heat, Ordering::Relaxed);
        translation.entered.store(self.window(), Ordering::Relaxed);
    }
}

/// The passing of windows: reads the readers' arrays, a piece at a time.
pub struct Windows {
    length: Duration,
    ends: Instant,
    /// The arrays that are being read, and the next word.
    reading: Option<Vec<Arc<Touches>>>,
    word: usize,
    /// Bytes entered in the window, by segment.
    entered: Vec<u32>,
}

impl Windows {
    /// Of `length` each.
    pub fn new(length: Duration, segments: usize) -> Self {
        let ends = Instant::now() + length;
        Self { length, ends, reading: None, word: 0, entered: vec![0; segments] }
    }

    /// Does what is due until `end`. Whether there is more.
    pub fn step(&mut self, core: &Core, end: Instant) -> bool {
        if self.reading.is_none() && !self.start(core) {
            return false;
        }
        let words = core.translations.end() as usize / WORD + 1;
        while self.word < words {
            let to = words.min(self.word + STEP);
            (self.word..to).for_each(|word| self.read(core, word));
            self.word = to;
            if Instant::now() >= end {
                return true;
            }
        }
        self.close(core);
        false
    }

    /// Starts reading, if the window is over.
    fn start(&mut self, core: &Core) -> bool {
        let now = Instant::now();
        if now < self.ends {
            return false;
        }
        self.ends = now + self.length;
        self.word = 0;
        self.reading = Some(core.heat.readers());
        true
    }

    fn read(&mut self, core: &Core, word: usize) {
        let mut harts = [0u8; WORD];
        for touches in self.reading.iter().flatten() {
            let entered = touches.take(word).to_le_bytes();
            harts.iter_mut().zip(entered).for_each(|(harts, entered)| *harts += u8::from(entered != 0));
        }
        for (number, &harts) in (word * WORD..).zip(&harts).filter(|(_, harts)| **harts > 0) {
            let translation = core.translations.get(number as u32);
            if number as u32 != NONE && translation.is(state::LIVE) {
                core.heat.touch(translation, harts.into());
                let piece = translation.piece();
                self.entered[core.zones.segment_of(piece) as usize] += piece.bytes;
            }
        }
    }

    fn close(&mut self, core: &Core) {
        self.reading = None;
        for (number, entered) in self.entered.iter_mut().enumerate() {
            core.zones.segment(number as u32).hot.store(std::mem::take(entered), Ordering::Relaxed);
        }
        core.heat.window.fetch_add(1, Ordering::Relaxed);
    }
}

fn decayed(heat: u32, windows: u32) -> u32 {
    if windows >= FORGOTTEN { 0 } else { (0..windows).fold(heat, |heat, _| heat - heat / 4) }
}

const TAG: u64 = !(u32::MAX as u64);

fn place(gpa: u64) -> (usize, u64) {
    let hash = hash(gpa);
    ((hash >> (64 - SWEPT_BITS)) as usize, hash << SWEPT_BITS & TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_gathers_and_decays() {
        let (heat, translation) = (Heat::new(1), Translation::default());
        translation.entered.store(heat.window(), Ordering::Relaxed);
        heat.touch(&translation, 2);
        assert_eq!((heat.of(&translation), heat.is_recent(&translation)), (2 * ENTERED, true));
        heat.window.fetch_add(2, Ordering::Relaxed);
        assert_eq!((heat.of(&translation), heat.is_recent(&translation)), (2 * ENTERED / 16 * 9, false));
        heat.window.fetch_add(1000, Ordering::Relaxed);
        assert_eq!(heat.of(&translation), 0);
    }

    #[test]
    fn what_is_translated_again_soon_is_regretted_once() {
        let (heat, tally) = (Heat::new(1), Tally::default());
        heat.sweep(0x1000);
        heat.regret(&[(0x1002, 0)], 10, &tally);
        heat.regret(&[(0x1000, 0)], 100, &tally);
        heat.regret(&[(0x1000, 0)], 100, &tally);
        heat.sweep(0x1000);
        heat.window.fetch_add(REGRET_WINDOWS + 1, Ordering::Relaxed);
        heat.regret(&[(0x1000, 0)], 100, &tally);
        assert_eq!(tally.regretted_bytes.get(), 100);
    }
}
