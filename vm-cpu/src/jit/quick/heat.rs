//! How often code of the quick tier runs: counters that it increments itself.
//!
//! ```text
//!  page ──hash──► chunk of 256 counters, one for each 16 bytes of the page
//!  counter: │ limit (32) │ -left (32) │      code: inc low half; not negative: leave as hot
//! ```
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

type Chunk = Box<[AtomicU64; COUNTERS]>;

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

    fn counter(&self, gpa: u64) -> &AtomicU64 {
        let chunk = self.chunk(gpa).get_or_init(|| Box::new([const { AtomicU64::new(0) }; COUNTERS]));
        &chunk[(gpa % PAGE / GRAIN) as usize]
    }

    /// Address of the word to increment for the code at `gpa`, which asks to be looked at after `left`
    /// executions unless it does so already.
    pub fn start(&self, gpa: u64, left: u64) -> u64 {
        let counter = self.counter(gpa);
        if counter.load(Relaxed) == 0 {
            counter.store(word(left, left), Relaxed);
        }
        counter.as_ptr() as u64
    }

    /// The code at `gpa` asks again after `left` more executions.
    pub fn again(&self, gpa: u64, left: u64) {
        let left = left.max(LEAST);
        self.counter(gpa).store(word(self.of(gpa) + left, left), Relaxed);
    }

    /// Executions of the code at `gpa`.
    pub fn of(&self, gpa: u64) -> u64 {
        let Some(chunk) = self.chunk(gpa).get() else { return 0 };
        let word = chunk[(gpa % PAGE / GRAIN) as usize].load(Relaxed);
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
        let counter = heat.counter(gpa);
        for _ in 0..times {
            let word = counter.load(Relaxed);
            counter.store(word & !0xffff_ffff | u64::from((word as u32).wrapping_add(1)), Relaxed);
        }
    }

    #[test]
    fn executions_are_counted_over_several_rounds() {
        let heat = Heat::default();
        assert_eq!(heat.of(0x8000_1230), 0);
        heat.start(0x8000_1230, 1000);
        run(&heat, 0x8000_1230, 1000);
        assert_eq!(heat.of(0x8000_1230), 1000);
        heat.again(0x8000_1230, 500);
        assert_eq!(heat.of(0x8000_1230), 1000);
        run(&heat, 0x8000_1230, 499);
        assert_eq!((heat.of(0x8000_1230), heat.counter(0x8000_1230).load(Relaxed) as i32), (1499, -1));
        heat.start(0x8000_1238, 7);
        assert_eq!(heat.of(0x8000_1230), 1499, "who shares a counter does not start it anew");
    }
}
