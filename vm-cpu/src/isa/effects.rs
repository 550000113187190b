//! Which registers an instruction reads and writes, whether it may stop, whether it ends a block: its
//! meaning, noted instead of carried out.

use super::emit::*;
use super::{Insn, Op, execute};
use crate::csr::direct::{self, Direct, direct};
use crate::trap::Cause;

/// What an instruction may touch. Register `r` is bit `r`; x0 is never there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Integer registers read.
    pub x_read: u32,
    /// Integer registers written, if it does not stop.
    pub x_written: u32,
    /// FP registers read.
    pub f_read: u32,
    /// FP registers written, if it does not stop.
    pub f_written: u32,
    /// It may trap, or leave to the engine.
    pub may_stop: bool,
    /// It is the last of its block: a jump, a branch, or an instruction after which to start anew.
    pub ends: bool,
    /// It never goes on to the next instruction.
    pub traps: bool,
    /// It needs more of the hart than registers, memory and arithmetic: for the runtime to carry out.
    pub runtime: bool,
    /// Its floating-point operation, apart from moves, loads and stores.
    pub float: Option<(Fp, Fmt, Rm)>,
    /// Its plain memory access at rs1 + imm, and whether that is a store.
    pub access: Option<(Size, bool)>,
    /// It orders memory accesses before and after it.
    pub orders: bool,
    /// The runtime is needed in rare cases only; see [`Effects::directly`].
    pub direct: bool,
}

impl Effects {
    /// The effects of `i`.
    pub fn of(i: &Insn) -> Effects {
        let mut effects = Effects::default();
        let flow = execute(&mut effects, i);
        effects.ends = !matches!(flow, Ok(Flow::Next));
        effects.traps = flow.is_err();
        effects
    }

    /// For an engine that carries out CSR accesses, LR/SC and `cbo.zero` in place where it can.
    pub fn directly(self) -> Effects {
        Effects { runtime: self.runtime && !self.direct, ..self }
    }

    /// The FP register that it does no more than copy.
    pub fn copies_float(&self) -> Option<u8> {
        let copies = matches!(self.float, Some((Fp::Sgnj, ..))) && self.f_read.is_power_of_two();
        copies.then(|| self.f_read.trailing_zeros() as u8)
    }

    fn in_place(&mut self) -> Result<(), ()> {
        (self.direct, self.orders) = (true, true);
        self.runtime()
    }

    fn stop(&mut self) -> Result<(), ()> {
        self.may_stop = true;
        Ok(())
    }

    fn runtime(&mut self) -> Result<(), ()> {
        self.runtime = true;
        self.stop()
    }
}

impl Emit for Effects {
    type X = ();
    type Stop = ();

    fn x(&mut self, r: u8) {
        self.x_read |= 1 << r & !1;
    }
    fn set_x(&mut self, r: u8, (): ()) {
        self.x_written |= 1 << r & !1;
    }
    fn f(&mut self, r: u8) {
        self.f_read |= 1 << r;
    }
    fn set_f(&mut self, r: u8, (): ()) {
        self.f_written |= 1 << r;
    }
    fn imm(&mut self, _: i64) {}
    fn pc(&mut self, _: &Insn) {}
    fn un(&mut self, _: Un, (): ()) {}
    fn bin(&mut self, _: Bin, (): (), (): ()) {}
    fn cmp(&mut self, _: Cmp, (): (), (): ()) {}
    fn select(&mut self, (): (), (): (), (): ()) {}
    fn load(&mut self, _: &Insn, m: Mem, (): ()) -> Result<(), ()> {
        self.access = Some((m.size, false));
        self.stop()
    }
    fn store(&mut self, _: &Insn, m: Mem, (): (), (): ()) -> Result<(), ()> {
        self.access = Some((m.size, true));
        self.stop()
    }
    fn amo(&mut self, _: &Insn, _: Size, _: Amo, (): (), (): (), _: Order) -> Result<(), ()> {
        self.orders = true;
        self.stop()
    }
    fn lr(&mut self, _: &Insn, _: Size, (): (), _: Order) -> Result<(), ()> {
        self.in_place()
    }
    fn sc(&mut self, _: &Insn, _: Size, (): (), (): (), _: Order) -> Result<(), ()> {
        self.in_place()
    }
    fn cas(&mut self, _: &Insn, _: Size, (): (), (): (), (): (), _: Order) -> Result<(), ()> {
        self.runtime()
    }
    fn cas_pair(&mut self, _: &Insn, (): (), _: ((), ()), _: ((), ()), _: Order) -> Result<((), ()), ()> {
        self.runtime()?;
        Ok(((), ()))
    }
    fn fence(&mut self, _: u8, _: u8) {
        self.orders = true;
    }
    fn cbo(&mut self, _: &Insn, op: Cbo, (): ()) -> Result<(), ()> {
        if op == Cbo::Zero { self.in_place() } else { self.runtime() }
    }
    fn fp_on(&mut self, _: &Insn) -> Result<(), ()> {
        self.stop()
    }
    fn fp(&mut self, _: &Insn, op: Fp, fmt: Fmt, rm: Rm, (): (), (): (), (): ()) -> Result<(), ()> {
        self.float = Some((op, fmt, rm));
        self.stop()
    }
    fn csr(&mut self, i: &Insn, op: CsrOp, num: u16, (): (), _: bool, write: bool) -> Result<(), ()> {
        let immediate = matches!(i.op, Op::csrrsi | Op::csrrci);
        match direct(num, op, write) {
            Some(Direct::Status) if immediate && u64::from(i.rs1) & !direct::ENABLE != 0 => self.runtime(),
            Some(Direct::Status) => self.in_place(),
            Some(Direct::Word { .. }) => {
                self.direct = true;
                self.runtime()
            }
            None => self.runtime(),
        }
    }
    fn sys(&mut self, _: &Insn, op: Sys, (): (), (): ()) -> Step<Self> {
        self.runtime()?;
        Ok(if op == Sys::Pause { Flow::Next } else { Flow::Sync })
    }
    fn trap(&mut self, _: &Insn, _: Cause, (): ()) {
        (self.may_stop, self.runtime) = (true, true);
    }
    fn trap_if(&mut self, _: &Insn, (): (), _: Cause, (): ()) -> Result<(), ()> {
        self.runtime()
    }
    fn illegal(&mut self, _: &Insn) {
        (self.may_stop, self.runtime) = (true, true);
    }
}
