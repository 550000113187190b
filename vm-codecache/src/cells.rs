//! Cells: the data slots that generated code jumps through, one for each code address that anything
//! refers to.
//!
//! ```text
//!  jmp [cell] ──► target: entry of the live translation, or the stub
//!                 gpa     the address the cell stands for
//!                 owner   number of the translation whose entry it holds
//!                 refs    links that lead here + translations that enter here
//! ```
//!
//! A cell that loses its last reference stays in the index, as address and code are likely to come
//! back, until there are many like it and the collector retires them: then they leave the index, and
//! after the epoch their numbers are free.
//!
//! **Invariants.** Owner and references change only under the lock of the address's shard. A target
//! is the stub or the entry of the owner; a cell without references leads to the stub. Who sees the
//! address of one that was retired jumps to the stub until the epoch has passed.
//! Cell 0 belongs to no address and holds the stub for ever.
//!
//! Targets lie apart from the rest: a jump reads nothing else, and those of a unit and of what it leads to are
//! mostly made together, so that they share lines of the host's cache.

use crate::hash::hash;
use crate::shared_index::SharedIndex;
use crate::slab::{Chunks, NONE, Slab};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What nobody jumps by of a cell.
#[derive(Default)]
pub struct Cell {
    gpa: AtomicU64,
    owner: AtomicU32,
    refs: AtomicU32,
    /// Whether it waits for being retired.
    queued: AtomicU32,
    /// Next in the list of those that wait for it, or for the epoch.
    pub next: AtomicU32,
}

impl Cell {
    /// The guest-physical address it stands for.
    #[inline]
    pub fn gpa(&self) -> u64 {
        self.gpa.load(Ordering::Relaxed)
    }
}

/// All cells and the index that finds them.
pub struct Cells {
    slab: Slab<Cell>,
    targets: Chunks<AtomicU64>,
    index: SharedIndex,
    stub: u64,
}

impl Cells {
    /// No cells yet, room for `capacity`.
    pub fn new(capacity: usize, stub: u64) -> Self {
        let (slab, targets) = (Slab::new(capacity), Chunks::new(capacity));
        let cells = Self { slab, targets, index: SharedIndex::default(), stub };
        cells.lead(NONE, stub);
        cells
    }

    /// The cell of a number.
    #[inline]
    pub fn get(&self, number: u32) -> &Cell {
        self.slab.get(number)
    }

    /// What generated code bakes in: the address of the cell's target.
    #[inline]
    pub fn address(&self, number: u32) -> u64 {
        std::ptr::from_ref(self.targets.get(number)).expose_provenance() as u64
    }

    /// Where a jump through the cell leads now.
    #[inline]
    pub fn target(&self, number: u32) -> u64 {
        self.targets.get(number).load(Ordering::Acquire)
    }

    fn lead(&self, number: u32, target: u64) {
        self.targets.get(number).store(target, Ordering::Release);
    }

    /// The number of the cell of `gpa`, if there is one. No lock.
    #[inline]
    pub fn find(&self, gpa: u64) -> Option<u32> {
        let hash = hash(gpa);
        self.index.shard(hash).get(hash, |n| self.get(n).gpa() == gpa)
    }

    /// As [`Cells::find`], if a translation is live there now. No lock.
    #[inline]
    pub fn find_live(&self, gpa: u64) -> Option<u32> {
        self.find(gpa).filter(|&number| self.target(number) != self.stub)
    }

    /// The cell of `gpa`, made if new, with one more reference. `None` if all cells are taken.
    pub fn acquire(&self, gpa: u64) -> Option<u32> {
        let hash = hash(gpa);
        let mut shard = self.index.shard(hash).lock();
        let number = match shard.get(hash, |n| self.get(n).gpa() == gpa) {
            Some(number) => number,
            None => {
                let number = self.slab.take()?;
                let cell = self.get(number);
                cell.gpa.store(gpa, Ordering::Relaxed);
                self.lead(number, self.stub);
                cell.owner.store(NONE, Ordering::Relaxed);
                cell.refs.store(0, Ordering::Relaxed);
                cell.queued.store(0, Ordering::Relaxed);
                shard.insert(hash, number);
                number
            }
        };
        self.get(number).refs.fetch_add(1, Ordering::Relaxed);
        Some(number)
    }

    /// Takes one reference away. Whether the cell has to be queued for [`Cells::retire`] now.
    #[must_use]
    pub fn release(&self, number: u32) -> bool {
        let cell = self.get(number);
        let _shard = self.index.shard(hash(cell.gpa())).lock();
        let last = cell.refs.fetch_sub(1, Ordering::Relaxed) == 1;
        debug_assert!(!last || self.target(number) == self.stub, "an unreferenced cell leads nowhere");
        last && cell.queued.swap(1, Ordering::Relaxed) == 0
    }

