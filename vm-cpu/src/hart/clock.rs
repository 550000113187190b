//! The machine's clock: one count of 10 MHz ticks for `time`, `mtime` and every timer.
//!
//! Ticks come from the host's monotonic clock, or from a count that a test moves by hand, so that a
//! run can be repeated exactly.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Ticks a second of the `virt` machine (`timebase-frequency`).
pub const TICKS_PER_SECOND: u64 = 10_000_000;
const NANOS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// Where ticks come from.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    /// Added to what the source says, wrapping: a write to `mtime` changes it.
    offset: AtomicU64,
    /// The count of a manual clock.
    manual: Option<AtomicU64>,
}

impl Clock {
    /// Follows the host's monotonic clock from 0.
    pub fn host() -> Self {
        Self { start: Instant::now(), offset: AtomicU64::new(0), manual: None }
    }

    /// Stands still until [`Clock::advance`] moves it.
    pub fn manual() -> Self {
        Self { manual: Some(AtomicU64::new(0)), ..Self::host() }
    }

    /// Ticks since the machine started, plus what was written to `mtime`.
    pub fn now(&self) -> u64 {
        self.source().wrapping_add(self.offset.load(Relaxed))
    }

    /// Makes `now` continue from `ticks`.
    pub fn set(&self, ticks: u64) {
        self.offset.store(ticks.wrapping_sub(self.source()), Relaxed);
    }

    /// Moves a manual clock; a host clock moves by itself and ignores it.
    pub fn advance(&self, ticks: u64) {
        if let Some(count) = &self.manual {
            count.fetch_add(ticks, Relaxed);
        }
    }

    /// Host time from now until `deadline`; zero if it has passed, `None` if it is further than a
    /// year away or the clock is manual (nobody may sleep for it).
    pub fn until(&self, deadline: u64) -> Option<Duration> {
        if self.manual.is_some() {
            return None;
        }
        let left = deadline.saturating_sub(self.now());
        (left < 366 * 86_400 * TICKS_PER_SECOND).then(|| Duration::from_nanos(left * NANOS_PER_TICK))
    }

    fn source(&self) -> u64 {
        match &self.manual {
            Some(count) => count.load(Relaxed),
            None => self.start.elapsed().as_nanos() as u64 / NANOS_PER_TICK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_time_goes_on_from_there() {
        let clock = Clock::manual();
        clock.advance(7);
        clock.set(1000);
        assert_eq!(clock.now(), 1000);
        clock.advance(5);
        assert_eq!(clock.now(), 1005);
    }

    #[test]
    fn a_far_deadline_is_never_slept_for() {
        let clock = Clock::host();
        assert_eq!(clock.until(u64::MAX), None);
        assert_eq!(clock.until(0), Some(Duration::ZERO));
    }
}
