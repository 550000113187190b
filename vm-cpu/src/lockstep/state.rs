//! The architectural state of a hart as a value: to begin anew from, and to compare.

use std::fmt::Write;

use crate::csr::CsrFile;
use crate::hart::{Core, Reservation};
use crate::trap::Trap;

/// Everything that instructions change but memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub pc: u64,
    pub x: [u64; 32],
    pub f: [u64; 32],
    pub csr: CsrFile,
    pub retired: u64,
    /// The trap to be delivered, if there is one.
    pub trap: Option<Trap>,
    reservation: Reservation,
    reserved: u64,
    due: u64,
    recheck: bool,
    fence_i: bool,
    pmp_changed: bool,
}

impl State {
    /// Of `core`, which is about to take its trap if `trapped`.
    pub fn of(core: &mut Core, trapped: bool) -> State {
        core.gather_fp();
        State {
            pc: core.pc,
            x: core.x,
            f: core.f,
            csr: core.csr.clone(),
            retired: core.retired,
            trap: trapped.then_some(core.trap),
            reservation: if core.reservation.cell == 0 { Reservation::default() } else { core.reservation },
            reserved: core.reserved_granule(),
            due: core.due,
            recheck: core.recheck,
            fence_i: core.fence_i,
            pmp_changed: core.pmp_changed,
        }
    }

    /// Whether the guest could tell this state from another. That interrupts are to be looked at once more it
    /// could not.
    pub fn agrees(&self, other: &State) -> bool {
        *self == State { recheck: self.recheck, ..other.clone() }
    }

    /// Puts `core` back into this state.
    pub fn restore(&self, core: &mut Core) {
        core.gather_fp();
        core.pc = self.pc;
        core.x = self.x;
        core.f = self.f;
        core.csr.clone_from(&self.csr);
        core.retired = self.retired;
        core.reservation = self.reservation;
        core.reserve_again(self.reserved);
        core.due = self.due;
        core.recheck = self.recheck;
        core.fence_i = self.fence_i;
        core.pmp_changed = self.pmp_changed;
        core.review();
    }

    /// What the interpreter, whose state this is, has other than the unit: a line each.
    pub fn differences(&self, unit: &State) -> String {
        let mut text = String::new();
        let mut line = |name: &dyn std::fmt::Display, interpreter: u64, unit: u64| {
            if interpreter != unit {
                // A string takes all.
                let _ = writeln!(text, "{name}: interpreter {interpreter:#x}, unit {unit:#x}");
            }
        };
        line(&"pc", self.pc, unit.pc);
        for r in 0..32 {
            line(&format_args!("x{r}"), self.x[r], unit.x[r]);
            line(&format_args!("f{r}"), self.f[r], unit.f[r]);
        }
        line(&"instructions retired", self.retired, unit.retired);
        let rest = |state: &State| {
            let State { csr, trap, reservation, due, fence_i, pmp_changed, .. } = state;
            let flags = (due, fence_i, pmp_changed);
            format!("{csr:#x?}\ntrap {trap:x?}\nreservation {reservation:x?}\npending {flags:x?}")
        };
        if (&self.csr, &self.trap, &self.reservation) != (&unit.csr, &unit.trap, &unit.reservation)
            || (self.due, self.fence_i, self.pmp_changed) != (unit.due, unit.fence_i, unit.pmp_changed)
        {
            let (ours, theirs) = (rest(self), rest(unit));
            for (ours, theirs) in ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs) {
                let _ = writeln!(text, "interpreter {}, unit {}", ours.trim(), theirs.trim());
            }
        }
        text
    }
}