    /// Takes a cell that was queued out of the index, unless something refers to it again. Whether it
    /// did: then it is the caller's to free after the epoch.
    #[must_use]
    pub fn retire(&self, number: u32) -> bool {
        let cell = self.get(number);
        let hash = hash(cell.gpa());
        let mut shard = self.index.shard(hash).lock();
        cell.queued.store(0, Ordering::Relaxed);
        let unused = cell.refs.load(Ordering::Relaxed) == 0;
        if unused {
            shard.remove(hash, number);
        }
        unused
    }

    /// Makes `owner` the translation of the cell, entered at `target`. `displaced` hears the number of
    /// the one before, under the lock: that one cannot be freed before it has released the cell.
    pub fn bind(&self, number: u32, owner: u32, target: u64, displaced: impl FnOnce(u32)) {
        let cell = self.get(number);
        let _shard = self.index.shard(hash(cell.gpa())).lock();
        let before = cell.owner.swap(owner, Ordering::Relaxed);
        self.lead(number, target);
        if before != NONE {
            displaced(before);
        }
    }

    /// Sends the cell to `target`, if it still belongs to `owner`.
    pub fn redirect(&self, number: u32, owner: u32, target: u64) {
        let cell = self.get(number);
        let _shard = self.index.shard(hash(cell.gpa())).lock();
        if cell.owner.load(Ordering::Relaxed) == owner {
            self.lead(number, target);
        }
    }

    /// Sends the cell back to the stub, if it still belongs to `owner`.
    pub fn unbind(&self, number: u32, owner: u32) {
        let cell = self.get(number);
        let _shard = self.index.shard(hash(cell.gpa())).lock();
        if cell.owner.load(Ordering::Relaxed) == owner {
            self.lead(number, self.stub);
            cell.owner.store(NONE, Ordering::Relaxed);
        }
    }

    /// Gives a retired cell back. The epoch has passed.
    pub fn free(&self, number: u32) {
        self.slab.give(number);
    }

    /// Cells there are, the ones that wait for the epoch too.
    pub fn used(&self) -> u32 {
        self.slab.used()
    }

    /// Cells there can be.
    pub fn capacity(&self) -> u32 {
        self.slab.capacity()
    }

    /// See [`SharedIndex::settle`].
    pub fn settle(&self) {
        self.index.settle();
    }

    /// See [`SharedIndex::probe_lengths`].
    pub fn probe_lengths(&self, histogram: &mut [u64]) {
        self.index.probe_lengths(histogram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUB: u64 = 0x5000;

    #[test]
    fn a_cell_lives_as_long_as_something_refers_to_it() {
        let cells = Cells::new(16, STUB);
        let a = cells.acquire(0x8000_0000).unwrap();
        assert_eq!(cells.acquire(0x8000_0000), Some(a));
        assert_eq!(cells.target(a), STUB);
        assert!(!cells.release(a));
        assert!(cells.release(a), "to be queued");
        assert_eq!(cells.acquire(0x8000_0000), Some(a), "used again");
        assert!(!cells.retire(a));
        assert!(cells.release(a), "to be queued again");
        assert_eq!(cells.acquire(0x8000_0000), Some(a));
        assert!(!cells.release(a), "is queued");
        assert!(cells.retire(a));
        assert!(cells.find(0x8000_0000).is_none());
        assert_eq!(cells.used(), 1, "not free before the epoch");
        cells.free(a);
        assert_eq!(cells.used(), 0);
    }

    #[test]
    fn only_the_owner_moves_or_unbinds() {
        let cells = Cells::new(16, STUB);
        let a = cells.acquire(0x1000).unwrap();
        cells.bind(a, 1, 0x100, |_| panic!("nobody was there"));
        assert_eq!(cells.target(cells.find_live(0x1000).unwrap()), 0x100);
        let mut before = 0;
        cells.bind(a, 2, 0x200, |old| before = old);
        assert_eq!(before, 1);
        cells.unbind(a, 1);
        cells.redirect(a, 1, 0x300);
        assert_eq!(cells.target(a), 0x200);
        cells.redirect(a, 2, 0x400);
        assert_eq!(cells.target(a), 0x400);
        cells.unbind(a, 2);
        assert!(cells.find_live(0x1000).is_none());
    }

    #[test]
    fn the_cell_of_nobody_holds_the_stub() {
        assert_eq!(Cells::new(1, STUB).target(NONE), STUB);
    }

    #[test]
    fn the_last_cell_is_an_answer_and_not_a_panic() {
        let cells = Cells::new(1, STUB);
        assert!(cells.acquire(0).is_some());
        assert_eq!(cells.acquire(2), None);
    }
}
