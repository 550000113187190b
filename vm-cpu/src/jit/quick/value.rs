//! Values of the quick tier: put off for as long as an operand of an instruction can take them.

use super::Writer;
use super::asm::{Alu, Cond, RDI, Reg};
use crate::isa::emit::{Cmp, Mem};

/// A value of an instruction's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Known.
    Imm(i64),
    /// The address of the page that the unit runs in, plus this.
    Page(i64),
    /// In a register, which must not be changed.
    Host(Reg),
    /// A register plus a constant: what an address usually is.
    Sum(Reg, i32),
    /// A comparison that has not been made.
    Compared(Cmp, Reg, Operand),
}

/// Second operand of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    Host(Reg),
    Imm(i32),
}

/// The condition of a comparison.
pub fn condition(op: Cmp) -> Cond {
    match op {
        Cmp::Eq => Cond::Equal,
        Cmp::Ne => Cond::NotEqual,
        Cmp::Lt => Cond::Less,
        Cmp::Ge => Cond::NotLess,
        Cmp::Ltu => Cond::Below,
        Cmp::Geu => Cond::NotBelow,
    }
}

impl Writer<'_> {
    /// Puts a value into `to`, which no value lives in.
    pub(super) fn put(&mut self, to: Reg, value: Value) {
        match value {
            Value::Imm(value) => self.hot.set_without_flags(to, value),
            Value::Page(offset) => match i32::try_from(offset) {
                Ok(offset) => self.hot.lea(to, RDI, offset),
                Err(_) => {
                    self.hot.set_without_flags(to, offset);
                    self.hot.lea_index(to, to, RDI, 0);
                }
            },
            Value::Host(from) => {
                if from != to {
                    self.hot.mov(to, from);
                }
            }
            Value::Sum(base, plus) => self.hot.lea(to, base, plus),
            Value::Compared(op, a, b) => {
                // A byte of a register is set: clear the rest, before the flags are made.
                let apart = a != to && b != Operand::Host(to);
                if apart {
                    self.hot.set(to, 0);
                }
                self.compare(a, b);
                self.hot.setcc(condition(op), to);
                if !apart {
                    self.hot.extend(Mem::U8, to, to);
                }
            }
        }
    }

    /// Makes a comparison.
    pub(super) fn compare(&mut self, a: Reg, b: Operand) {
        match b {
            Operand::Host(b) => self.hot.alu(Alu::Cmp, a, b),
            Operand::Imm(0) => self.hot.test(a, a),
            Operand::Imm(b) => self.hot.alu_value(Alu::Cmp, a, b),
        }
    }

    /// A new register with a value, to be changed.
    pub(super) fn copy(&mut self, value: Value) -> Reg {
        let to = self.temporary();
        self.put(to, value);
        to
    }

    /// A register that has a value, not to be changed.
    pub(super) fn host(&mut self, value: Value) -> Reg {
        match value {
            Value::Host(host) => host,
            _ => self.copy(value),
        }
    }

    /// A value as an operand of most instructions.
    pub(super) fn operand(&mut self, value: Value) -> Operand {
        match value {
            Value::Imm(value) => match i32::try_from(value) {
                Ok(value) => Operand::Imm(value),
                Err(_) => Operand::Host(self.copy(Value::Imm(value))),
            },
            _ => Operand::Host(self.host(value)),
        }
    }
}
