//! Strict reservations: `sc` fails if anybody stored to the 64 bytes around the word since `lr`, also
//! if the word has its old value again.
//!
//! An `lr` marks its granule in the tracker, as code would be, and waits until every other hart has
//! given up its ways to store to the page unnoticed. From then on each such store goes through
//! [`Core::by_door`], which ends the reservations it hits before it stores, under the lock that `sc`
//! takes as well. Stores by devices are noticed too, but not under that lock: only they could still
//! slip in between.
//!
//! This costs a message to every hart for each `lr`, so it is an option (`--cpu …,lrsc=strict`).

use vm_mmu::{Access, AddressSpace, PAGE};

use super::core::Reservation;
use super::word::AtomicWord;
use super::{Core, MAX_HARTS, Mail, Stop};
use crate::trap::Cause;

/// Bytes that a reservation covers: a granule of the tracker.
const GRANULE: u64 = 64;

/// The granule that each hart has reserved; 0 for none.
pub(super) type Reserved = [u64; MAX_HARTS];

/// The way of a hart to its next strict `lr`.
#[derive(Debug, Default)]
pub(super) struct Guarding {
    /// The granule whose page the other harts were told to guard.
    granule: u64,
    /// The letters that they have to read first.
    letters: Vec<(usize, u64)>,
}

fn granule(gpa: u64) -> u64 {
    gpa & !(GRANULE - 1)
}

fn bit(gpa: u64) -> u64 {
    1 << ((gpa & (PAGE - 1)) / GRANULE)
}

impl Core {
    /// Carries out a store of `len` bytes at `gpa` that is not a hit of the soft-TLB.
    #[inline]
    pub(super) fn by_door<R>(&self, gpa: u64, len: u64, store: impl FnOnce(&AddressSpace) -> R) -> R {
        self.announce(gpa, len);
        if !self.cpu.strict_lrsc {
            return store(&self.memory);
        }
        let mut reserved = self.cluster.reserved.lock();
        end_reservations(&mut reserved, self.id, gpa, len);
        store(&self.memory)
    }

    /// Lets lock-step know of a store that is about to come.
    fn announce(&self, gpa: u64, len: u64) {
        if let Some(shadow) = &self.shadow {
            shadow.save(&self.memory, gpa);
            shadow.save(&self.memory, gpa + len.max(1) - 1);
        }
    }

    /// The granule that this hart has reserved, if reservations are strict.
    pub(crate) fn reserved_granule(&self) -> u64 {
        if self.cpu.strict_lrsc { self.cluster.reserved.lock()[self.id] } else { 0 }
    }

    /// Puts back what [`Core::reserved_granule`] gave.
    pub(crate) fn reserve_again(&mut self, granule: u64) {
        if self.cpu.strict_lrsc {
            self.cluster.reserved.lock()[self.id] = granule;
        }
    }

    /// `lr`, or [`Stop::Again`] while harts have yet to guard its page.
    pub(super) fn load_reserved_strictly<T: AtomicWord>(&mut self, va: u64) -> Result<T, Stop> {
        let gpa = self.atomic_place(va, T::SIZE, Access::Load)?.gpa;
        if self.guarding.granule != granule(gpa) {
            return Err(self.guard(gpa));
        }
        self.guarding = Guarding::default();
        let cluster = self.cluster.clone();
        let mut reserved = cluster.reserved.lock();
        if self.memory.tracker().code(gpa & !(PAGE - 1)) & bit(gpa) == 0 {
            return Err(self.guard(gpa)); // a store took the mark away again
        }
        reserved[self.id] = granule(gpa);
        let value: T = self.memory.load(gpa).map_err(|_| self.stop_with(Cause::LoadAccess, va))?;
        let cell = gpa.wrapping_add(self.memory.host_offset());
        self.reservation = Reservation { cell, size: T::SIZE, value: value.widen() };
        Ok(value)
    }

    /// `sc`: 0 if stored, 1 if not.
    pub(super) fn store_conditional_strictly<T: AtomicWord>(
        &mut self,
        va: u64,
        value: T,
    ) -> Result<u64, Stop> {
        let reservation = std::mem::take(&mut self.reservation);
        let gpa = self.atomic_place(va, T::SIZE, Access::Store)?.gpa;
        let cell = gpa.wrapping_add(self.memory.host_offset());
        let cluster = self.cluster.clone();
        let mut reserved = cluster.reserved.lock();
        let alive = std::mem::take(&mut reserved[self.id]) == granule(gpa);
        if !alive || !reservation.holds(cell, T::SIZE) {
            return Ok(1);
        }
        end_reservations(&mut reserved, self.id, gpa, T::SIZE);
        self.announce(gpa, T::SIZE);
        self.memory.store(gpa, value).map_err(|_| self.stop_with(Cause::StoreAccess, va))?;
        Ok(0)
    }

    /// Tells the other harts to guard the page of `gpa`.
    fn guard(&mut self, gpa: u64) -> Stop {
        let page = gpa & !(PAGE - 1);
        self.memory.tracker().add_code(page, bit(gpa));
        self.tlb.revoke_write(page);
        self.guarding =
            Guarding { granule: granule(gpa), letters: self.post_to_others(Mail::Guard { page }) };
        Stop::Again
    }

    /// Waits for the harts that [`Core::guard`] told, as one that executes no guest code: two harts may
    /// wait for each other.
    pub(crate) fn wait_for_guards(&mut self) {
        self.port.leave();
        self.cluster.wait_until_read(&self.guarding.letters);
        self.port.enter();
        self.port.kick(super::port::MAIL);
    }
}

/// Ends the reservations of all harts but `by` that overlap `len` bytes at `gpa`.
fn end_reservations(reserved: &mut Reserved, by: usize, gpa: u64, len: u64) {
    let (first, last) = (granule(gpa), granule(gpa + len.max(1) - 1));
    for (hart, held) in reserved.iter_mut().enumerate() {
        if hart != by && (first..=last).contains(held) {
            *held = 0;
        }
    }
}
