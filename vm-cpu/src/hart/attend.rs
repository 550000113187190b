//! What a hart does between blocks: mail, timers, interrupts, traps, sleep.

use std::time::Instant;

use super::port::{INTERRUPT, MAIL, REQUEST};
use super::{Core, Exit, Mail};
use crate::csr::fields::mip::{MTIP, STIP};
use crate::interp::Engine;
use crate::trap::Cause;

impl Core {
    /// Before the first guest instruction after being outside.
    pub(super) fn enter(&mut self, engine: &mut Engine) {
        self.port.enter();
        self.read_mail(engine);
        self.look_outside();
        self.recheck = true;
    }

    /// From here on no guest instruction runs.
    pub(super) fn leave(&mut self) {
        self.end_fp();
        self.port.leave();
        self.tally.retired = self.tally.earlier.wrapping_add(self.retired);
        self.tally.tlb = self.tlb.stats();
        self.port.put_tally(&self.tally);
    }

    /// The thread's FPU is the host's again.
    pub(crate) fn end_fp(&mut self) {
        self.gather_fp();
        self.fpu = None;
    }

    /// Serves whatever asked for attention; an exit ends `run`.
    pub(super) fn attend(&mut self, engine: &mut Engine) -> Option<Exit> {
        if self.attention() != 0 {
            let why = self.port.take_attention();
            if why & MAIL != 0 {
                self.read_mail(engine);
            }
            if why & INTERRUPT != 0 {
                self.look_outside();
                self.recheck = true;
            }
            if why & REQUEST != 0 {
                return Some(Exit::Requested);
            }
        }
        self.take_pending_interrupt();
        None
    }

    /// Takes an interrupt if one has come to be pending and enabled; whether it did.
    #[inline]
    pub(crate) fn take_pending_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.recheck) && self.take_interrupt()
    }

    /// Levels of the interrupt wires at this moment.
    pub(crate) fn port_lines(&self) -> u64 {
        self.port.lines()
    }

    /// Levels of all interrupt sources outside the CSR file.
    pub(crate) fn lines(&self) -> u64 {
        let lines = self.shadow.as_ref().and_then(|shadow| shadow.lines());
        lines.unwrap_or_else(|| self.port.lines()) | self.due
    }

    fn take_interrupt(&mut self) -> bool {
        let Some(irq) = self.csr.pending_interrupt(self.lines()) else { return false };
        self.shadow.iter().for_each(|shadow| shadow.note_interrupt());
        self.tally.interrupts += 1;
        self.pc = self.csr.take_interrupt(irq, self.pc);
        self.review();
        true
    }

    /// Delivers the noted trap, raised by the instruction at `pc`.
    pub(crate) fn deliver(&mut self, pc: u64) -> Option<Exit> {
        if self.traps_to_host() {
            self.pc = pc.wrapping_add(4);
            self.tally.calls += 1;
            return Some(Exit::SbiCall);
        }
        self.take_trap(pc);
        None
    }

    /// Whether the noted trap is for the built-in SBI.
    pub(crate) fn traps_to_host(&self) -> bool {
        self.sbi && self.trap.cause == Cause::EcallS
    }

    /// Enters the guest's handler for the noted trap, raised by the instruction at `pc`.
    pub(crate) fn take_trap(&mut self, pc: u64) {
        self.shadow.iter().for_each(|shadow| shadow.note_trap());
        self.tally.exceptions[self.trap.cause as usize] += 1;
        self.pc = self.csr.take_trap(self.trap, pc);
        self.review();
    }

    /// Takes in what other threads have posted, and what the clock says.
    fn look_outside(&mut self) {
        if self.port.take_software() {
            self.csr.post_software();
        }
        self.look_at_timers();
    }

    /// Compares the clock with the timers, and has the timer thread watch for what comes next. Gives the
    /// time that it compared with.
    pub(super) fn look_at_timers(&mut self) -> u64 {
        let supervisor = match self.csr.timer_deadline() {
            Some(deadline) => deadline,
            None => self.sbi_timer,
        };
        let timers = [(self.cluster.mtimecmp(self.id), MTIP), (supervisor, STIP)];
        let now = self.outside(|| self.cluster.clock().now());
        let mut next = u64::MAX;
        self.due = 0;
        for (deadline, bit) in timers {
            if deadline <= now {
                self.due |= bit;
            } else {
                next = next.min(deadline);
            }
        }
        self.armed = next;
        // Asked for anew also if it has fired and time was set back since.
        if next != self.cluster.deadline(self.id) {
            self.cluster.arm(self.id, next);
        }
        now
    }

    /// Sets the timer of the built-in SBI for a supervisor without `stimecmp`; `u64::MAX` is never.
    pub fn set_sbi_timer(&mut self, deadline: u64) {
        self.sbi_timer = deadline;
        self.recheck = true;
        self.look_at_timers();
    }

    /// `wfi`: sleeps until an enabled interrupt is pending, taken or not.
    pub(crate) fn wait_for_interrupt(&mut self) {
        loop {
            self.look_outside();
            if self.csr.wakes(self.lines()) || self.attention() & REQUEST != 0 {
                break;
            }
            let limit = self.cluster.clock().until(self.armed);
            self.port.leave();
            self.unpin();
            let asleep = Instant::now();
            self.port.sleep(limit);
            self.tally.sleeps += 1;
            self.tally.sleeps_ns += asleep.elapsed().as_nanos() as u64;
            let why = self.port.take_attention();
            self.port.enter();
            self.pin();
            // Everything but the wires is served at the next block.
            self.port.kick(why & (MAIL | REQUEST) | MAIL);
        }
        self.recheck = true;
    }

    /// Sleeps like `wfi`, outside of `run`. False if somebody wants the thread instead; who wants it at the
    /// moment it wakes gets it from the next `run`.
    pub(super) fn suspend(&mut self, engine: &mut Engine) -> bool {
        self.enter(engine);
        self.wait_for_interrupt();
        let woken = self.csr.wakes(self.lines());
        self.leave();
        self.unpin();
        if !woken {
            // Mail and wires are looked at on every entry; the request is served by coming back.
            self.port.take_attention();
        }
        woken
    }

    /// Acts on all mail.
    pub(crate) fn read_mail(&mut self, engine: &mut Engine) {
        let mut letters = Vec::new();
        let number = self.port.take_mail(&mut letters);
        for letter in letters {
            self.act_on(engine, letter);
        }
        self.port.confirm(number);
    }

    /// Does what a letter asks for.
    pub(super) fn act_on(&mut self, engine: &mut Engine, letter: Mail) {
        match letter {
            Mail::CodeWritten { page, granules } => engine.drop_granules(page, granules),
            Mail::Guard { page } => self.tlb.revoke_write(page),
            Mail::GuardAll => self.tlb.revoke_write_all(),
            Mail::Sfence { va, size, asid } => self.fence_range(va, size, asid),
            Mail::FenceI => engine.fence_i(self),
            Mail::Everything => {
                self.drop_translations();
                engine.drop_all();
            }
        }
    }
}
