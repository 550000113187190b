//! Numbered storage that never moves and never shrinks: taking and giving back an item is one
//! compare-and-swap, and no allocation once the slab has reached its working size.
//!
//! ```text
//!  items ─► [ 0..1024 ] [ 1024..2048 ] …    made when first reached
//!  next  ─► [ 0..1024 ] [ 1024..2048 ] …    of those that are free
//!  head: (tag, number) ─► number ─► number ─► 0      the free list
//! ```
//!
//! **Invariant.** Number 0 is nobody's: it ends every list. An item stays readable for ever; whether
//! its number still means what it meant is the business of whoever handed it out (of the epoch).

use crate::sync::{AtomicU32, AtomicU64, OnceLock, Ordering, SLAB_CHUNK as CHUNK};

/// No item.
pub const NONE: u32 = 0;

/// Items by number, made a chunk at a time.
pub struct Chunks<T>(Box<[OnceLock<Box<[T]>>]>);

impl<T: Default> Chunks<T> {
    /// Room for the numbers up to `capacity`.
    pub fn new(capacity: usize) -> Self {
        Self((0..capacity / CHUNK + 1).map(|_| OnceLock::new()).collect())
    }

    /// The item of a number.
    #[inline]
    pub fn get(&self, number: u32) -> &T {
        let chunk = &self.0[number as usize / CHUNK];
        let items = match chunk.get() {
            Some(items) => items,
            None => make(chunk),
        };
        &items[number as usize % CHUNK]
    }
}

#[cold]
fn make<T: Default>(chunk: &OnceLock<Box<[T]>>) -> &[T] {
    chunk.get_or_init(|| (0..CHUNK).map(|_| T::default()).collect())
}

/// Up to `capacity` items, numbered from 1.
pub struct Slab<T> {
    items: Chunks<T>,
    next: Chunks<AtomicU32>,
    /// Upper half: number of changes, so that a head that comes back is not taken for unchanged.
    head: AtomicU64,
    /// The next number that was never used.
    fresh: AtomicU32,
    free: AtomicU32,
    capacity: u32,
}

impl<T: Default> Slab<T> {
    /// An empty slab.
    pub fn new(capacity: usize) -> Self {
        let (items, next) = (Chunks::new(capacity), Chunks::new(capacity));
        let capacity = (capacity as u32).min(u32::MAX - 2);
        let (head, fresh, free) = (AtomicU64::new(0), AtomicU32::new(1), AtomicU32::new(0));
        Self { items, next, head, fresh, free, capacity }
    }

    /// The item of a number; of number 0, an item nobody owns.
    #[inline]
    pub fn get(&self, number: u32) -> &T {
        self.items.get(number)
    }

    /// A number for the caller alone; its item is as its last owner left it. `None` if all are taken.
    #[inline]
    pub fn take(&self) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let number = head as u32;
            if number == NONE {
                return self.take_fresh();
            }
            // If another thread takes the number first this is not its successor, and the tag tells.
            let next = self.next.get(number).load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                tagged(head, next),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    self.free.fetch_sub(1, Ordering::Relaxed);
                    return Some(number);
                }
                Err(now) => head = now,
            }
        }
    }

    /// Gives a number back. The caller owned it.
    #[inline]
    pub fn give(&self, number: u32) {
        debug_assert_ne!(number, NONE, "number 0 is nobody's");
        self.free.fetch_add(1, Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.next.get(number).store(head as u32, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                tagged(head, number),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// One past the greatest number ever taken.
    pub fn end(&self) -> u32 {
        self.fresh.load(Ordering::Acquire).min(self.capacity + 1)
    }

    /// Numbers taken now.
    pub fn used(&self) -> u32 {
        (self.end() - 1).saturating_sub(self.free.load(Ordering::Relaxed))
    }

    /// Numbers there are.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    #[cold]
    fn take_fresh(&self) -> Option<u32> {
        let mut fresh = self.fresh.load(Ordering::Relaxed);
        while fresh <= self.capacity {
            // The item has to exist before `end` says so, and nobody who gives it back is to allocate.
            self.items.get(fresh);
            self.next.get(fresh);
            match self.fresh.compare_exchange_weak(fresh, fresh + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(fresh),
                Err(now) => fresh = now,
            }
        }
        None
    }
}

fn tagged(head: u64, number: u32) -> u64 {
    ((head >> 32) + 1) << 32 | u64::from(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_are_unique_until_given_back() {
        let slab = Slab::<AtomicU32>::new(3000);
        let taken: HashSet<u32> = std::iter::from_fn(|| slab.take()).collect();
        assert_eq!((taken.len(), slab.used()), (3000, 3000));
        assert!(!taken.contains(&NONE));
        taken.iter().for_each(|&n| slab.give(n));
        assert_eq!(slab.used(), 0);
        assert_eq!(std::iter::from_fn(|| slab.take()).collect::<HashSet<u32>>(), taken);
    }

    #[test]
    fn threads_never_share_a_number() {
        let slab = Slab::<AtomicU32>::new(64);
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let held: Vec<u32> = (0..8).filter_map(|_| slab.take()).collect();
                        for &n in &held {
                            assert_eq!(
                                slab.get(n).swap(1, Ordering::Relaxed),
                                0,
                                "number {n} has two owners"
                            );
                        }
                        for &n in &held {
                            slab.get(n).store(0, Ordering::Relaxed);
                            slab.give(n);
                        }
                    }
                });
            }
        });
        assert_eq!(slab.used(), 0);
    }
}
