//! What all harts share that make code of the quick tier: counters of it, and of its executions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Heat;

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct QuickStats {
    /// Units published.
    pub units: u64,
    /// Guest instructions in them.
    pub insns: u64,
    /// Bytes of host code.
    pub bytes: u64,
    /// Nanoseconds that harts spent making them.
    pub nanoseconds: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct QuickShared {
    pub heat: Heat,
    units: AtomicU64,
    insns: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl QuickShared {
    /// A unit was published.
    pub fn made(&self, insns: u64, bytes: u64) {
        self.units.fetch_add(1, Relaxed);
        self.insns.fetch_add(insns, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// So much time went into making one, or trying to.
    pub fn spent(&self, time: Duration) {
        self.nanoseconds.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    /// What there is so far.
    pub fn stats(&self) -> QuickStats {
        let [units, insns, bytes, nanoseconds] =
            [&self.units, &self.insns, &self.bytes, &self.nanoseconds].map(|count| count.load(Relaxed));
        QuickStats { units, insns, bytes, nanoseconds }
    }
}
