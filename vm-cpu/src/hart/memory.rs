//! Loads and stores of a hart: the soft-TLB first, then the walk, PMP, RAM or a device.
//!
//! ```text
//!  va ─► soft-TLB ─hit─► host memory
//!           └miss─► translate (walk, PMP) ─► RAM: fill the soft-TLB, access by the door
//!                                         └► device: Bus
//! ```
//!
//! **Invariant.** Nothing is stored before every byte of the access is known to be permitted, and an
//! entry is filled only for an access that succeeds.

use std::time::Instant;

use vm_mmu::{Access, AddressSpace, Class, Leaf, PAGE, Perm, PteMemory, WalkFault};

use super::port::MAIL;
use super::protection::Protection;
use super::word::Word;
use super::{Core, Stop};
use crate::csr::Priv;
use crate::isa::emit::Cbo;
use crate::lockstep::Shadow;
use crate::pmp::Pmp;
use crate::trap::Cause;

/// Bytes of a cache block (`Zicbom`, `Zicboz`).
const CACHE_BLOCK: u64 = 64;

/// Where an access goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub gpa: u64,
    /// Memory, or else a device or nothing.
    pub ram: bool,
    /// One protection holds for the whole page.
    pub uniform: bool,
}

/// The access fault of an access.
pub(super) fn access_fault(access: Access) -> Cause {
    match access {
        Access::Fetch => Cause::InstructionAccess,
        Access::Load => Cause::LoadAccess,
        Access::Store => Cause::StoreAccess,
    }
}

fn page_fault(access: Access) -> Cause {
    match access {
        Access::Fetch => Cause::InstructionPage,
        Access::Load => Cause::LoadPage,
        Access::Store => Cause::StorePage,
    }
}

/// Page tables as the walker reads them: supervisor accesses under PMP.
struct Tables<'a> {
    memory: &'a AddressSpace,
    pmp: &'a Pmp,
    protection: &'a Protection,
    shadow: Option<&'a Shadow>,
}

impl Tables<'_> {
    fn permit(&self, gpa: u64, access: Access) -> bool {
        self.protection.permits(self.pmp, gpa, 8, access, Priv::Supervisor)
    }
}

impl PteMemory for Tables<'_> {
    #[inline(always)]
    fn load(&self, gpa: u64) -> Option<u64> {
        self.permit(gpa, Access::Load).then(|| PteMemory::load(self.memory, gpa)).flatten()
    }

    fn cas(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        self.shadow.inspect(|shadow| shadow.save(self.memory, gpa));
        self.permit(gpa, Access::Store).then(|| PteMemory::cas(self.memory, gpa, old, new)).flatten()
    }
}

impl Core {
    /// Translates an access of `len` bytes that stays within its page, and lets the soft-TLB know.
    /// An error leaves the trap in the hart.
    pub(crate) fn translate(&mut self, va: u64, len: u64, access: Access) -> Result<Place, Stop> {
        let view = if access == Access::Fetch { self.fetch } else { self.data };
        let tables = Tables {
            memory: &self.memory,
            pmp: &self.csr.pmp,
            protection: &self.protection,
            shadow: self.shadow.as_deref(),
        };
        let cache = self.tlb.walk_cache();
        let mut leaf = match vm_mmu::walk(&tables, view.scheme, view.root, va, access, view.walk, cache) {
            Ok(leaf) => leaf,
            Err(WalkFault::Page) => return Err(self.stop_with(page_fault(access), va)),
            Err(WalkFault::Access) => return Err(self.stop_with(access_fault(access), va)),
        };
        let gpa = leaf.gpa | va & (PAGE - 1);
        if !self.protection.permits(&self.csr.pmp, gpa, len, access, view.privilege) {
            return Err(self.stop_with(access_fault(access), va));
        }
        let Some(rights) = self.protection.uniform(&self.csr.pmp, leaf.gpa, view.privilege) else {
            let ram = self.memory.host_ptr(leaf.gpa, PAGE).is_some_and(|ram| ram.perm.allows(access));
            return Ok(Place { gpa, ram, uniform: false });
        };
        restrict(&mut leaf, rights);
        if let Some(shadow) = self.shadow.as_deref().filter(|shadow| shadow.is_watching()) {
            match access {
                Access::Store => shadow.save(&self.memory, leaf.gpa),
                // The first store of a step is to come here.
                Access::Load | Access::Fetch => leaf.write = false,
            }
        }
        let id = self.tlb.id(view.class);
        let ram = self.tlb.fill(view.class, va, &leaf, access).is_some_and(|ram| ram.perm.allows(access));
        if id != self.tlb.id(view.class) {
            // The unit that runs goes on with what it has; the next one finds everything anew.
            self.enter_space();
            self.native.lane = self.tlb.first_entry(self.data.class) as u64;
            self.native.stamp = 0;
            self.port.kick(MAIL);
        }
        Ok(Place { gpa, ram, uniform: true })
    }

