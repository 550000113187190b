//! The meaning of instructions as text, one operation a line: what an engine is asked to do.
//!
//! ```text
//!   %0 = x6           addi x5,x6,16
//!   %1 = add %0, 16
//!   x5 = %1
//! ```
//! Values are numbered within an instruction; the pc is told as `pc` plus the offset in the block.
//! For golden tests and for reading; nothing parses it.

use super::emit::*;
use super::{Insn, execute};
use crate::csr;
use crate::trap::Cause;
use std::fmt::{self, Display, Write};

/// The operations of `i`, each on an indented line of its own.
pub fn operations(i: &Insn) -> String {
    let mut text = Text { lines: String::new(), next: 0 };
    match execute(&mut text, i) {
        Ok(Flow::Next) | Err(Stopped) => {}
        Ok(Flow::Branch { cond, off }) => text.line(format_args!("branch {cond}, {}", Value::pc(i, off))),
        Ok(Flow::Jump { off }) => text.line(format_args!("jump {}", Value::pc(i, off))),
        Ok(Flow::JumpReg { target }) => text.line(format_args!("jump {target}")),
        Ok(Flow::Sync) => text.line("sync"),
        Ok(Flow::Switch) => text.line("switch"),
    }
    text.lines
}

/// An operation stopped for certain; its line has been written.
pub struct Stopped;

/// A value as written.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// The result of an operation.
    Result(u32),
    /// A constant.
    Constant(i64),
    /// An address, in bytes from the start of the block.
    Pc(i64),
}

impl Value {
    fn pc(i: &Insn, off: i64) -> Value {
        Value::Pc(i64::from(i.at) * 2 + off)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::Result(n) => write!(f, "%{n}"),
            Value::Constant(c) if (-0xffff..=0xffff).contains(&c) => write!(f, "{c}"),
            Value::Constant(c) => write!(f, "{c:#x}"),
            Value::Pc(0) => write!(f, "pc"),
            Value::Pc(off) => write!(f, "pc{off:+}"),
        }
    }
}

struct Text {
    lines: String,
    next: u32,
}

impl Text {
    fn line(&mut self, what: impl Display) {
        writeln!(self.lines, "  {what}").expect("writing to a string does not fail");
    }

    fn value(&mut self, what: impl Display) -> Value {
        let v = Value::Result(self.next);
        self.next += 1;
        self.line(format_args!("{v} = {what}"));
        v
    }
}

/// The name of a variant, in lower case.
fn name(variant: impl fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

/// Width and extension, such as `s32`.
fn width(m: Mem) -> String {
    format!("{}{}", if m.signed { 's' } else { 'u' }, 8 << m.size as u32)
}

fn order(o: Order) -> &'static str {
    match (o.aq, o.rl) {
        (false, false) => "",
        (true, false) => " acquire",
        (false, true) => " release",
        (true, true) => " acquire release",
    }
}

impl Emit for Text {
    type X = Value;
    type Stop = Stopped;

