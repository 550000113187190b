//! The index many threads read and write: from a hash to a number, without a lock for readers.
//!
//! ```text
//!  hash ─► shard (top 5 bits) ─► table: one AtomicU64 a slot = tag (next 32 bits of the hash) | number
//!                                older table, half as large, while its slots are being moved
//! ```
//!
//! A slot's place follows from its tag, so growing and closing gaps need nothing but the slots.
//! Tags of two keys may be equal: the caller says which number is the right one.
//!
//! **Invariants.** A table is at most half full, so every probe ends. While a shard grows, a key is
//! in the older table until it is in the newer one, and readers look in that order; each change
//! moves [`STEP`] slots, so neither side ever waits for a whole table. Removal closes the gap behind
//! it, so churn does not lengthen probes. A reader that misses while slots moved looks again.
//! A table that was outgrown is kept until the index goes: half the size of its successor, and no
//! reader has to announce itself.

use crate::sync::{AtomicU64, FIRST_BITS, Mutex, MutexGuard, OnceLock, Ordering, SHARD_BITS, zeroed};

/// Tables of a shard at most; the last has 2^26 slots.
const CLASSES: usize = 21;
/// Slots of the older table moved with each change.
const STEP: usize = 8;
/// Times a reader looks again because slots moved; then it reports a miss, which is never wrong for
/// long: whoever needs to be sure holds the shard's lock.
const ATTEMPTS: u32 = 8;

const EMPTY: u64 = 0;
/// In an older table: was moved to the newer one, or removed.
const MOVED: u64 = u32::MAX as u64;

// `Shard::state`: class of the newest table, whether the one before it still holds keys, and above
// these a count of the slots moved backwards.
const CLASS: u64 = 0xff;
const GROWING: u64 = 0x100;
const CLOSED_GAP: u64 = 0x200;

/// The map.
pub struct SharedIndex {
    shards: Box<[Shard]>,
}

/// One part of the map, with a lock of its own for writers.
#[repr(align(128))]
pub struct Shard {
    state: AtomicU64,
    tables: [OnceLock<Box<[AtomicU64]>>; CLASSES],
    writer: Mutex<Fill>,
}

#[derive(Default)]
struct Fill {
    used: usize,
    /// Slots of the older table that were moved.
    moved: usize,
}

/// The right to change a shard.
pub struct Writing<'a> {
    shard: &'a Shard,
    fill: MutexGuard<'a, Fill>,
}

impl Default for SharedIndex {
    fn default() -> Self {
        Self { shards: (0..1 << SHARD_BITS).map(|_| Shard::new()).collect() }
    }
}

impl SharedIndex {
    /// The shard of a hash.
    #[inline]
    pub fn shard(&self, hash: u64) -> &Shard {
        &self.shards[(hash >> (64 - SHARD_BITS)) as usize]
    }

    /// Moves some slots of each shard that grows, so that growing ends even if nothing changes.
    pub fn settle(&self) {
        let growing = |shard: &&Shard| shard.state.load(Ordering::Relaxed) & GROWING != 0;
        self.shards.iter().filter(growing).for_each(|shard| shard.lock().step());
    }

    /// Adds how many keys have each probe length (1 first) to `histogram`; the last one takes what
    /// is longer.
    pub fn probe_lengths(&self, histogram: &mut [u64]) {
        for shard in &self.shards {
            shard.probe_lengths(histogram);
        }
    }
}

impl Shard {
    fn new() -> Self {
        let shard = Self {
            state: AtomicU64::new(0),
            tables: [const { OnceLock::new() }; CLASSES],
            writer: Mutex::new(Fill::default()),
        };
        shard.make_table(0);
        shard
    }

    /// The number stored under `hash` that `is` the right one.
    #[inline]
    pub fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let state = self.state.load(Ordering::Acquire);
        if state & GROWING == 0 {
            let found = find(self.table((state & CLASS) as usize), tag(hash), &is);
            if found.is_some() || self.state.load(Ordering::Acquire) == state {
                return found.map(|(_, number)| number);
            }
        }
        self.search(tag(hash), &is)
    }

    /// As [`Shard::get`], while slots are being moved.
    #[cold]
    fn search(&self, tag: u32, is: &impl Fn(u32) -> bool) -> Option<u32> {
        let mut state = self.state.load(Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            let class = (state & CLASS) as usize;
            let older = if state & GROWING != 0 { self.table(class - 1) } else { &[] };
            if let Some((_, number)) = find(older, tag, is).or_else(|| find(self.table(class), tag, is)) {
                return Some(number);
            }
            let now = self.state.load(Ordering::Acquire);
            if now == state {
                return None;
            }
            state = now;
        }
        None
    }

    /// Takes the writers' lock.
    pub fn lock(&self) -> Writing<'_> {
        Writing { shard: self, fill: self.writer.lock() }
    }

    #[inline]
    fn table(&self, class: usize) -> &[AtomicU64] {
        // Made before `state` names it.
        self.tables[class].get().map_or(&[], |table| table)
    }

    fn make_table(&self, class: usize) {
        self.tables[class].get_or_init(|| zeroed(1 << (FIRST_BITS as usize + class)));
    }

    fn probe_lengths(&self, histogram: &mut [u64]) {
        let state = self.state.load(Ordering::Acquire);
        let class = (state & CLASS) as usize;
        let older = if state & GROWING != 0 { self.table(class - 1) } else { &[] };
        for table in [older, self.table(class)] {
            for (at, slot) in table.iter().enumerate() {
                let slot = slot.load(Ordering::Relaxed);
                if slot != EMPTY && slot != MOVED {
                    let distance = at.wrapping_sub(home(table, slot)) & (table.len() - 1);
                    histogram[distance.min(histogram.len() - 1)] += 1;
                }
            }
        }
    }
}