    /// Whether a translation may be made for an access that may not come: one that would mark the page as
    /// written must not (privileged manual, Svadu).
    pub(crate) fn may_translate_early(&self, access: Access) -> bool {
        access != Access::Store || !self.data.walk.adue
    }

    /// Reads a doubleword as a load in the hart's current mode does; `None` if that would trap.
    pub fn read_virtual(&mut self, va: u64) -> Option<u64> {
        self.load_word(va).ok()
    }

    #[inline(always)]
    pub(crate) fn load_word<T: Word>(&mut self, va: u64) -> Result<T, Stop> {
        match self.tlb.read(self.data.class, va) {
            Some(value) => Ok(value),
            None => self.load_slow(va),
        }
    }

    #[inline(always)]
    pub(crate) fn store_word<T: Word>(&mut self, va: u64, value: T) -> Result<(), Stop> {
        match self.tlb.write(self.data.class, va, value) {
            Some(()) => Ok(()),
            None => self.store_slow(va, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_slow<T: Word>(&mut self, va: u64) -> Result<T, Stop> {
        if va & (PAGE - 1) > PAGE - T::SIZE {
            return self.load_split(va);
        }
        if self.borrow_user(va, Access::Load)
            && let Some(value) = self.tlb.read(self.data.class, va)
        {
            return Ok(value);
        }
        let place = self.translate(va, T::SIZE, Access::Load)?;
        if place.ram {
            return self.memory.load(place.gpa).map_err(|_| self.stop_with(Cause::LoadAccess, va));
        }
        if !va.is_multiple_of(T::SIZE) {
            return Err(self.stop_with(Cause::LoadMisaligned, va));
        }
        if self.is_on_trial() {
            return Err(Stop::Outside);
        }
        match self.outside_fp(|core| core.bus.read(place.gpa, T::SIZE as u8)) {
            Ok(value) => Ok(T::narrow(value)),
            Err(_) => Err(self.stop_with(Cause::LoadAccess, va)),
        }
    }

    #[cold]
    #[inline(never)]
    fn store_slow<T: Word>(&mut self, va: u64, value: T) -> Result<(), Stop> {
        if let Some(gpa) = self.tlb.lookup_code_write(self.data.class, va, T::SIZE) {
            self.tally.beside_code += 1;
            return self.store_ram(va, gpa, value);
        }
        if va & (PAGE - 1) > PAGE - T::SIZE {
            return self.store_split(va, value);
        }
        if self.borrow_user(va, Access::Store) && self.tlb.write(self.data.class, va, value).is_some() {
            return Ok(());
        }
        let place = self.translate(va, T::SIZE, Access::Store)?;
        if place.ram {
            return self.store_ram(va, place.gpa, value);
        }
        if !va.is_multiple_of(T::SIZE) {
            return Err(self.stop_with(Cause::StoreMisaligned, va));
        }
        if self.is_on_trial() {
            return Err(Stop::Outside);
        }
        match self.outside_fp(|core| core.bus.write(place.gpa, T::SIZE as u8, value.widen())) {
            Ok(()) => self.after_door(),
            Err(_) => Err(self.stop_with(Cause::StoreAccess, va)),
        }
    }

    /// Runs a device, whose own floating point must not become the guest's.
    fn outside_fp<R>(&mut self, device: impl FnOnce(&Self) -> R) -> R {
        self.gather_fp();
        self.fpu = None;
        let start = Instant::now();
        let result = device(self);
        self.tally.devices += 1;
        self.tally.devices_ns += start.elapsed().as_nanos() as u64;
        result
    }

    /// Whether a miss of S-mode under SUM was answered by what U-mode has.
    fn borrow_user(&mut self, va: u64, access: Access) -> bool {
        self.data.class == Class::S && self.data.walk.sum && self.tlb.borrow_user(va, access)
    }

    /// Stores by the door.
    fn store_ram<T: Word>(&mut self, va: u64, gpa: u64, value: T) -> Result<(), Stop> {
        if self.by_door(gpa, T::SIZE, |memory| memory.store(gpa, value)).is_err() {
            return Err(self.stop_with(Cause::StoreAccess, va));
        }
        self.after_door()
    }

    /// If the store hit code, what follows has to be looked up anew.
    fn after_door(&self) -> Result<(), Stop> {
        if self.attention() & MAIL != 0 { Err(Stop::Done) } else { Ok(()) }
    }

    /// After `len` bytes at a host address of RAM were stored by a way that left the tracker out.
    pub(crate) fn stored_by_host(&mut self, host: u64, len: u64) -> Result<(), Stop> {
        self.tally.beside_code += 1;
        self.memory.tracker().wrote(host.wrapping_sub(self.memory.host_offset()), len);
        self.after_door()
    }

    /// Lets stores to the page of `va` hit that look for code afterwards, if nothing else is in their way than
    /// that the page holds code.
    pub(crate) fn share(&mut self, va: u64) {
        // Strict reservations have to hear of each store before it is done.
        if !self.cpu.strict_lrsc {
            self.tlb.share(self.data.class, va);
        }
    }

    /// Both halves of an access that crosses a page, with their lengths. Both are RAM.
    fn halves(&mut self, va: u64, size: u64, access: Access) -> Result<[(Place, usize); 2], Stop> {
        let first = PAGE - (va & (PAGE - 1));
        let second = va.wrapping_add(first);
        let low = self.translate(va, first, access)?;
        let high = self.translate(second, size - first, access)?;
        for (place, at) in [(low, va), (high, second)] {
            if !place.ram {
                return Err(self.stop_with(access_fault(access), at));
            }
        }
        Ok([(low, first as usize), (high, (size - first) as usize)])
    }

    fn load_split<T: Word>(&mut self, va: u64) -> Result<T, Stop> {
        let mut bytes = [0; 8];
        let mut at = 0;
        for (place, len) in self.halves(va, T::SIZE, Access::Load)? {
            if self.memory.read(place.gpa, &mut bytes[at..at + len]).is_err() {
                return Err(self.stop_with(Cause::LoadAccess, va));
            }
            at += len;
        }
        Ok(T::narrow(u64::from_le_bytes(bytes)))
    }

    fn store_split<T: Word>(&mut self, va: u64, value: T) -> Result<(), Stop> {
        let bytes = value.widen().to_le_bytes();
        let mut at = 0;
        for (place, len) in self.halves(va, T::SIZE, Access::Store)? {
            let half = &bytes[at..at + len];
            if self.by_door(place.gpa, len as u64, |memory| memory.write(place.gpa, half)).is_err() {
                return Err(self.stop_with(Cause::StoreAccess, va));
            }
            at += len;
        }
        self.after_door()
    }

    /// Cache-block operation. Caches are coherent here: only zeroing changes anything.
    pub(crate) fn cache_block(&mut self, op: Cbo, va: u64) -> Result<(), Stop> {
        if op != Cbo::Zero {
            // Permitted where loads or stores are; the fault is a store's (Zicbom, 2.5.2).
            return match self.translate(va, 1, Access::Load) {
                Ok(_) => Ok(()),
                Err(_) => self.translate(va, 1, Access::Store).map(|_| ()),
            };
        }
        // All of the block lies in one page: if one store hits, all do.
        let (class, block) = (self.data.class, va & !(CACHE_BLOCK - 1));
        if (0..CACHE_BLOCK).step_by(8).all(|at| self.tlb.write(class, block + at, 0u64).is_some()) {
            return Ok(());
        }
        let place = self.translate(va, 1, Access::Store)?;
        let gpa = place.gpa & !(CACHE_BLOCK - 1);
        let permitted = self.csr.pmp.check(gpa, CACHE_BLOCK, Access::Store, self.data.privilege);
        let zero = |memory: &AddressSpace| memory.write(gpa, &[0; CACHE_BLOCK as usize]);
        if !place.ram || !permitted || self.by_door(gpa, CACHE_BLOCK, zero).is_err() {
            return Err(self.stop_with(Cause::StoreAccess, va));
        }
        self.after_door()
    }
}

/// Takes out of a leaf what PMP refuses.
fn restrict(leaf: &mut Leaf, rights: Perm) {
    leaf.read &= rights.read;
    leaf.write &= rights.write;
    leaf.exec &= rights.exec;
}
