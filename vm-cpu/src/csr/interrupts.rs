//! What is pending, what may be taken, and in which order.
//!
//! A pending bit has up to two sources: a wire, which only its device can lower, and a bit that
//! software holds.
//!
//! ```text
//!  MEIP MTIP MSIP   wire
//!  SEIP             wire | software       only the software bit is read, changed and written back
//!  STIP             time ≥ stimecmp if menvcfg.STCE, else software | wire of a built-in SBI's timer
//!  SSIP             software; a sender from outside is recorded by `post_software`
//! ```
//!
//! **Invariant**: `wires | software bits` masked by [`CsrFile::interrupt_mask`] is not 0 if and only
//! if an interrupt is to be taken now. The mask changes only by an access with
//! [`Effects::INTERRUPTS`](super::Effects::INTERRUPTS), a trap or a trap return, so a hart keeps it
//! and polls with one AND.

use super::fields::{envcfg, irq, mip, status as ms};
use super::{CsrEnv, CsrFile, Effects, Priv, merge};

/// Decreasing priority among interrupts for one privilege (3.1.9).
const PRIORITY: [u8; 6] = [irq::MEI, irq::MSI, irq::MTI, irq::SEI, irq::SSI, irq::STI];

impl CsrFile {
    /// The interrupts that may be taken now if they are pending: enabled one by one in `mie`, and all
    /// together by privilege and `MIE`/`SIE` of the mode that each is for.
    pub fn interrupt_mask(&self) -> u64 {
        let machine = self.prv < Priv::Machine || self.mstatus & ms::MIE != 0;
        let supervisor =
            self.prv < Priv::Supervisor || self.prv == Priv::Supervisor && self.mstatus & ms::SIE != 0;
        let for_machine = if machine { !self.mideleg } else { 0 };
        let for_supervisor = if supervisor { self.mideleg } else { 0 };
        self.mie & (for_machine | for_supervisor)
    }

    /// `mip` given the wires. `lines` has MSIP, MTIP, SEIP, MEIP, and STIP as
    /// [`timer_line`](CsrFile::timer_line) says at this time, or as the timer of a built-in SBI says
    /// while `stimecmp` is not in force.
    pub fn pending(&self, lines: u64) -> u64 {
        let wires = mip::MACHINE | mip::SEIP | mip::STIP;
        let software = if self.timer_in_force() { self.mip & !mip::STIP } else { self.mip };
        lines & wires | software
    }

    /// The interrupt to take now, if any; `lines` as for [`pending`](CsrFile::pending).
    pub fn pending_interrupt(&self, lines: u64) -> Option<u8> {
        let taken = self.pending(lines) & self.interrupt_mask();
        let machine = taken & !self.mideleg;
        let first = if machine != 0 { machine } else { taken };
        PRIORITY.into_iter().find(|&code| first >> code & 1 != 0)
    }

    /// Whether `wfi` ends: something is pending that `mie` enables, whoever it is for and whether or
    /// not it can be taken (3.3.3).
    pub fn wakes(&self, lines: u64) -> bool {
        self.pending(lines) & self.mie != 0
    }

    /// STIP as a wire at `time`: set once `time` has reached `stimecmp`, if that is in force.
    pub fn timer_line(&self, time: u64) -> u64 {
        if self.timer_in_force() && time >= self.stimecmp { mip::STIP } else { 0 }
    }

    /// The time at which [`timer_line`](CsrFile::timer_line) rises, or `None` if `stimecmp` is not in
    /// force.
    pub fn timer_deadline(&self) -> Option<u64> {
        self.timer_in_force().then_some(self.stimecmp)
    }

    /// Records a supervisor software interrupt from outside. From then on it is the guest's to clear.
    pub fn post_software(&mut self) {
        self.mip |= mip::SSIP;
    }

    fn timer_in_force(&self) -> bool {
        self.menvcfg & envcfg::STCE != 0
    }

    /// `mip` at the moment of an access. While `stimecmp` is in force, STIP comes from `env.time`: a
    /// timer that was just set or disarmed shows at once, whatever the hart has polled.
    pub(super) fn read_mip(&self, env: &CsrEnv) -> u64 {
        let polled = if self.timer_in_force() { env.lines & !mip::STIP } else { env.lines };
        self.pending(polled | self.timer_line(env.time))
    }

    pub(super) fn write_mip(&mut self, value: u64) -> Effects {
        let stip = if self.timer_in_force() { 0 } else { mip::STIP };
        self.change_mip(value, mip::SSIP | mip::SEIP | stip)
    }

    /// S-mode may write SSIP only, and only if it is delegated.
    pub(super) fn write_sip(&mut self, value: u64) -> Effects {
        self.change_mip(value, mip::SSIP & self.mideleg)
    }

    fn change_mip(&mut self, value: u64, mask: u64) -> Effects {
        Effects::INTERRUPTS.when(merge(&mut self.mip, value, mask))
    }

    /// `sie` is `mie` through `mideleg`.
    pub(super) fn write_sie(&mut self, value: u64) -> Effects {
        Effects::INTERRUPTS.when(merge(&mut self.mie, value, self.mideleg))
    }
}