impl<'a> Writing<'a> {
    /// As [`Shard::get`], and sure.
    pub fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(hash, is).map(|(_, _, number)| number)
    }

    /// Stores `number` under `hash`. The key is not there yet.
    pub fn insert(&mut self, hash: u64, number: u32) {
        self.step();
        if self.fill.used * 2 >= self.newest().len() {
            self.start_growing();
        }
        place(self.newest(), u64::from(tag(hash)) << 32 | u64::from(number));
        self.fill.used += 1;
    }

    /// Puts `new` where `old` is.
    pub fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Some((table, at, _)) = self.position(hash, |n| n == old) {
            table[at].store(u64::from(tag(hash)) << 32 | u64::from(new), Ordering::Release);
        }
    }

    /// Removes `number`.
    pub fn remove(&mut self, hash: u64, number: u32) {
        self.step();
        let Some((table, at, _)) = self.position(hash, |n| n == number) else { return };
        self.fill.used -= 1;
        if std::ptr::eq(table, self.newest()) {
            self.close_gap(table, at);
        } else {
            table[at].store(MOVED, Ordering::Release);
        }
    }

    fn position(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<(&'a [AtomicU64], usize, u32)> {
        let tag = tag(hash);
        let with = |table: &'a [AtomicU64]| find(table, tag, &is).map(|(at, number)| (table, at, number));
        self.older().and_then(with).or_else(|| with(self.newest()))
    }

    fn state(&self) -> u64 {
        self.shard.state.load(Ordering::Relaxed)
    }

    fn newest(&self) -> &'a [AtomicU64] {
        self.shard.table((self.state() & CLASS) as usize)
    }

    fn older(&self) -> Option<&'a [AtomicU64]> {
        let state = self.state();
        (state & GROWING != 0).then(|| self.shard.table((state & CLASS) as usize - 1))
    }

    fn start_growing(&mut self) {
        let state = self.state();
        let class = (state & CLASS) as usize + 1;
        // At half the last table's size the slab of numbers has long run out.
        assert!(class < CLASSES && state & GROWING == 0, "a shard holds at most 2^25 keys");
        self.shard.make_table(class);
        self.fill.moved = 0;
        self.shard.state.store((state | GROWING) + 1, Ordering::Release);
    }

    /// Moves some slots of the older table, if there is one.
    fn step(&mut self) {
        let Some(older) = self.older() else { return };
        let from = self.fill.moved;
        for old in older.iter().skip(from).take(STEP) {
            let slot = old.load(Ordering::Relaxed);
            if slot != EMPTY && slot != MOVED {
                place(self.newest(), slot);
                old.store(MOVED, Ordering::Release);
            }
        }
        self.fill.moved = from + STEP;
        if self.fill.moved >= older.len() {
            self.shard.state.store(self.state() & !GROWING, Ordering::Release);
        }
    }

    /// Empties slot `gap`, after moving back what probes across it.
    fn close_gap(&self, table: &[AtomicU64], mut gap: usize) {
        let mask = table.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let slot = table[at].load(Ordering::Relaxed);
            if slot == EMPTY {
                break;
            }
            let distance = at.wrapping_sub(home(table, slot)) & mask;
            if distance >= at.wrapping_sub(gap) & mask {
                table[gap].store(slot, Ordering::Release);
                // Before the key leaves its old slot: a reader that came too early to the new one and
                // too late to the old one sees that slots moved.
                self.shard.state.store(self.state() + CLOSED_GAP, Ordering::Release);
                gap = at;
            }
        }
        table[gap].store(EMPTY, Ordering::Release);
    }
}

#[inline(always)]
fn tag(hash: u64) -> u32 {
    (hash >> (32 - SHARD_BITS)) as u32
}

/// Where a slot's key would like to be.
#[inline(always)]
fn home(table: &[AtomicU64], slot: u64) -> usize {
    // The upper bits of the tag, as many as the table needs.
    (slot >> (64 - table.len().trailing_zeros())) as usize
}

