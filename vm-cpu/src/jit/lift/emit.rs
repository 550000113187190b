//! The meaning of instructions, recorded.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::Lifter;
use crate::csr::direct::direct;
use crate::isa::Insn;
use crate::isa::emit::{Amo, Bin, Cbo, Cmp, CsrOp, Emit, Flow, Fmt, Fp, Mem, Order, Rm, Size, Step, Sys, Un};
use crate::trap::Cause;

impl Lifter<'_, '_> {
    /// Sign- or zero-extends the low part.
    fn extend(&mut self, to: Type, signed: bool, a: Value) -> Value {
        let low = if to == I32 { self.low_word(a) } else { self.b.ins().ireduce(to, a) };
        if signed { self.b.ins().sextend(I64, low) } else { self.b.ins().uextend(I64, low) }
    }

    /// A one-operand operation on the low word.
    fn on_word(&mut self, a: Value, op: impl FnOnce(&mut Self, Value) -> Value) -> Value {
        let low = self.low_word(a);
        let value = op(self, low);
        self.b.ins().uextend(I64, value)
    }

    /// `orc.b`: a byte's bits gather in its top bit, which then spreads.
    fn or_combine(&mut self, a: Value) -> Value {
        let low = self.iconst(0x7f7f_7f7f_7f7f_7f7f);
        let masked = self.b.ins().band(a, low);
        let carried = self.b.ins().iadd(masked, low);
        let any = self.b.ins().bor(carried, a);
        let top = self.b.ins().ushr_imm_s(any, 7);
        let ones = self.iconst(0x0101_0101_0101_0101);
        let bits = self.b.ins().band(top, ones);
        self.b.ins().imul_imm_s(bits, 0xff)
    }

    /// RISC-V division on the host's, which must see neither a zero divisor nor an overflow.
    fn divide(&mut self, op: Bin, a: Value, b: Value) -> Value {
        let signed = matches!(op, Bin::Div | Bin::Rem);
        let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let one = self.iconst(1);
        let mut divisor = self.b.ins().select(zero, one, b);
        if signed {
            // The least number divided by -1: by 1 instead, which gives what the manual says.
            let minus = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let least = self.iconst(i64::MIN);
            let least = self.b.ins().icmp(IntCC::Equal, a, least);
            let both = self.b.ins().band(minus, least);
            divisor = self.b.ins().select(both, one, divisor);
        }
        let result = match op {
            Bin::Div => self.b.ins().sdiv(a, divisor),
            Bin::Divu => self.b.ins().udiv(a, divisor),
            Bin::Rem => self.b.ins().srem(a, divisor),
            _ => self.b.ins().urem(a, divisor),
        };
        let by_zero = if matches!(op, Bin::Div | Bin::Divu) { self.iconst(-1) } else { a };
        self.b.ins().select(zero, by_zero, result)
    }

    fn extreme(&mut self, code: IntCC, a: Value, b: Value) -> Value {
        let first = self.b.ins().icmp(code, a, b);
        self.b.ins().select(first, a, b)
    }
}

/// The condition of a comparison.
pub(super) fn condition(op: Cmp) -> IntCC {
    match op {
        Cmp::Eq => IntCC::Equal,
        Cmp::Ne => IntCC::NotEqual,
        Cmp::Lt => IntCC::SignedLessThan,
        Cmp::Ge => IntCC::SignedGreaterThanOrEqual,
        Cmp::Ltu => IntCC::UnsignedLessThan,
        Cmp::Geu => IntCC::UnsignedGreaterThanOrEqual,
    }
}

impl Emit for Lifter<'_, '_> {
    type X = Value;
    type Stop = ();

    fn x(&mut self, r: u8) -> Value {
        match r {
            0 => self.iconst(0),
            _ => {
                let var = self.x_var(r.into());
                self.b.use_var(var)
            }
        }
    }

    fn set_x(&mut self, r: u8, v: Value) {
        if r != 0 {
            let var = self.x_var(r.into());
            self.b.def_var(var, v);
            self.dirty |= 1 << r;
        }
    }

    fn f(&mut self, r: u8) -> Value {
        let effects = &self.this().effects[self.insn];
        let by_register = effects.float.is_some() || matches!(effects.access, Some((Size::D, true)));
        // Operations and stores take what they need of a register by its number.
        if by_register { self.iconst(0) } else { self.f_bits(r) }
    }

    fn set_f(&mut self, r: u8, v: Value) {
        self.set_f_bits(r, v);
    }

    fn imm(&mut self, v: i64) -> Value {
        self.iconst(v)
    }

    fn pc(&mut self, _: &Insn) -> Value {
        let offset = self.offset();
        self.address_of(offset)
    }

    fn un(&mut self, op: Un, a: Value) -> Value {
        match op {
            Un::Sext8 => self.extend(I8, true, a),
            Un::Sext16 => self.extend(I16, true, a),
            Un::Sext32 => self.extend(I32, true, a),
            Un::Zext8 => self.extend(I8, false, a),
            Un::Zext16 => self.extend(I16, false, a),
            Un::Zext32 => self.extend(I32, false, a),
            Un::Clz64 => self.b.ins().clz(a),
            Un::Ctz64 => self.b.ins().ctz(a),
            Un::Cpop64 => self.b.ins().popcnt(a),
            Un::Clz32 => self.on_word(a, |lifter, word| lifter.b.ins().clz(word)),
            Un::Ctz32 => self.on_word(a, |lifter, word| lifter.b.ins().ctz(word)),
            Un::Cpop32 => self.on_word(a, |lifter, word| lifter.b.ins().popcnt(word)),
            Un::Rev8 => self.b.ins().bswap(a),
            Un::OrcB => self.or_combine(a),
            Un::Not => self.b.ins().bnot(a),
        }
    }

    fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        if let Some(value) = self.narrow_bin(op, a, b) {
            return value;
        }
        match op {
            Bin::Add => self.b.ins().iadd(a, b),
            Bin::Sub => self.b.ins().isub(a, b),
            Bin::And => self.b.ins().band(a, b),
            Bin::Or => self.b.ins().bor(a, b),
            Bin::Xor => self.b.ins().bxor(a, b),
            Bin::Sll => self.b.ins().ishl(a, b),
            Bin::Srl => self.b.ins().ushr(a, b),
            Bin::Sra => self.b.ins().sshr(a, b),
            Bin::Rol => self.b.ins().rotl(a, b),
            Bin::Ror => self.b.ins().rotr(a, b),
            Bin::Mul => self.b.ins().imul(a, b),
            Bin::Mulh => self.b.ins().smulhi(a, b),
            Bin::Mulhu => self.b.ins().umulhi(a, b),
            Bin::Mulhsu => {
                // Unsigned, less b where a is negative.
                let high = self.b.ins().umulhi(a, b);
                let sign = self.b.ins().sshr_imm_s(a, 63);
                let excess = self.b.ins().band(sign, b);
                self.b.ins().isub(high, excess)
            }
            Bin::Div | Bin::Divu | Bin::Rem | Bin::Remu => self.divide(op, a, b),
            Bin::Min => self.extreme(IntCC::SignedLessThan, a, b),
            Bin::Max => self.extreme(IntCC::SignedGreaterThan, a, b),
            Bin::Minu => self.extreme(IntCC::UnsignedLessThan, a, b),
            Bin::Maxu => self.extreme(IntCC::UnsignedGreaterThan, a, b),
        }
    }

    fn cmp(&mut self, op: Cmp, a: Value, b: Value) -> Value {
        let (code, a, b) = self.narrow_operands(op, a, b);
        let bit = self.b.ins().icmp(code, a, b);
        let value = self.b.ins().uextend(I64, bit);
        self.compared = Some((value, code, a, b));
        value
    }

    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.b.ins().select(c, a, b)
    }

    fn load(&mut self, i: &Insn, m: Mem, _: Value) -> Result<Value, ()> {
        Ok(self.load_any(i, m))
    }

    fn store(&mut self, i: &Insn, m: Mem, _: Value, v: Value) -> Result<(), ()> {
        let value = self.stored(i, v);
        self.store_value(i, m.size, value);
        Ok(())
    }

    fn amo(&mut self, i: &Insn, size: Size, op: Amo, _: Value, v: Value, _: Order) -> Result<Value, ()> {
        Ok(self.atomic(i, size, op, v))
    }

    fn fence(&mut self, pred: u8, succ: u8) {
        // x86 keeps every order but that of a store before a later load.
        if pred & 0b0101 != 0 && succ & 0b1010 != 0 {
            self.b.ins().fence();
        }
    }

    fn fp_on(&mut self, _: &Insn) -> Result<(), ()> {
        // Every entry of a unit with floating point asks.
        Ok(())
    }

    fn fp(&mut self, i: &Insn, op: Fp, fmt: Fmt, _: Rm, _: Value, _: Value, _: Value) -> Result<Value, ()> {
        Ok(self.float_operation(i, op, fmt))
    }

    fn lr(&mut self, i: &Insn, size: Size, _: Value, _: Order) -> Result<Value, ()> {
        Ok(self.reserve(i, size))
    }

    fn sc(&mut self, i: &Insn, size: Size, _: Value, v: Value, _: Order) -> Result<Value, ()> {
        Ok(self.store_reserved(i, size, v))
    }

    fn csr(&mut self, i: &Insn, op: CsrOp, num: u16, src: Value, _: bool, write: bool) -> Result<Value, ()> {
        match direct(num, op, write) {
            Some(way) => Ok(self.access_csr(i, way, op, src, write)),
            None => Err(()),
        }
    }

    fn cbo(&mut self, i: &Insn, op: Cbo, _: Value) -> Result<(), ()> {
        if op != Cbo::Zero {
            return Err(());
        }
        self.clear_block(i);
        Ok(())
    }

    // What follows is the runtime's: `Effects::runtime` says so, and it is never lifted.

    fn cas(&mut self, _: &Insn, _: Size, _: Value, _: Value, _: Value, _: Order) -> Result<Value, ()> {
        Err(())
    }

    fn cas_pair(
        &mut self,
        _: &Insn,
        _: Value,
        _: (Value, Value),
        _: (Value, Value),
        _: Order,
    ) -> Result<(Value, Value), ()> {
        Err(())
    }

    fn sys(&mut self, _: &Insn, _: Sys, _: Value, _: Value) -> Step<Self> {
        Ok(Flow::Sync)
    }

    fn trap(&mut self, _: &Insn, _: Cause, _: Value) {}

    fn trap_if(&mut self, _: &Insn, _: Value, _: Cause, _: Value) -> Result<(), ()> {
        Err(())
    }

    fn illegal(&mut self, _: &Insn) {}
}
