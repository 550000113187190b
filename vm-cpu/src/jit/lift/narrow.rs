//! Words computed as words: the manual's `W` instructions, comparisons and logic of their results, and rotations
//! that a guest without Zbb makes of two shifts.
//!
//! ```text
//!  srliw a, x, 7    ushr.i32 x, 7  ─┐
//!  slliw b, x, 25   ishl.i32 x, 25 ─┴─► rotl.i32 x, 25      extended to 64 bits only
//!  or    c, a, b                                            where all of them are asked for
//! ```
//! An operation of Cranelift is pure, so what turns out not to be needed at its full width is not computed there.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Type, Value};

use super::Lifter;
use crate::isa::emit::{Bin, Cmp};

impl Lifter<'_, '_> {
    /// The low word of a 64-bit value, as a 32-bit one.
    pub(super) fn low_word(&mut self, a: Value) -> Value {
        if self.place.options.narrow
            && let Some(word) = self.low_word_of_operation(a)
        {
            return word;
        }
        self.b.ins().ireduce(I32, a)
    }

    fn low_word_of_operation(&mut self, a: Value) -> Option<Value> {
        if let Some(word) = self.extended(a, Opcode::Sextend).or_else(|| self.extended(a, Opcode::Uextend)) {
            return Some(word);
        }
        if let Some(constant) = self.constant(a) {
            return Some(self.b.ins().iconst(I32, i64::from(constant as u32)));
        }
        let (opcode, x, y) = self.operation(a)?;
        match opcode {
            Opcode::Iadd | Opcode::Isub | Opcode::Imul => {
                let (x, y) = (self.low_word(x), self.low_word(y));
                Some(match opcode {
                    Opcode::Iadd => self.rotation(x, y).unwrap_or_else(|| self.b.ins().iadd(x, y)),
                    Opcode::Isub => self.b.ins().isub(x, y),
                    _ => self.b.ins().imul(x, y),
                })
            }
            Opcode::Ishl | Opcode::Ushr | Opcode::Sshr => {
                let amount = self.constant(y).filter(|amount| (0..32).contains(amount))?;
                match opcode {
                    Opcode::Ishl => {
                        let x = self.low_word(x);
                        Some(self.b.ins().ishl_imm_u(x, amount))
                    }
                    Opcode::Ushr => {
                        let x = self.extended(x, Opcode::Uextend)?;
                        Some(self.b.ins().ushr_imm_u(x, amount))
                    }
                    _ => {
                        let x = self.extended(x, Opcode::Sextend)?;
                        Some(self.b.ins().sshr_imm_u(x, amount))
                    }
                }
            }
            _ => None,
        }
    }

    /// Logic and arithmetic right shifts whose result is a sign-extended word, if one of the operands was extended
    /// for it; and rotations of all 64 bits.
    pub(super) fn narrow_bin(&mut self, op: Bin, a: Value, b: Value) -> Option<Value> {
        if !self.place.options.narrow {
            return None;
        }
        let word = match op {
            Bin::And | Bin::Or | Bin::Xor if self.are_words(a, b) => {
                let (x, y) = (self.low_word(a), self.low_word(b));
                match op {
                    Bin::And => self.b.ins().band(x, y),
                    Bin::Or => self.rotation(x, y).unwrap_or_else(|| self.b.ins().bor(x, y)),
                    _ => self.rotation(x, y).unwrap_or_else(|| self.b.ins().bxor(x, y)),
                }
            }
            Bin::Or | Bin::Xor | Bin::Add => return self.rotation(a, b),
            Bin::Sra => {
                let x = self.extended(a, Opcode::Sextend)?;
                let amount = self.constant(b).filter(|amount| (0..32).contains(amount))?;
                self.b.ins().sshr_imm_u(x, amount)
            }
            _ => return None,
        };
        Some(self.b.ins().sextend(I64, word))
    }

    /// A comparison of two sign-extended words, at least one of which was extended for it.
    pub(super) fn narrow_operands(&mut self, op: Cmp, a: Value, b: Value) -> (IntCC, Value, Value) {
        let code = super::emit::condition(op);
        match self.place.options.narrow && self.are_words(a, b) {
            true => (code, self.low_word(a), self.low_word(b)),
            false => (code, a, b),
        }
    }

    /// The one value that two shifts of opposite directions rotate, as their combination: they meet in no bit.
    fn rotation(&mut self, a: Value, b: Value) -> Option<Value> {
        let (left, right) = match (self.operation(a)?, self.operation(b)?) {
            ((Opcode::Ishl, x, n), (Opcode::Ushr, y, m)) => ((x, n), (y, m)),
            ((Opcode::Ushr, y, m), (Opcode::Ishl, x, n)) => ((x, n), (y, m)),
            _ => return None,
        };
        let (n, m) = (self.constant(left.1)?, self.constant(right.1)?);
        let bits = i64::from(self.b.func.dfg.value_type(a).bits());
        let whole = n > 0 && m > 0 && n + m == bits;
        (whole && self.is_same(left.0, right.0)).then(|| self.b.ins().rotl_imm_u(left.0, n))
    }

    /// Two sign-extended words, one of which at least is an operation's.
    fn are_words(&self, a: Value, b: Value) -> bool {
        let own = |v| self.extended(v, Opcode::Sextend).is_some();
        let known = |v| {
            own(v)
                || self.constant(v).is_some_and(|constant| i32::try_from(constant).is_ok())
                || self.opcode(v) == Some(Opcode::Sload32)
        };
        (own(a) && known(b)) || (own(b) && known(a))
    }

    /// The word that a value is the extension of.
    fn extended(&self, a: Value, how: Opcode) -> Option<Value> {
        match self.made_by(a)? {
            InstructionData::Unary { opcode, arg } if opcode == how && self.type_of(arg) == I32 => Some(arg),
            _ => None,
        }
    }

    fn constant(&self, a: Value) -> Option<i64> {
        match self.made_by(a)? {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    /// A value of two operands.
    fn operation(&self, a: Value) -> Option<(Opcode, Value, Value)> {
        match self.made_by(a)? {
            InstructionData::Binary { opcode, args: [x, y] } => Some((opcode, x, y)),
            _ => None,
        }
    }

    fn opcode(&self, a: Value) -> Option<Opcode> {
        Some(self.made_by(a)?.opcode())
    }

    /// Equal words of one value are made more than once.
    fn is_same(&self, a: Value, b: Value) -> bool {
        let whole = |v: Value| match self.made_by(v) {
            Some(InstructionData::Unary { opcode: Opcode::Ireduce, arg }) => self.resolved(arg),
            _ => self.resolved(v),
        };
        whole(a) == whole(b)
    }

    fn made_by(&self, a: Value) -> Option<InstructionData> {
        let dfg = &self.b.func.dfg;
        let inst = dfg.value_def(self.resolved(a)).inst()?;
        Some(dfg.insts[inst])
    }

    fn resolved(&self, a: Value) -> Value {
        self.b.func.dfg.resolve_aliases(a)
    }

    fn type_of(&self, a: Value) -> Type {
        self.b.func.dfg.value_type(a)
    }
}
