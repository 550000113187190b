//! Sizes and times of a cache.

use std::time::Duration;

const MIB: usize = 1 << 20;

/// See [`crate::CodeCache::new`]. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Short-lived zone.
    pub short: usize,
    /// Long-lived zone.
    pub long: usize,
    /// Stable zone.
    pub stable: usize,
    /// Translations there can be at once.
    pub translations: usize,
    /// Segment of a zone, if the zone has room for eight of them; the longest code there can be.
    pub segment: usize,
    /// Heat counts by windows of this length: what was entered in the last one is hot.
    pub window: Duration,
    /// Share of a zone, in percent, from which on it is swept.
    pub threshold: u8,
    /// Work that one call of `poll` does at most, about.
    pub slice: Duration,
    /// Code that stays lies in huge pages of the host, where it has some.
    pub huge: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            short: 16 * MIB,
            long: 48 * MIB,
            stable: 64 * MIB,
            translations: 1 << 17,
            segment: MIB / 4,
            window: Duration::from_millis(200),
            threshold: 85,
            slice: Duration::from_micros(500),
            huge: true,
        }
    }
}