    fn x(&mut self, r: u8) -> Value {
        if r == 0 { Value::Constant(0) } else { self.value(format_args!("x{r}")) }
    }
    fn set_x(&mut self, r: u8, v: Value) {
        if r != 0 {
            self.line(format_args!("x{r} = {v}"));
        }
    }
    fn f(&mut self, r: u8) -> Value {
        self.value(format_args!("f{r}"))
    }
    fn set_f(&mut self, r: u8, v: Value) {
        self.line(format_args!("f{r} = {v}"));
    }
    fn imm(&mut self, v: i64) -> Value {
        Value::Constant(v)
    }
    fn pc(&mut self, i: &Insn) -> Value {
        Value::pc(i, 0)
    }
    fn un(&mut self, op: Un, a: Value) -> Value {
        self.value(format_args!("{} {a}", name(op)))
    }
    fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        self.value(format_args!("{} {a}, {b}", name(op)))
    }
    fn cmp(&mut self, op: Cmp, a: Value, b: Value) -> Value {
        self.value(format_args!("cmp.{} {a}, {b}", name(op)))
    }
    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.value(format_args!("select {c}, {a}, {b}"))
    }
    fn load(&mut self, _: &Insn, m: Mem, addr: Value) -> Result<Value, Stopped> {
        Ok(self.value(format_args!("load.{} [{addr}]", width(m))))
    }
    fn store(&mut self, _: &Insn, m: Mem, addr: Value, v: Value) -> Result<(), Stopped> {
        self.line(format_args!("store.{} [{addr}], {v}", width(m)));
        Ok(())
    }
    fn amo(
        &mut self,
        _: &Insn,
        size: Size,
        op: Amo,
        addr: Value,
        v: Value,
        o: Order,
    ) -> Result<Value, Stopped> {
        Ok(self.value(format_args!("amo.{} {} [{addr}], {v}{}", name(size), name(op), order(o))))
    }
    fn lr(&mut self, _: &Insn, size: Size, addr: Value, o: Order) -> Result<Value, Stopped> {
        Ok(self.value(format_args!("lr.{} [{addr}]{}", name(size), order(o))))
    }
    fn sc(&mut self, _: &Insn, size: Size, addr: Value, v: Value, o: Order) -> Result<Value, Stopped> {
        Ok(self.value(format_args!("sc.{} [{addr}], {v}{}", name(size), order(o))))
    }
    fn cas(
        &mut self,
        _: &Insn,
        size: Size,
        addr: Value,
        expect: Value,
        new: Value,
        o: Order,
    ) -> Result<Value, Stopped> {
        Ok(self.value(format_args!("cas.{} [{addr}], {expect}, {new}{}", name(size), order(o))))
    }
    fn cas_pair(
        &mut self,
        _: &Insn,
        addr: Value,
        expect: (Value, Value),
        new: (Value, Value),
        o: Order,
    ) -> Result<(Value, Value), Stopped> {
        let ((e0, e1), (n0, n1)) = (expect, new);
        let low = self.value(format_args!("cas.q [{addr}], {e1}:{e0}, {n1}:{n0}{}", order(o)));
        Ok((low, self.value(format_args!("high {low}"))))
    }
    fn fence(&mut self, pred: u8, succ: u8) {
        self.line(format_args!("fence {pred:#06b}, {succ:#06b}"));
    }
    fn cbo(&mut self, _: &Insn, op: Cbo, addr: Value) -> Result<(), Stopped> {
        self.line(format_args!("cbo.{} [{addr}]", name(op)));
        Ok(())
    }
    fn fp_on(&mut self, _: &Insn) -> Result<(), Stopped> {
        self.line("fp_on");
        Ok(())
    }
    fn fp(
        &mut self,
        _: &Insn,
        op: Fp,
        fmt: Fmt,
        rm: Rm,
        a: Value,
        b: Value,
        c: Value,
    ) -> Result<Value, Stopped> {
        Ok(self.value(format_args!("fp.{} {} {} {a}, {b}, {c}", name(fmt), name(op), name(rm))))
    }
    fn csr(
        &mut self,
        _: &Insn,
        op: CsrOp,
        num: u16,
        src: Value,
        read: bool,
        write: bool,
    ) -> Result<Value, Stopped> {
        let csr = csr::name(num).map_or_else(|| format!("{num:#x}"), |name| name.to_string());
        let kind = match (read, write) {
            (true, true) => name(op),
            (true, false) => "read".to_owned(),
            (false, _) => format!("{} unread", name(op)),
        };
        Ok(self.value(format_args!("csr {csr} {kind} {src}")))
    }
    fn sys(&mut self, _: &Insn, op: Sys, a: Value, b: Value) -> Step<Self> {
        self.line(format_args!("sys {} {a}, {b}", name(op)));
        match op {
            Sys::Ecall | Sys::Ebreak => Err(Stopped),
            Sys::Mret | Sys::Sret => Ok(Flow::Switch),
            Sys::Pause => Ok(Flow::Next),
            _ => Ok(Flow::Sync),
        }
    }
    fn trap(&mut self, _: &Insn, cause: Cause, tval: Value) -> Stopped {
        self.line(format_args!("trap {cause:?} {tval}"));
        Stopped
    }
    fn trap_if(&mut self, _: &Insn, cond: Value, cause: Cause, tval: Value) -> Result<(), Stopped> {
        self.line(format_args!("trap_if {cond} {cause:?} {tval}"));
        Ok(())
    }
    fn illegal(&mut self, i: &Insn) -> Stopped {
        self.line(format_args!("illegal {:#x}", i.bits));
        Stopped
    }
}
