//! The meaning of instructions, written out as host code. What is not covered says so, and is the runtime's.

use super::Writer;
use super::asm::{R15, RAX};
use super::value::Value;
use crate::csr::direct::direct;
use crate::isa::Insn;
use crate::isa::emit::{Amo, Bin, Cbo, Cmp, CsrOp, Emit, Fmt, Fp, Mem, Order, Rm, Size, Step, Sys, Un};
use crate::jit::abi;
use crate::trap::Cause;

/// The instruction is for the runtime. Nothing of it has been written but reads of registers.
pub struct NotCovered;

impl Emit for Writer<'_> {
    type X = Value;
    type Stop = NotCovered;

    fn x(&mut self, r: u8) -> Value {
        self.read(r)
    }

    fn set_x(&mut self, r: u8, v: Value) {
        self.write(r, v);
    }

    fn f(&mut self, r: u8) -> Value {
        let to = self.temporary();
        self.hot.load(Mem::U64, to, R15, abi::f_offset(r.into()));
        Value::Host(to)
    }

    fn set_f(&mut self, r: u8, v: Value) {
        let from = match v {
            Value::Host(from) => from,
            _ => {
                self.put(RAX, v);
                RAX
            }
        };
        self.hot.store(Size::D, R15, abi::f_offset(r.into()), from);
    }

    fn imm(&mut self, v: i64) -> Value {
        Value::Imm(v)
    }

    fn pc(&mut self, _: &Insn) -> Value {
        Value::Page(self.offset())
    }

    fn un(&mut self, op: Un, a: Value) -> Value {
        self.unary(op, a)
    }

    fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        self.binary(op, a, b)
    }

    fn cmp(&mut self, op: Cmp, a: Value, b: Value) -> Value {
        self.comparison(op, a, b)
    }

    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.choose(c, a, b)
    }

    fn load(&mut self, i: &Insn, m: Mem, _: Value) -> Result<Value, NotCovered> {
        Ok(self.load_value(i, m))
    }

    fn store(&mut self, i: &Insn, m: Mem, _: Value, v: Value) -> Result<(), NotCovered> {
        self.store_value(i, m.size, v);
        Ok(())
    }

    fn amo(
        &mut self,
        i: &Insn,
        size: Size,
        op: Amo,
        _: Value,
        v: Value,
        _: Order,
    ) -> Result<Value, NotCovered> {
        self.atomic(i, size, op, v).ok_or(NotCovered)
    }

    fn fence(&mut self, pred: u8, succ: u8) {
        // x86 keeps every order but that of a store before a later load.
        if pred & 0b0101 != 0 && succ & 0b1010 != 0 {
            self.hot.fence();
        }
    }

    fn fp_on(&mut self, _: &Insn) -> Result<(), NotCovered> {
        // A block with floating point asks when it begins.
        Ok(())
    }

    fn fp(
        &mut self,
        _: &Insn,
        _: Fp,
        _: Fmt,
        _: Rm,
        _: Value,
        _: Value,
        _: Value,
    ) -> Result<Value, NotCovered> {
        Err(NotCovered)
    }

    fn lr(&mut self, _: &Insn, _: Size, _: Value, _: Order) -> Result<Value, NotCovered> {
        Err(NotCovered)
    }

    fn sc(&mut self, _: &Insn, _: Size, _: Value, _: Value, _: Order) -> Result<Value, NotCovered> {
        Err(NotCovered)
    }

    fn cas(
        &mut self,
        _: &Insn,
        _: Size,
        _: Value,
        _: Value,
        _: Value,
        _: Order,
    ) -> Result<Value, NotCovered> {
        Err(NotCovered)
    }

    fn cas_pair(
        &mut self,
        _: &Insn,
        _: Value,
        _: (Value, Value),
        _: (Value, Value),
        _: Order,
    ) -> Result<(Value, Value), NotCovered> {
        Err(NotCovered)
    }

    fn cbo(&mut self, _: &Insn, _: Cbo, _: Value) -> Result<(), NotCovered> {
        Err(NotCovered)
    }

    fn csr(
        &mut self,
        i: &Insn,
        op: CsrOp,
        num: u16,
        src: Value,
        _: bool,
        write: bool,
    ) -> Result<Value, NotCovered> {
        let way = direct(num, op, write).ok_or(NotCovered)?;
        Ok(self.access_csr(i, way, op, src, write))
    }

    fn sys(&mut self, _: &Insn, _: Sys, _: Value, _: Value) -> Step<Self> {
        Err(NotCovered)
    }

    fn trap(&mut self, _: &Insn, _: Cause, _: Value) -> NotCovered {
        NotCovered
    }

    fn trap_if(&mut self, _: &Insn, _: Value, _: Cause, _: Value) -> Result<(), NotCovered> {
        Err(NotCovered)
    }

    fn illegal(&mut self, _: &Insn) -> NotCovered {
        NotCovered
    }
}
