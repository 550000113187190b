//! Which translations were made from which 64 bytes of guest memory.
//!
//! ```text
//!  granule address ─► index ─► node ─► node ─► node       one for each translation made from it
//!                               │ translation, its next granule
//! ```
//!
//! So a write finds exactly the translations it hits, however many others the page has.
//!
//! **Invariant.** A granule is in the index while it has a node; all granules of a page are in one
//! shard, whose lock guards their lists.

use crate::hash::hash;
use crate::shared_index::{SharedIndex, Writing};
use crate::slab::{NONE, Slab};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const PAGE_BITS: u32 = 12;
const GRANULE_BITS: u32 = 6;

#[derive(Default)]
struct Node {
    granule: AtomicU64,
    translation: AtomicU32,
    before: AtomicU32,
    after: AtomicU32,
    /// Next granule of the same translation.
    next: AtomicU32,
}

/// See the module.
pub struct Granules {
    index: SharedIndex,
    nodes: Slab<Node>,
}

/// Exclusive use of the granules of a page.
pub struct Page<'a> {
    shard: Writing<'a>,
    nodes: &'a Slab<Node>,
    page: u64,
}

impl Granules {
    /// No granules yet, room for `capacity` pairs of a granule and a translation.
    pub fn new(capacity: usize) -> Self {
        Self { index: SharedIndex::default(), nodes: Slab::new(capacity) }
    }

    /// Locks the page at guest-physical address `page`.
    pub fn page(&self, page: u64) -> Page<'_> {
        let page = page >> PAGE_BITS;
        Page { shard: self.index.shard(hash(page)).lock(), nodes: &self.nodes, page }
    }

    /// Removes all granules of a translation, the list that starts at `first`.
    pub fn remove(&self, first: u32) {
        let mut number = first;
        while number != NONE {
            let node = self.nodes.get(number);
            let mut page = self.page(node.granule.load(Ordering::Relaxed) << GRANULE_BITS);
            // Most translations are made from one page: keep its lock.
            while number != NONE && page.holds(number) {
                let next = self.nodes.get(number).next.load(Ordering::Relaxed);
                page.remove(number);
                self.nodes.give(number);
                number = next;
            }
        }
    }

    /// See [`SharedIndex::settle`].
    pub fn settle(&self) {
        self.index.settle();
    }

    /// Pairs of a granule and a translation.
    pub fn used(&self) -> u32 {
        self.nodes.used()
    }
}

impl Page<'_> {
    /// Adds `translation` to each of `granules`. `list` is the list of its granules, which grows. If
    /// there is no room some are missing, and the answer is false.
    pub fn add(&mut self, granules: u64, translation: u32, list: &AtomicU32) -> bool {
        bits(granules).all(|bit| {
            let Some(number) = self.nodes.take() else { return false };
            let node = self.nodes.get(number);
            node.granule.store(self.granule(bit), Ordering::Relaxed);
            node.translation.store(translation, Ordering::Relaxed);
            node.next.store(list.load(Ordering::Relaxed), Ordering::Relaxed);
            list.store(number, Ordering::Relaxed);
            self.insert(number);
            true
        })
    }

    /// Calls `visit` with each translation made from any of `granules`; more than once if it was made
    /// from several of them.
    pub fn visit(&self, granules: u64, mut visit: impl FnMut(u32)) {
        for bit in bits(granules) {
            let mut number = self.first(self.granule(bit)).unwrap_or(NONE);
            while number != NONE {
                let node = self.nodes.get(number);
                visit(node.translation.load(Ordering::Relaxed));
                number = node.after.load(Ordering::Relaxed);
            }
        }
    }

    fn granule(&self, bit: u32) -> u64 {
        self.page << (PAGE_BITS - GRANULE_BITS) | u64::from(bit)
    }

    fn holds(&self, number: u32) -> bool {
        self.nodes.get(number).granule.load(Ordering::Relaxed) >> (PAGE_BITS - GRANULE_BITS) == self.page
    }

    fn first(&self, granule: u64) -> Option<u32> {
        self.shard.get(hash(granule), |n| self.nodes.get(n).granule.load(Ordering::Relaxed) == granule)
    }

    /// Puts a node second, or into the index if it is the granule's first.
    fn insert(&mut self, number: u32) {
        let node = self.nodes.get(number);
        let granule = node.granule.load(Ordering::Relaxed);
        let (before, after) = match self.first(granule) {
            Some(first) => (first, self.nodes.get(first).after.swap(number, Ordering::Relaxed)),
            None => {
                self.shard.insert(hash(granule), number);
                (NONE, NONE)
            }
        };
        node.before.store(before, Ordering::Relaxed);
        node.after.store(after, Ordering::Relaxed);
        if after != NONE {
            self.nodes.get(after).before.store(number, Ordering::Relaxed);
        }
    }

    fn remove(&mut self, number: u32) {
        let node = self.nodes.get(number);
        let hash = hash(node.granule.load(Ordering::Relaxed));
        let (before, after) = (node.before.load(Ordering::Relaxed), node.after.load(Ordering::Relaxed));
        if after != NONE {
            self.nodes.get(after).before.store(before, Ordering::Relaxed);
        }
        match (before, after) {
            (NONE, NONE) => self.shard.remove(hash, number),
            (NONE, _) => self.shard.replace(hash, number, after),
            _ => self.nodes.get(before).after.store(after, Ordering::Relaxed),
        }
    }
}

/// Numbers of the bits that are set.
fn bits(mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros())?;
        mask &= mask - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hit(granules: &Granules, page: u64, mask: u64) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        granules.page(page).visit(mask, |n| _ = found.insert(n));
        found
    }

    #[test]
    fn a_write_finds_what_was_made_from_its_granules() {
        let granules = Granules::new(100);
        let lists: [AtomicU32; 3] = Default::default();
        assert!(granules.page(0x1000).add(0b0111, 1, &lists[0]));
        assert!(granules.page(0x1000).add(0b1100, 2, &lists[1]));
        assert!(granules.page(0x2000).add(0b0001, 2, &lists[1]));
        assert!(granules.page(0x1000).add(0b0100, 3, &lists[2]));
        assert_eq!(hit(&granules, 0x1000, 0b0001), [1].into());
        assert_eq!(hit(&granules, 0x1000, 0b0100), [1, 2, 3].into());
        assert_eq!(hit(&granules, 0x2000, u64::MAX), [2].into());
        assert_eq!(hit(&granules, 0x3000, u64::MAX), [].into());
        granules.remove(lists[0].load(Ordering::Relaxed));
        assert_eq!(hit(&granules, 0x1000, u64::MAX), [2, 3].into());
        granules.remove(lists[1].load(Ordering::Relaxed));
        assert_eq!(hit(&granules, 0x1000, 0b0100), [3].into());
        granules.remove(lists[2].load(Ordering::Relaxed));
        assert_eq!((hit(&granules, 0x1000, u64::MAX), granules.used()), ([].into(), 0));
    }

    #[test]
    fn a_full_slab_is_reported() {
        let (granules, list) = (Granules::new(2), AtomicU32::new(NONE));
        assert!(!granules.page(0).add(0b111, 1, &list));
        granules.remove(list.load(Ordering::Relaxed));
        assert_eq!(granules.used(), 0);
    }
}
