//! Counters of what a device did.
//!
//! A counter is one relaxed atomic: exact in the long run, free of locks, and
//! never an input to what the device does next.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a UART or a virtio console carried.
#[derive(Debug, Default)]
pub struct ConsoleCounters {
    /// Bytes from the guest.
    pub bytes_out: Counter,
    /// Bytes to the guest.
    pub bytes_in: Counter,
}
