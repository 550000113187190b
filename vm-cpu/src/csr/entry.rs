//! Entry into a trap handler and return from it (privileged manual, 3.1.6.1, 3.3.2).
//!
//! ```text
//!   trap:   xPIE ← xIE   xIE ← 0   xPP ← prv   xepc, xcause, xtval   prv ← x   pc ← xtvec
//!   return: xIE ← xPIE   xPIE ← 1  prv ← xPP   xPP ← U               MPRV ← 0 unless into M
//! ```
//! x is S if the trap comes from S or U and `medeleg`/`mideleg` delegates it, otherwise M.
//! Each of these changes privilege, and with it translation and the interrupts that may be taken.

use super::fields::status as ms;
use super::{CsrFile, Illegal, Priv};
use crate::trap::Trap;

/// The bit of `xcause` that tells an interrupt from an exception.
const INTERRUPT: u64 = 1 << 63;

impl CsrFile {
    /// Enters the handler for an exception of the instruction at `pc`; gives the handler's address.
    pub fn take_trap(&mut self, trap: Trap, pc: u64) -> u64 {
        let code = trap.cause as u8;
        let vector = self.enter(self.delegated(self.medeleg, code), code.into(), trap.tval, pc);
        vector & !3
    }

    /// Enters the handler for interrupt `irq` before the instruction at `pc`; gives the handler's
    /// address.
    pub fn take_interrupt(&mut self, irq: u8, pc: u64) -> u64 {
        let vector = self.enter(self.delegated(self.mideleg, irq), INTERRUPT | u64::from(irq), 0, pc);
        let vectored = vector & 1 != 0;
        let slot = if vectored { 4 * u64::from(irq) } else { 0 };
        (vector & !3).wrapping_add(slot)
    }

    /// Returns from M-mode's handler; gives the address to go on at.
    pub fn mret(&mut self) -> Result<u64, Illegal> {
        if self.prv != Priv::Machine {
            return Err(Illegal);
        }
        self.prv = self.mpp();
        self.mstatus = restore(self.mstatus, ms::MIE, ms::MPIE) & !ms::MPP;
        if self.prv != Priv::Machine {
            self.mstatus &= !ms::MPRV;
        }
        Ok(self.mepc)
    }

    /// Returns from S-mode's handler; gives the address to go on at. Illegal below S-mode, and in
    /// S-mode while `TSR`.
    pub fn sret(&mut self) -> Result<u64, Illegal> {
        if !self.permits_unless(ms::TSR) {
            return Err(Illegal);
        }
        self.prv = if self.mstatus & ms::SPP != 0 { Priv::Supervisor } else { Priv::User };
        self.mstatus = restore(self.mstatus, ms::SIE, ms::SPIE) & !(ms::SPP | ms::MPRV);
        Ok(self.sepc)
    }

    fn delegated(&self, mask: u64, code: u8) -> bool {
        self.prv != Priv::Machine && mask >> code & 1 != 0
    }

    /// Does all of a trap but the jump; gives `xtvec`.
    fn enter(&mut self, to_supervisor: bool, cause: u64, tval: u64, pc: u64) -> u64 {
        let pc = self.align(pc);
        let from = self.prv as u64;
        if to_supervisor {
            self.mstatus = save(self.mstatus, ms::SIE, ms::SPIE) & !ms::SPP;
            // From U or S: one bit tells them apart.
            self.mstatus |= if from != 0 { ms::SPP } else { 0 };
            (self.sepc, self.scause, self.stval) = (pc, cause, tval);
            self.prv = Priv::Supervisor;
            self.stvec
        } else {
            self.mstatus = save(self.mstatus, ms::MIE, ms::MPIE) & !ms::MPP | from << ms::MPP_SHIFT;
            (self.mepc, self.mcause, self.mtval) = (pc, cause, tval);
            self.prv = Priv::Machine;
            self.mtvec
        }
    }
}

/// Moves `enable` to `previous` and clears it.
fn save(status: u64, enable: u64, previous: u64) -> u64 {
    let kept = status & !(enable | previous);
    if status & enable != 0 { kept | previous } else { kept }
}

/// Moves `previous` to `enable` and sets it.
fn restore(status: u64, enable: u64, previous: u64) -> u64 {
    let kept = status & !enable | previous;
    if status & previous != 0 { kept | enable } else { kept }
}
