//! Durations, counted in buckets that grow by a quarter of a power of two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Buckets of an octave.
const PARTS: u32 = 4;
const BUCKETS: usize = 64 * PARTS as usize;

/// See the module. Anybody may record at any time.
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    max: AtomicU64,
}

/// What a histogram says. Times are in nanoseconds; percentiles are upper bounds, at most a quarter
/// too high.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Durations {
    /// Recorded.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 99.9 of 100 were at most that.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], max: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.max.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Counts how long `f` takes.
    pub fn time<R>(&self, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        self.record(start.elapsed());
        result
    }

    /// The figures.
    pub fn durations(&self) -> Durations {
        let counts: Vec<u64> = self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let (count, max) = (counts.iter().sum::<u64>(), self.max.load(Ordering::Relaxed));
        let percentile = |permille: u64| {
            let mut left = (count * permille).div_ceil(1000);
            let at = counts.iter().position(|&n| {
                let found = n >= left && left > 0;
                left = left.saturating_sub(n);
                found
            });
            at.map_or(0, |at| upper(at).min(max))
        };
        Durations { count, p50: percentile(500), p999: percentile(999), max }
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(PARTS.into());
    let octave = nanos.ilog2();
    let part = (nanos >> (octave - PARTS.ilog2())) as u32 - PARTS;
    (octave * PARTS + part) as usize
}

/// Greatest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let (octave, part) = (bucket as u32 / PARTS, bucket as u64 % u64::from(PARTS));
    let step = (1u64 << octave) / u64::from(PARTS);
    (1u64 << octave).saturating_add(step.saturating_mul(part + 1)).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_bound_what_was_recorded() {
        let histogram = Histogram::default();
        (1..=10_000).for_each(|n| histogram.record(Duration::from_nanos(n)));
        let Durations { count, p50, p999, max } = histogram.durations();
        assert_eq!((count, max), (10_000, 10_000));
        assert!((5000..6250).contains(&p50), "{p50}");
        assert!((9990..=10_000).contains(&p999), "{p999}");
    }

    #[test]
    fn the_extremes_have_a_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.durations().p999, 0);
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.durations().max, u64::MAX);
    }
}
