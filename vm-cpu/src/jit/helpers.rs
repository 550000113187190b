//! What generated code has the runtime do: accesses that miss, and instructions that it does not cover.
//!
//! A helper that changes what decides how the unit runs (the mode, the address space, the pc) does not go
//! back: it goes on in the unit that follows, or leaves for the dispatcher to find one.

use super::abi::{Leave, Site};
use super::enter::{self, Misfit};
use super::slots::{MISSES, PER_MISS, SLOTS, Slot};
use crate::fp::HostFp;
use crate::hart::{Core, Stop};
use crate::isa::emit::Flow;
use crate::isa::{Insn, execute};
use vm_mmu::{Access, PAGE};

/// What comes after a helper.
pub(super) enum Then {
    /// The unit, behind the instruction.
    Back,
    /// The dispatcher.
    Leave(Leave),
    /// The unit at this address of code.
    GoOn(u64),
}

impl Core {
    /// Takes the FPU again if a device ran in between.
    pub(super) fn resume_fp(&mut self) {
        if self.native.fp_ready != 0 && self.fpu.is_none() {
            self.fpu = Some(HostFp::enter());
        }
    }

    /// Instructions executed before the one of `site` that are not in `retired` yet.
    fn pending_at(&self, site: &Site) -> u64 {
        self.native.pending.wrapping_sub(site.rest.into())
    }

    /// So many instructions of the unit of `site` have been executed.
    fn retire(&mut self, count: u64, site: &Site) {
        self.retired = self.retired.wrapping_add(count);
        if !site.ahead {
            self.native.here = self.native.here.wrapping_add(count);
        }
    }

    /// The instruction that a helper was called for has ended early.
    fn stop_at(&mut self, stop: Stop, site: &Site) -> Then {
        self.retire(self.pending_at(site), site);
        match stop {
            Stop::Trap if self.traps_to_host() => Then::Leave(Leave::Trap),
            Stop::Trap => {
                self.take_trap(self.pc);
                self.go_on()
            }
            Stop::Again => Then::Leave(Leave::Again),
            Stop::Outside => Then::Leave(Leave::Interpret),
            Stop::Done => {
                self.retire(1, site);
                self.pc = self.pc.wrapping_add(site.insn.len.into());
                Then::Leave(Leave::Dispatch)
            }
        }
    }

    /// On at `pc`, whatever has changed: in a unit if the jump cache knows one.
    fn go_on(&mut self) -> Then {
        if self.attention() != 0 || self.cells_gone || self.fence_i || self.pmp_changed {
            return Then::Leave(Leave::Sync);
        }
        self.take_pending_interrupt();
        let known = self.jumps.cell(self.pc).and_then(enter::target).or_else(|| self.find_unit_again());
        match known {
            Some(code) => {
                self.native.page = self.pc & !(PAGE - 1);
                self.tally.chained += 1;
                Then::GoOn(code)
            }
            None => Then::Leave(Leave::Sync),
        }
    }

    /// The unit at `pc`, if the jump cache knew one before a fence or a switch and it is still the right one.
    fn find_unit_again(&mut self) -> Option<u64> {
        let (cell, gpa) = self.jumps.guess_cell(self.pc)?;
        let code = enter::target(cell)?;
        if self.is_on_trial() {
            // The replay may end before this fetch, and must find page tables marked as it does.
            self.tlb.translate(self.fetch.class, self.pc, Access::Fetch)?;
        }
        let (now, alone) = self.translate_fetch(self.pc).ok()?;
        if now != gpa || alone {
            return None;
        }
        self.jumps.renew(self.pc);
        Some(code)
    }

    /// Whether the unit may go on behind `insn`, which has changed the hart's state: it reads what it knows of
    /// the mode as it is, and its own page is where it was.
    fn stays(&mut self, insn: &Insn) -> bool {
        use crate::isa::Op::*;
        let page = self.native.page;
        let harmless = match insn.op {
            csrrw | csrrs | csrrc | csrrwi | csrrsi | csrrci => true,
            sfence_vma | sinval_vma => insn.rs1 != 0 && self.x[usize::from(insn.rs1)] & !(PAGE - 1) != page,
            _ => false,
        };
        harmless && !self.pmp_changed && self.native_is_true() && !self.fp_settings_changed(insn)
    }

