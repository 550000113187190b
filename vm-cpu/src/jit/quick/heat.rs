//! How often code of the quick tier runs: counters that it increments itself.
//!
//! ```text
//!  page ──hash──► chunk of 256 counters, one for each 16 bytes of the page
//!  counter: │ limit (32) │ -left (32) │ since (64) │      code: inc low half; not negative: leave as hot
//! ```
//! `since` is when this round of counting began, by the instructions that the hart had retired: code that took few
//! of them to be hot is most of what runs.
//!
//! Counters are found by address, belong to no unit and live as long as the engine, so units carry their
//! addresses. Code that shares a counter is taken for somewhat hotter than it is, and so is code that
//! several harts run; counts that harts lose to each other are not missed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vm_mmu::PAGE;

/// Log2 of the number of chunks.
const CHUNK_BITS: u32 = 11;
/// Bytes of code that share a counter.
const GRAIN: u64 = 16;
const COUNTERS: usize = (PAGE / GRAIN) as usize;
/// Executions between two looks at least.
const LEAST: u64 = 64;

#[derive(Default)]
struct Counter {
    word: AtomicU64,
    since: AtomicU64,
}

type Chunk = Box<[Counter; COUNTERS]>;

/// See the module.
pub struct Heat {
    chunks: Box<[OnceLock<Chunk>]>,
}

impl Default for Heat {
    fn default() -> Self {
        Heat { chunks: (0..1 << CHUNK_BITS).map(|_| OnceLock::new()).collect() }
    }
}

impl Heat {
    fn chunk(&self, gpa: u64) -> &OnceLock<Chunk> {
        let hash = (gpa / PAGE).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - CHUNK_BITS);
        &self.chunks[hash as usize]
    }

    fn counter(&self, gpa: u64) -> &Counter {
        let chunk = self.chunk(gpa).get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())));
        &chunk[(gpa % PAGE / GRAIN) as usize]
    }

    /// Address of the word to increment for the code at `gpa`, which asks to be looked at after `left`
    /// executions unless it does so already. `now` is what the hart has retired.
    pub fn start(&self, gpa: u64, left: u64, now: u64) -> u64 {
        let counter = self.counter(gpa);
        if counter.word.load(Relaxed) == 0 {
            counter.word.store(word(left, left), Relaxed);
            counter.since.store(now, Relaxed);
        }
        counter.word.as_ptr() as u64
    }

    /// The code at `gpa` asks again after `left` more executions.
    pub fn again(&self, gpa: u64, left: u64, now: u64) {
        let (left, counter) = (left.max(LEAST), self.counter(gpa));
        counter.word.store(word(self.of(gpa) + left, left), Relaxed);
        counter.since.store(now, Relaxed);
    }

    /// Instructions that were retired while the code at `gpa` ran as often as it was to. Wrong if another hart
    /// began the round: then it is a guess.
    pub fn took(&self, gpa: u64, now: u64) -> u64 {
        now.saturating_sub(self.counter(gpa).since.load(Relaxed))
    }

    /// Executions of the code at `gpa`.
    pub fn of(&self, gpa: u64) -> u64 {
        let Some(chunk) = self.chunk(gpa).get() else { return 0 };
        let word = chunk[(gpa % PAGE / GRAIN) as usize].word.load(Relaxed);
        let (limit, left) = (word >> 32, i64::from(word as i32).wrapping_neg());
        (limit as i64 - left).max(0) as u64
    }
}

/// A counter's value.
fn word(limit: u64, left: u64) -> u64 {
    let left = left.clamp(LEAST, i32::MAX as u64) as u32;
    limit.min(u32::MAX.into()) << 32 | u64::from(left.wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As code does it.
    fn run(heat: &Heat, gpa: u64, times: u64) {
        let counter = &heat.counter(gpa).word;
        for _ in 0..times {
            let word = counter.load(Relaxed);
            counter.store(word & !0xffff_ffff | u64::from((word as u32).wrapping_add(1)), Relaxed);
        }
    }

    #[test]
    fn executions_are_counted_over_several_rounds() {
        let heat = Heat::default();
        assert_eq!(heat.of(0x8000_1230), 0);
        heat.start(0x8000_1230, 1000, 50);
        run(&heat, 0x8000_1230, 1000);
        assert_eq!(heat.of(0x8000_1230), 1000);
        assert_eq!(heat.took(0x8000_1230, 4050), 4000);
        heat.again(0x8000_1230, 500, 4050);
        assert_eq!(heat.took(0x8000_1230, 4060), 10);
        assert_eq!(heat.of(0x8000_1230), 1000);
        run(&heat, 0x8000_1230, 499);
        assert_eq!((heat.of(0x8000_1230), heat.counter(0x8000_1230).word.load(Relaxed) as i32), (1499, -1));
        heat.start(0x8000_1238, 7, 0);
        assert_eq!(heat.of(0x8000_1230), 1499, "who shares a counter does not start it anew");
    }
}
