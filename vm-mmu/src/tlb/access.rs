//! Accesses through the entries: the product's hottest code.

#![allow(unsafe_code, reason = "a hit turns into one host access to guest RAM")]

use super::entry::{CODE, Entry, SHARED};
use super::{Class, SoftTlb};
use crate::{Access, AtomicWord, PAGE, Word, host};

/// Whether `size` bytes from `va` lie in the page with this tag.
#[inline(always)]
fn inside(va: u64, tag: u64, size: u64) -> bool {
    va.wrapping_sub(tag) <= PAGE - size
}

impl SoftTlb {
    /// Loads; `None` is a miss, and so is whatever leaves the page.
    #[inline(always)]
    pub fn read<T: Word>(&self, class: Class, va: u64) -> Option<T> {
        let entry = self.lanes[class as usize].at(va);
        if inside(va, entry.load, T::SIZE) {
            // SAFETY: no address is inside of what is denied (see `tlb`), so by the invariant of `Entry` the
            // page at `load + addend` lies in memory that `self.memory` keeps mapped, and `va..va + SIZE` is
            // inside that page.
            return Some(unsafe { T::load(va, entry.addend) });
        }
        None
    }

    /// Loads what is permitted to be fetched.
    #[inline(always)]
    pub fn fetch<T: Word>(&self, class: Class, va: u64) -> Option<T> {
        let entry = self.lanes[class as usize].at(va);
        if inside(va, entry.page(), T::SIZE) && entry.permits(Access::Fetch) {
            // SAFETY: as in `read`.
            return Some(unsafe { T::load(va, entry.addend) });
        }
        None
    }

    /// Stores; `None` is a miss: nothing is stored.
    #[inline(always)]
    pub fn write<T: Word>(&self, class: Class, va: u64, value: T) -> Option<()> {
        let entry = self.lanes[class as usize].at(va);
        if inside(va, entry.store, T::SIZE) {
            // SAFETY: as in `read`; pages with a write permission are mapped writable.
            unsafe { T::store(va, entry.addend, value) };
            return Some(());
        }
        None
    }

    /// The atomic at an aligned address that permits loads and stores.
    #[inline(always)]
    pub fn atomic<T: AtomicWord>(&self, class: Class, va: u64) -> Option<&T> {
        let host = self.exclusive(class, va, T::SIZE)?;
        // SAFETY: as in `write`; aligned, and mapped for as long as `self.memory` lives.
        Some(unsafe { T::at(host) })
    }

    /// 128-bit compare-and-swap; returns what was there. Low half at the lower address.
    #[inline]
    pub fn cas_pair(&self, class: Class, va: u64, old: u128, new: u128) -> Option<u128> {
        let host = self.exclusive(class, va, 16)?;
        // SAFETY: as in `atomic`; `AddressSpace::new` checked the CPU.
        Some(unsafe { host::cas_pair(host, old, new) })
    }

    /// Host address for a read-modify-write.
    #[inline(always)]
    fn exclusive(&self, class: Class, va: u64, size: u64) -> Option<u64> {
        let entry = self.lanes[class as usize].at(va);
        let aligned_page = va & !((PAGE - 1) & !(size - 1));
        (aligned_page == entry.load && aligned_page == entry.store).then(|| va.wrapping_add(entry.addend))
    }

    /// Host address minus virtual address for the page of `va`, if `access` hits.
    #[inline]
    pub fn addend(&self, class: Class, va: u64, access: Access) -> Option<u64> {
        self.lanes[class as usize].hit(va, access).map(|entry| entry.addend)
    }

    /// The same for a store that looks for code afterwards.
    pub fn addend_beside(&self, class: Class, va: u64) -> Option<u64> {
        self.lanes[class as usize].hit_beside(va).map(|entry| entry.addend)
    }

    /// Guest-physical address of `va` if `access` hits.
    #[inline(always)]
    pub fn translate(&self, class: Class, va: u64, access: Access) -> Option<u64> {
        self.lanes[class as usize].hit(va, access).map(|entry| self.gpa(entry, va))
    }

    /// Guest-physical address of a store that misses only because its page holds code. `None` also if
    /// the page has lost its code since: a fill makes stores hit again.
    #[inline]
    pub fn lookup_code_write(&self, class: Class, va: u64, size: u64) -> Option<u64> {
        let entry = self.lanes[class as usize].at(va);
        // What may be stored may be loaded, in every format.
        let hit = inside(va, entry.load, size) && entry.flags & CODE != 0;
        let gpa = hit.then(|| self.gpa(entry, va))?;
        (self.memory.tracker().code(gpa) != 0).then_some(gpa)
    }

    /// Lets stores to the page of `va`, which misses only because the page holds code, hit if they
    /// [look for code](Entry::BESIDE) afterwards.
    pub fn share(&mut self, class: Class, va: u64) {
        let Some(gpa) = self.lookup_code_write(class, va, 1) else { return };
        let tracker = self.memory.tracker();
        let entry = self.lanes[class as usize].at_mut(va);
        if entry.flags & SHARED == 0 && tracker.share(gpa) {
            tracker.mark_dirty(gpa);
            entry.flags |= SHARED;
        }
    }

    #[inline(always)]
    fn gpa(&self, entry: &Entry, va: u64) -> u64 {
        va.wrapping_add(entry.addend).wrapping_sub(self.memory.host_offset())
    }
}