    /// Whether the stamp has changed since generated code was told: a fill of the soft-TLB can do that.
    pub(super) fn is_stamp_old(&mut self) -> bool {
        u64::from(self.tlb.stamp(self.data.class)) << 32 != self.native.stamp
    }

    /// Serves a miss of a site's slot by the soft-TLB, if that hits: host minus virtual address.
    fn refill(&mut self, slot: &mut Slot, va: u64, span: u64, access: Access) -> Option<u64> {
        let room = PAGE - span.min(PAGE);
        let class = self.data.class;
        if va % PAGE > room {
            return None;
        }
        let lent = if self.is_stamp_old() { None } else { self.tlb.lend(class, va, access) };
        let Some((page, addend)) = lent else {
            return self.tlb.addend(class, va, access);
        };
        (slot.tag, slot.addend) = (page, addend);
        Some(addend)
    }

    /// The same for a store that looks for code afterwards.
    fn refill_beside(&mut self, slot: &mut Slot, va: u64, span: u64) -> Option<u64> {
        self.share(va);
        let class = self.data.class;
        if va % PAGE > PAGE - span.min(PAGE) {
            return None;
        }
        let lent = if self.is_stamp_old() { None } else { self.tlb.lend_beside(class, va) };
        let Some((page, addend)) = lent else {
            return self.tlb.addend_beside(class, va);
        };
        (slot.tag, slot.addend) = (page, addend);
        Some(addend)
    }

    /// Counts a store at an address that misses because of code in its page; if there are many, the site had
    /// better look for code itself.
    fn strays(&mut self, slots: &mut [Slot; SLOTS], site: &Site, va: u64) -> Option<Then> {
        self.tlb.lookup_code_write(self.data.class, va, 1)?;
        if site.slot != 0 {
            let slot = &mut slots[usize::from(site.slot)];
            slot.misses = slot.misses.saturating_sub(1);
        }
        if self.native.strict != 0 || site.beside || !self.strays.count(site, self.retired) {
            return None;
        }
        let gpa = self.tlb.translate(self.fetch.class, self.pc, Access::Fetch)?;
        self.misfit = Some(Misfit::Beside { gpa });
        self.retire(self.pending_at(site), site);
        Some(Then::Leave(Leave::Interpret))
    }

    /// Counts a miss of a slot; true if there are so many that it is of no use.
    fn roams(&mut self, slots: &mut [Slot; SLOTS], site: &Site) -> bool {
        let slot = &mut slots[usize::from(site.slot)];
        slot.misses += 1;
        if self.shadow.as_ref().is_some_and(|shadow| shadow.is_watching()) {
            slot.misses = 0; // in lock-step every slot misses once a step
        }
        if slot.misses < MISSES {
            return false;
        }
        let now = self.retired as u32;
        let ran = now.wrapping_sub(slot.since);
        (slot.misses, slot.since) = (0, now);
        if ran >= u32::from(MISSES) * PER_MISS {
            return false;
        }
        // Others of the unit may be like it.
        let useless = |slot: &Slot| {
            let misses = u32::from(slot.misses);
            misses > u32::from(MISSES) / 2 && now.wrapping_sub(slot.since) < misses * PER_MISS
        };
        let first = slot.first;
        let header = &slots[usize::from(first)];
        let (number, end) = (header.addend, usize::from(first) + header.len as usize);
        let often = |at: &usize| slots.get(*at).is_some_and(useless);
        let mut sites: Vec<u16> = (usize::from(first) + 1..end).filter(often).map(|at| at as u16).collect();
        sites.push(site.slot);
        self.misfit = Some(Misfit::Roaming { number: number as u32, slots: sites });
        true
    }

    /// What a slot's miss comes to: the addend, or that the unit had better be made anew.
    fn slot_missed(
        &mut self,
        slots: &mut [Slot; SLOTS],
        site: &Site,
        span: u64,
        access: Access,
    ) -> Option<Then> {
        if site.slot == 0 {
            return None;
        }
        if self.roams(slots, site) {
            self.retire(self.pending_at(site), site);
            return Some(Then::Leave(Leave::Interpret));
        }
        if !self.owns_slot(slots, site) {
            return None;
        }
        let va = self.native.address;
        let slot = &mut slots[usize::from(site.slot)];
        let addend = match self.refill(slot, va, span, access) {
            None if site.beside && access == Access::Store => self.refill_beside(slot, va, span),
            found => found,
        };
        self.native.addend = addend?;
        Some(Then::Back)
    }

