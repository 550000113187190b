//! What happened, counted where it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::death::Cause;
use crate::histogram::{Durations, Histogram};
use crate::zone::{Usage, Zone};

/// A number that only grows.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What was added.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct ZoneTally {
    published: Count,
    published_bytes: Count,
    full: Count,
    sweeps: Count,
}

/// The counts of a cache.
#[derive(Default)]
pub struct Tally {
    zones: [ZoneTally; 3],
    killed: [Count; Cause::ALL.len()],
    /// Bytes moved from the short-lived to the long-lived zone.
    pub promoted_bytes: Count,
    /// Bytes moved within a zone.
    pub compacted_bytes: Count,
    /// Bytes that were swept.
    pub swept_bytes: Count,
    /// Bytes that were translated again soon after a sweep.
    pub regretted_bytes: Count,
    /// Graces that passed.
    pub graces: Count,
    /// Times harts were asked to reach their safepoint.
    pub kicks: Count,
    /// Segments whose memory went back.
    pub segments_freed: Count,
    /// Huge pages made.
    pub huge_pages: Count,
    /// From choosing a segment until nothing lived in it.
    pub sweep_time: Histogram,
    /// From the start of a grace until it passed.
    pub grace_time: Histogram,
    /// Invalidations, which a hart waits for: nothing else of the cache makes a guest wait.
    pub pauses: Histogram,
    /// Calls of `poll`.
    pub poll_time: Histogram,
}

impl Tally {
    pub fn published(&self, zone: Zone, bytes: u32) {
        self.zones[zone as usize].published.add(1);
        self.zones[zone as usize].published_bytes.add(bytes.into());
    }

    pub fn full(&self, zone: Zone) {
        self.zones[zone as usize].full.add(1);
    }

    pub fn swept(&self, zone: Zone, time: Duration) {
        self.zones[zone as usize].sweeps.add(1);
        self.sweep_time.record(time);
    }

    pub fn moved(&self, from: Zone, bytes: u32) {
        let moved = if from == Zone::Short { &self.promoted_bytes } else { &self.compacted_bytes };
        moved.add(bytes.into());
    }

    pub fn live(&self) -> u64 {
        let published: u64 = self.zones.iter().map(|zone| zone.published.get()).sum();
        published.saturating_sub(self.killed.iter().map(Count::get).sum())
    }

    pub fn killed(&self, cause: Cause) {
        self.killed[cause as usize].add(1);
    }

    pub fn zone(&self, zone: Zone, usage: Usage) -> ZoneCounters {
        let tally = &self.zones[zone as usize];
        ZoneCounters {
            usage,
            published: tally.published.get(),
            published_bytes: tally.published_bytes.get(),
            full: tally.full.get(),
            sweeps: tally.sweeps.get(),
        }
    }

    pub fn causes(&self) -> BTreeMap<Cause, u64> {
        Cause::ALL.into_iter().map(|c| (c, self.killed[c as usize].get())).collect()
    }
}

/// Figures of one zone.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ZoneCounters {
    /// Memory.
    #[serde(flatten)]
    pub usage: Usage,
    /// Translations published.
    pub published: u64,
    /// Bytes of code published.
    pub published_bytes: u64,
    /// Translations for which there was no room.
    pub full: u64,
    /// Segments swept.
    pub sweeps: u64,
}

/// Figures of a cache.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Short-lived zone.
    pub short: ZoneCounters,
    /// Long-lived zone.
    pub long: ZoneCounters,
    /// Stable zone.
    pub stable: ZoneCounters,
    /// Bytes of host memory that the arena holds.
    pub resident: u64,
    /// Translations that have a number: reserved, live, or waiting for the epoch.
    pub translations: u64,
    /// Translations that can be entered.
    pub live: u64,
    /// Translations published since the start.
    pub published: u64,
    /// Translations killed, by cause.
    pub killed: BTreeMap<Cause, u64>,
    /// Bytes moved from the short-lived to the long-lived zone.
    pub promoted_bytes: u64,
    /// Bytes moved within a zone.
    pub compacted_bytes: u64,
    /// Bytes dropped by sweeps.
    pub swept_bytes: u64,
    /// Of these, bytes translated again soon after.
    pub regretted_bytes: u64,
    /// Segments whose memory went back to the host.
    pub segments_freed: u64,
    /// Times that code was gathered into a huge page of the host.
    pub huge_pages: u64,
    /// From choosing a segment to sweep until nothing lived in it.
    pub sweep_time: Durations,
    /// Graces that passed.
    pub epochs: u64,
    /// From the start of a grace until it passed.
    pub epoch_time: Durations,
    /// Times harts were asked to reach their safepoint.
    pub kicks: u64,
    /// Invalidations, which a hart waits for.
    pub pauses: Durations,
    /// Calls of `poll`.
    pub poll_time: Durations,
    /// Windows of heat since the start.
    pub windows: u64,
    /// Cells there are.
    pub cells: u64,
    /// Pairs of a granule and a translation made from it.
    pub granules: u64,
    /// Addresses in the index by the number of slots looked at to find them, from 1; the last counts
    /// what takes longer.
    pub probe_lengths: Vec<u64>,
}
