//! Atomics of a hart: host atomics on guest memory, and reservations.
//!
//! A reservation remembers the host address of its word (one for all its mappings) and the value that
//! `lr` saw; `sc` is a compare-and-swap with that value. A word that was changed and changed back in
//! between does not fail the `sc`, unless the CPU is configured to be [strict](super::strict).

use vm_mmu::Access;

use super::core::Reservation;
use super::memory::{Place, access_fault};
use super::word::AtomicWord;
use super::{Core, Stop};
use crate::isa::emit::Amo;
use crate::trap::Cause;

impl Core {
    /// Carries out an AMO; gives the old value.
    #[inline(always)]
    pub(crate) fn amo_word<T: AtomicWord>(&mut self, va: u64, op: Amo, v: T) -> Result<T, Stop> {
        self.with_cell::<T, T>(va, |cell| T::amo(op, cell, v))
    }

    /// Compare-and-swap; gives the old value.
    pub(crate) fn exchange_word<T: AtomicWord>(&mut self, va: u64, old: T, new: T) -> Result<T, Stop> {
        self.with_cell::<T, T>(va, |cell| T::exchange(cell, old, new))
    }

    #[inline(always)]
    fn with_cell<T: AtomicWord, R>(
        &mut self,
        va: u64,
        change: impl FnOnce(&T::Cell) -> R,
    ) -> Result<R, Stop> {
        match self.tlb.atomic::<T::Cell>(self.data.class, va) {
            Some(cell) => Ok(change(cell)),
            None => self.with_cell_slow::<T, R>(va, change),
        }
    }

    #[cold]
    #[inline(never)]
    fn with_cell_slow<T: AtomicWord, R>(
        &mut self,
        va: u64,
        change: impl FnOnce(&T::Cell) -> R,
    ) -> Result<R, Stop> {
        // An AMO needs to load as well; what it may not, is a store's fault.
        let place = self.atomic_place(va, T::SIZE, Access::Store)?;
        self.by_door(place.gpa, T::SIZE, |memory| memory.atomic(place.gpa, change))
            .map_err(|_| self.stop_with(Cause::StoreAccess, va))
    }

    /// Translates an atomic access: aligned, in RAM.
    pub(super) fn atomic_place(&mut self, va: u64, size: u64, access: Access) -> Result<Place, Stop> {
        if !va.is_multiple_of(size) {
            let load = access == Access::Load;
            let cause = if load { Cause::LoadMisaligned } else { Cause::StoreMisaligned };
            return Err(self.stop_with(cause, va));
        }
        let place = self.translate(va, size, access)?;
        if place.ram { Ok(place) } else { Err(self.stop_with(access_fault(access), va)) }
    }

    /// `lr`.
    pub(crate) fn load_reserved<T: AtomicWord>(&mut self, va: u64) -> Result<T, Stop> {
        if self.cpu.strict_lrsc {
            return self.load_reserved_strictly(va);
        }
        let see = |cell: &T::Cell| (std::ptr::from_ref(cell).addr() as u64, T::read(cell));
        let (cell, value) = match self.tlb.atomic::<T::Cell>(self.data.class, va) {
            Some(cell) => see(cell),
            None => {
                let place = self.atomic_place(va, T::SIZE, Access::Load)?;
                let value = self.memory.load(place.gpa).map_err(|_| self.stop_with(Cause::LoadAccess, va))?;
                (place.gpa.wrapping_add(self.memory.host_offset()), value)
            }
        };
        self.reservation = Reservation { cell, size: T::SIZE, value: value.widen() };
        Ok(value)
    }

    /// `sc`: 0 if stored, 1 if not.
    pub(crate) fn store_conditional<T: AtomicWord>(&mut self, va: u64, value: T) -> Result<u64, Stop> {
        if self.cpu.strict_lrsc {
            return self.store_conditional_strictly(va, value);
        }
        let held = std::mem::take(&mut self.reservation);
        let failed = self.with_cell::<T, bool>(va, |cell| {
            let old = T::narrow(held.value);
            let here = held.holds(std::ptr::from_ref(cell).addr() as u64, T::SIZE);
            !here || T::exchange(cell, old, value) != old
        })?;
        Ok(u64::from(failed))
    }

    /// `amocas.q`; pairs are (low, high).
    pub(crate) fn exchange_pair(
        &mut self,
        va: u64,
        old: (u64, u64),
        new: (u64, u64),
    ) -> Result<(u64, u64), Stop> {
        let join = |(low, high): (u64, u64)| u128::from(high) << 64 | u128::from(low);
        let place = self.atomic_place(va, 16, Access::Store)?;
        match self.by_door(place.gpa, 16, |memory| memory.cas_pair(place.gpa, join(old), join(new))) {
            Ok(was) => Ok((was as u64, (was >> 64) as u64)),
            Err(_) => Err(self.stop_with(Cause::StoreAccess, va)),
        }
    }
}