    /// Whether the slot of a site is valid: ids may have changed since the unit was entered.
    fn owns_slot(&mut self, slots: &[Slot; SLOTS], site: &Site) -> bool {
        let header = slots[usize::from(slots[usize::from(site.slot)].first)].tag;
        site.slot != 0 && header >> 32 == u64::from(self.tlb.stamp(self.data.class))
    }

    /// After a miss that the soft-TLB could not answer at once: the slot takes what is there now, or else
    /// the next access would miss too.
    fn take_anew(&mut self, slots: &mut [Slot; SLOTS], site: &Site, va: u64, span: u64, access: Access) {
        if self.owns_slot(slots, site) {
            // If it is not there, the next access misses.
            let _ = self.refill(&mut slots[usize::from(site.slot)], va, span, access);
        }
    }

    pub(super) fn native_load(&mut self, slots: &mut [Slot; SLOTS], site: &Site) -> Then {
        let va = self.native.address;
        if let Some(done) = self.slot_missed(slots, site, 1 << site.size, Access::Load) {
            return done;
        }
        let value = match site.size {
            0 => self.load_word::<u8>(va).map(u64::from),
            1 => self.load_word::<u16>(va).map(u64::from),
            2 => self.load_word::<u32>(va).map(u64::from),
            _ => self.load_word::<u64>(va),
        };
        match value {
            Ok(value) => {
                self.take_anew(slots, site, va, 1 << site.size, Access::Load);
                self.native.bounce[0] = value;
                self.bounce(va);
                Then::Back
            }
            Err(stop) => self.stop_at(stop, site),
        }
    }

    pub(super) fn native_store(&mut self, slots: &mut [Slot; SLOTS], site: &Site) -> Then {
        let (va, value) = (self.native.address, self.native.value);
        let done = self.slot_missed(slots, site, 1 << site.size, Access::Store);
        if let Some(done) = done.or_else(|| self.strays(slots, site, va)) {
            return done;
        }
        match self.store_sized(va, value, site) {
            Ok(()) => {
                self.take_anew(slots, site, va, 1 << site.size, Access::Store);
                self.bounce(va);
                Then::Back
            }
            Err(stop) => self.stop_at(stop, site),
        }
    }

    fn store_sized(&mut self, va: u64, value: u64, site: &Site) -> Result<(), Stop> {
        match site.size {
            0 => self.store_word(va, value as u8),
            1 => self.store_word(va, value as u16),
            2 => self.store_word(va, value as u32),
            _ => self.store_word(va, value),
        }
    }

    /// The whole of a store whose site looks for code, and whose place in the unit is behind it.
    pub(super) fn native_store_beside(&mut self, slots: &mut [Slot; SLOTS], site: &Site) -> Then {
        let va = self.native.address;
        let slotted = site.slot != 0;
        if slotted && self.roams(slots, site) {
            self.retire(self.pending_at(site), site);
            return Then::Leave(Leave::Interpret);
        }
        let done = self.store_sized(va, self.native.value, site);
        let own = self.owns_slot(slots, site);
        match done {
            Ok(()) if own => _ = self.refill_beside(&mut slots[usize::from(site.slot)], va, 1 << site.size),
            Ok(()) => self.share(va),
            Err(stop) => return self.stop_at(stop, site),
        }
        Then::Back
    }

    /// A store to the host address in `address` may have hit code.
    pub(super) fn native_written(&mut self, site: &Site) -> Then {
        match self.stored_by_host(self.native.address, 1 << site.size) {
            Ok(()) => Then::Back,
            Err(stop) => self.stop_at(stop, site),
        }
    }

    /// The access that follows in the unit goes to the bounce buffer.
    fn bounce(&mut self, va: u64) {
        self.native.addend = (&raw const self.native.bounce as u64).wrapping_sub(va);
    }