/// The slot with `tag` whose number `is` the right one.
#[inline(always)]
fn find(table: &[AtomicU64], tag: u32, is: &impl Fn(u32) -> bool) -> Option<(usize, u32)> {
    let mask = table.len().wrapping_sub(1);
    let mut at = home(table, u64::from(tag) << 32);
    loop {
        let slot = table.get(at)?.load(Ordering::Acquire);
        if slot == EMPTY {
            return None;
        }
        if (slot >> 32) as u32 == tag && slot != MOVED && is(slot as u32) {
            return Some((at, slot as u32));
        }
        at = (at + 1) & mask;
    }
}

/// Stores `slot` in the first empty place from its home on.
fn place(table: &[AtomicU64], slot: u64) {
    let mask = table.len() - 1;
    let mut at = home(table, slot);
    while table[at].load(Ordering::Relaxed) != EMPTY {
        at = (at + 1) & mask;
    }
    table[at].store(slot, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash;
    use std::collections::HashMap;

    const KEYS: u64 = if cfg!(miri) { 200 } else { 50_000 };

    /// Keys are even; the number of a key says which it is.
    fn number(key: u64) -> u32 {
        (key >> 1) as u32 + 1
    }

    fn get(index: &SharedIndex, key: u64) -> Option<u32> {
        index.shard(hash(key)).get(hash(key), |n| n == number(key))
    }

    fn insert(index: &SharedIndex, key: u64) {
        index.shard(hash(key)).lock().insert(hash(key), number(key));
    }

    fn remove(index: &SharedIndex, key: u64) {
        index.shard(hash(key)).lock().remove(hash(key), number(key));
    }

    fn mean_probe(index: &SharedIndex) -> f64 {
        let mut histogram = [0; 64];
        index.probe_lengths(&mut histogram);
        let keys: u64 = histogram.iter().sum();
        let probes: u64 = histogram.iter().zip(1..).map(|(count, length)| count * length).sum();
        probes as f64 / keys as f64
    }

    #[test]
    fn strided_keys_keep_short_probes() {
        for stride in [2u64, 4, 8, 64, 4096, 4098, 1 << 21] {
            let index = SharedIndex::default();
            for i in 0..KEYS.min((64 << 30) / stride) {
                let key = 0x8000_0000 + i * stride;
                index.shard(hash(key)).lock().insert(hash(key), i as u32 + 1);
            }
            assert!(mean_probe(&index) <= 1.5, "stride {stride}: {}", mean_probe(&index));
        }
    }

    #[test]
    fn churn_does_not_lengthen_probes() {
        let index = SharedIndex::default();
        let (live, rounds) = (KEYS / 3, 8 * KEYS);
        for i in 0..rounds {
            insert(&index, i * 6);
            if i >= live {
                remove(&index, (i - live) * 6);
            }
        }
        assert!(mean_probe(&index) <= 1.5, "{}", mean_probe(&index));
        let mut histogram = [0; 64];
        index.probe_lengths(&mut histogram);
        assert_eq!(histogram.iter().sum::<u64>(), live);
    }

    #[test]
    fn agrees_with_a_plain_map() {
        let (index, mut plain) = (SharedIndex::default(), HashMap::new());
        let mut seed = 1u64;
        for _ in 0..4 * KEYS {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = (seed >> 50) * 2;
            assert_eq!(get(&index, key), plain.get(&key).copied());
            if plain.remove(&key).is_some() {
                remove(&index, key);
            } else {
                insert(&index, key);
                plain.insert(key, number(key));
            }
        }
        assert!(plain.iter().all(|(&k, &v)| get(&index, k) == Some(v)));
    }

    #[test]
    fn equal_tags_are_told_apart_by_the_caller() {
        let index = SharedIndex::default();
        let shard = index.shard(0);
        shard.lock().insert(0, 7);
        shard.lock().insert(0, 9);
        assert_eq!(shard.get(0, |n| n == 9), Some(9));
        shard.lock().remove(0, 7);
        assert_eq!((shard.get(0, |n| n == 7), shard.get(0, |n| n == 9)), (None, Some(9)));
        shard.lock().replace(0, 9, 11);
        assert_eq!(shard.get(0, |_| true), Some(11));
    }

    #[test]
    fn growing_ends_without_changes() {
        let index = SharedIndex::default();
        let growing =
            || index.shards.iter().filter(|s| s.state.load(Ordering::Relaxed) & GROWING != 0).count();
        let first = (0..).find(|i| {
            insert(&index, i * 2);
            growing() > 0
        });
        (0..1 << FIRST_BITS).for_each(|_| index.settle());
        assert_eq!(growing(), 0);
        assert!((0..=first.unwrap()).all(|i| get(&index, i * 2).is_some()));
    }

    #[test]
    fn keys_that_stay_are_found_while_the_index_grows() {
        let index = SharedIndex::default();
        let (kept, rounds) = (KEYS / 50, 4 * KEYS);
        (0..kept).for_each(|i| insert(&index, i * 2));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (kept..rounds).for_each(|i| insert(&index, i * 2)));
            while !writer.is_finished() {
                assert!((0..kept).all(|i| get(&index, i * 2).is_some()));
            }
        });
    }
}
