//! Two threads that do something at the same moment, round after round.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the two wait for each other.
#[derive(Default)]
pub struct Meeting([AtomicU64; 2]);

impl Meeting {
    /// Comes to point `now` as thread `me` (0 or 1), and waits for the other. True if it has left.
    pub fn meet(&self, me: usize, now: u64) -> bool {
        self.0[me].store(now, Ordering::SeqCst);
        let other = || self.0[1 - me].load(Ordering::SeqCst);
        wait(|| other() >= now);
        other() == u64::MAX
    }

    /// Thread 1 meets no more.
    pub fn leave(&self) {
        self.0[1].store(u64::MAX, Ordering::SeqCst);
    }
}

/// Spins for a while, and then lets others run: the host may have fewer free cores than threads.
pub fn wait(done: impl Fn() -> bool) {
    let mut spins = 0u32;
    while !done() {
        spins += 1;
        if spins > 2000 { std::thread::yield_now() } else { spin_loop() }
    }
}

/// Lets a few nanoseconds pass, so that rounds differ in who is first.
pub fn delay(steps: u64) {
    for step in 0..steps {
        black_box(step);
    }
}