    /// All of `address..=value` must be RAM of one page that permits stores if `addend` is not 0, else loads;
    /// otherwise each access is for the interpreter.
    pub(super) fn native_range(&mut self, slots: &mut [Slot; SLOTS], site: &Site) -> Then {
        let (va, last) = (self.native.address, self.native.value);
        let access = if self.native.addend != 0 { Access::Store } else { Access::Load };
        let one_page = (va ^ last) & !(PAGE - 1) == 0 && last >= va;
        if one_page {
            if let Some(done) = self.slot_missed(slots, site, last - va + 1, access) {
                return done;
            }
            if self.tlb.addend(self.data.class, va, access).is_none() && self.may_translate_early(access) {
                // It fills the soft-TLB if it succeeds; a trap here is none yet.
                if self.translate(va, 1, access).is_ok() {
                    self.take_anew(slots, site, va, last - va + 1, access);
                }
            }
            let found = match self.tlb.addend(self.data.class, va, access) {
                None if site.beside && access == Access::Store => {
                    self.share(va);
                    self.tlb.addend_beside(self.data.class, va)
                }
                found => found,
            };
            if let Some(addend) = found {
                self.native.addend = addend;
                return Then::Back;
            }
            if access == Access::Store
                && let Some(done) = self.strays(slots, site, va)
            {
                return done;
            }
        } else if self.crossings.count(site, self.retired) {
            let at = self.native.page + u64::from(site.offset);
            let gpa = self.tlb.translate(self.fetch.class, at, Access::Fetch);
            self.misfit = gpa.map(|gpa| Misfit::Apart { gpa });
        }
        self.retire(self.pending_at(site), site);
        Then::Leave(Leave::Interpret)
    }

    pub(super) fn native_execute(&mut self, site: &Site) -> Then {
        let (before, insn) = (self.pending_at(site), &site.insn);
        self.retire(before.wrapping_add(1), site);
        self.tally.ops[insn.op as usize] += 1;
        let len = u64::from(insn.len);
        match execute(self, insn) {
            // A loop that calls helpers looks rarely, by its count: here is time for it.
            Ok(Flow::Next) if self.attention() != 0 => {
                self.pc = self.pc.wrapping_add(len);
                Then::Leave(Leave::Attention)
            }
            Ok(Flow::Next) if !self.fp_settings_changed(insn) => {
                self.retire(before.wrapping_add(1).wrapping_neg(), site);
                self.look_at_status();
                Then::Back
            }
            Ok(Flow::Sync) if self.stays(insn) => {
                self.pc = self.pc.wrapping_add(len);
                if self.take_pending_interrupt() {
                    return self.go_on();
                }
                self.retire(before.wrapping_add(1).wrapping_neg(), site);
                self.look_at_status();
                Then::Back
            }
            Ok(Flow::Next | Flow::Sync) => {
                self.pc = self.pc.wrapping_add(len);
                self.go_on()
            }
            Ok(Flow::Switch) => self.go_on(),
            Ok(Flow::Jump { off }) => {
                self.pc = self.pc.wrapping_add(off as u64);
                Then::Leave(Leave::Dispatch)
            }
            Ok(Flow::JumpReg { target }) => {
                self.pc = target;
                Then::Leave(Leave::Dispatch)
            }
            Ok(Flow::Branch { cond, off }) => {
                self.pc = self.pc.wrapping_add(if cond != 0 { off as u64 } else { len });
                Then::Leave(Leave::Dispatch)
            }
            Err(stop) => {
                self.retire(before.wrapping_add(1).wrapping_neg(), site);
                self.stop_at(stop, site)
            }
        }
    }

    /// Whether generated code may set and clear SIE from here on. Floating point and what interrupts depend on
    /// change by instructions that the runtime carries out, or come with attention.
    pub(super) fn look_at_status(&mut self) {
        let settled = self.fpu.is_none() || self.csr.fp_dirty();
        let ready = self.native.user == 0 && settled && !self.recheck && !self.csr.wakes(self.lines());
        self.native.status_ready = ready.into();
    }

    /// Whether an instruction may have made [`Native::fp_ready`], or `fp_on`, untrue without ending its block.
    fn fp_settings_changed(&self, insn: &Insn) -> bool {
        use crate::isa::Op::*;
        let csr = matches!(insn.op, csrrw | csrrs | csrrc | csrrwi | csrrsi | csrrci);
        let off = self.native.fp_on != 0 && !self.csr.fp_on();
        let unready = off || self.native.fp_ready != 0 && !self.fp_is_ready();
        csr && matches!(insn.imm as u16, 0x001..=0x003) || unready
    }

    /// Floating point may be done on the host's FPU.
    pub(crate) fn fp_is_ready(&self) -> bool {
        self.fpu.is_some() && self.csr.fp_dirty() && self.csr.frm == 0
    }
}
