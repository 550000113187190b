//! Integer arithmetic on values.

use super::Writer;
use super::asm::{Alu, Cond, RAX, RCX, RDX, Reg, Shift, Unary};
use super::value::{Operand, Value, condition};
use crate::isa::emit::{Bin, Cmp, Mem, Size, Un};

impl Writer<'_> {
    pub(super) fn unary(&mut self, op: Un, a: Value) -> Value {
        if let Value::Imm(a) = a {
            return Value::Imm(op.eval(a as u64) as i64);
        }
        let from = self.host(a);
        let to = self.temporary();
        let mem = |size, signed| Mem { size, signed };
        match op {
            Un::Sext8 => self.hot.extend(mem(Size::B, true), to, from),
            Un::Sext16 => self.hot.extend(mem(Size::H, true), to, from),
            Un::Sext32 => self.hot.extend(mem(Size::W, true), to, from),
            Un::Zext8 => self.hot.extend(mem(Size::B, false), to, from),
            Un::Zext16 => self.hot.extend(mem(Size::H, false), to, from),
            Un::Zext32 => self.hot.mov_word(to, from),
            Un::Clz64 => self.leading_zeros(true, to, from),
            Un::Clz32 => self.leading_zeros(false, to, from),
            Un::Ctz64 => self.trailing_zeros(true, to, from),
            Un::Ctz32 => self.trailing_zeros(false, to, from),
            Un::Cpop64 => self.hot.popcnt(true, to, from),
            Un::Cpop32 => self.hot.popcnt(false, to, from),
            Un::Rev8 => {
                self.hot.mov(to, from);
                self.hot.bswap(to);
            }
            Un::OrcB => self.or_combine(to, from),
            Un::Not => {
                self.hot.mov(to, from);
                self.hot.unary(Unary::Not, to);
            }
        }
        Value::Host(to)
    }

    /// The number of the highest one counts from the other end; without one it is twice the width less one.
    fn leading_zeros(&mut self, wide: bool, to: Reg, from: Reg) {
        let width = if wide { 64 } else { 32 };
        self.hot.set(RCX, width * 2 - 1);
        self.hot.scan(true, wide, to, from);
        self.hot.cmov(Cond::Equal, to, RCX);
        self.hot.alu_value(Alu::Xor, to, width as i32 - 1);
    }

    fn trailing_zeros(&mut self, wide: bool, to: Reg, from: Reg) {
        self.hot.set(RCX, if wide { 64 } else { 32 });
        self.hot.scan(false, wide, to, from);
        self.hot.cmov(Cond::Equal, to, RCX);
    }

    /// A byte's bits gather in its top bit, which then spreads.
    fn or_combine(&mut self, to: Reg, from: Reg) {
        self.hot.set(RCX, 0x7f7f_7f7f_7f7f_7f7f);
        self.hot.mov(to, from);
        self.hot.alu(Alu::And, to, RCX);
        self.hot.alu(Alu::Add, to, RCX);
        self.hot.alu(Alu::Or, to, from);
        self.hot.shift(Shift::Shr, to, 7);
        self.hot.set(RCX, 0x0101_0101_0101_0101);
        self.hot.alu(Alu::And, to, RCX);
        self.hot.imul_value(to, to, 0xff);
    }

    pub(super) fn binary(&mut self, op: Bin, a: Value, b: Value) -> Value {
        match (op, a, b) {
            (_, Value::Imm(a), Value::Imm(b)) => return Value::Imm(op.eval(a as u64, b as u64) as i64),
            (Bin::Add, Value::Page(page), Value::Imm(value))
            | (Bin::Add, Value::Imm(value), Value::Page(page)) => {
                return Value::Page(page.wrapping_add(value));
            }
            (Bin::Add | Bin::Sub | Bin::Or | Bin::Xor, a, Value::Imm(0)) => return a,
            (Bin::Add, Value::Host(base), Value::Imm(plus)) => {
                if let Ok(plus) = i32::try_from(plus) {
                    return Value::Sum(base, plus);
                }
            }
            (Bin::Add, Value::Sum(base, before), Value::Imm(plus)) => {
                if let Some(plus) = i32::try_from(plus).ok().and_then(|plus| before.checked_add(plus)) {
                    return Value::Sum(base, plus);
                }
            }
            (Bin::Add | Bin::Or | Bin::Xor, Value::Imm(0), b) => return b,
            _ => {}
        }
        match op {
            Bin::Add => self.add(a, b),
            Bin::Sub => self.by_alu(Alu::Sub, a, b),
            Bin::And => self.by_alu(Alu::And, a, b),
            Bin::Or => self.by_alu(Alu::Or, a, b),
            Bin::Xor if b == Value::Imm(-1) => self.unary(Un::Not, a),
            Bin::Xor => self.by_alu(Alu::Xor, a, b),
            Bin::Sll => self.shift(Shift::Shl, a, b),
            Bin::Srl => self.shift(Shift::Shr, a, b),
            Bin::Sra => self.shift(Shift::Sar, a, b),
            Bin::Rol => self.shift(Shift::Rol, a, b),
            Bin::Ror => self.shift(Shift::Ror, a, b),
            Bin::Mul => {
                let b = self.host(b);
                let to = self.copy(a);
                self.hot.imul(to, b);
                Value::Host(to)
            }
            Bin::Mulh => self.high_product(Unary::Imul, a, b),
            Bin::Mulhu => self.high_product(Unary::Mul, a, b),
            Bin::Mulhsu => self.mixed_product(a, b),
            Bin::Div | Bin::Divu | Bin::Rem | Bin::Remu => self.divide(op, a, b),
            Bin::Min => self.extreme(Cond::Less, a, b),
            Bin::Max => self.extreme(Cond::Greater, a, b),
            Bin::Minu => self.extreme(Cond::Below, a, b),
            Bin::Maxu => self.extreme(Cond::Above, a, b),
        }
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        // A constant stands second.
        let (a, b) = if let Value::Imm(_) = a { (b, a) } else { (a, b) };
        let (a, b) = (self.host(a), self.operand(b));
        let to = self.temporary();
        match b {
            Operand::Imm(b) => self.hot.lea(to, a, b),
            Operand::Host(b) => self.hot.lea_index(to, a, b, 0),
        }
        Value::Host(to)
    }

    fn by_alu(&mut self, op: Alu, a: Value, b: Value) -> Value {
        let b = self.operand(b);
        let to = self.copy(a);
        match b {
            Operand::Imm(b) => self.hot.alu_value(op, to, b),
            Operand::Host(b) => self.hot.alu(op, to, b),
        }
        Value::Host(to)
    }

    fn shift(&mut self, op: Shift, a: Value, b: Value) -> Value {
        let to = match b {
            Value::Imm(count) => {
                let to = self.copy(a);
                if count & 63 != 0 {
                    self.hot.shift(op, to, count as u8 & 63);
                }
                to
            }
            _ => {
                let to = self.copy(a);
                self.put(RCX, b);
                self.hot.shift_by_cl(op, to);
                to
            }
        };
        Value::Host(to)
    }

    fn high_product(&mut self, op: Unary, a: Value, b: Value) -> Value {
        let b = self.host(b);
        let to = self.temporary();
        self.put(RAX, a);
        self.hot.unary(op, b);
        self.hot.mov(to, RDX);
        Value::Host(to)
    }

    /// The unsigned product's, less b where a is negative.
    fn mixed_product(&mut self, a: Value, b: Value) -> Value {
        let (a, b) = (self.host(a), self.host(b));
        let product = self.high_product(Unary::Mul, Value::Host(a), Value::Host(b));
        let to = self.host(product);
        self.hot.mov(RAX, a);
        self.hot.shift(Shift::Sar, RAX, 63);
        self.hot.alu(Alu::And, RAX, b);
        self.hot.alu(Alu::Sub, to, RAX);
        Value::Host(to)
    }

    /// RISC-V division on the host's, which must see neither a zero divisor nor an overflow.
    fn divide(&mut self, op: Bin, a: Value, b: Value) -> Value {
        let signed = matches!(op, Bin::Div | Bin::Rem);
        let quotient = matches!(op, Bin::Div | Bin::Divu);
        let to = self.temporary();
        self.put(RCX, b);
        self.put(RAX, a);
        self.hot.test(RCX, RCX);
        let by_zero = self.hot.skip_if(Cond::Equal);
        let by_minus = signed.then(|| {
            self.hot.alu_value(Alu::Cmp, RCX, -1);
            self.hot.skip_if(Cond::Equal)
        });
        if signed {
            self.hot.cqo();
            self.hot.unary(Unary::Idiv, RCX);
        } else {
            self.hot.set(RDX, 0);
            self.hot.unary(Unary::Div, RCX);
        }
        self.hot.mov(to, if quotient { RAX } else { RDX });
        let done = self.hot.skip();
        self.hot.land(by_zero);
        if quotient {
            self.hot.set(to, -1);
        } else {
            self.hot.mov(to, RAX);
        }
        if let Some(by_minus) = by_minus {
            let zero_done = self.hot.skip();
            self.hot.land(by_minus);
            if quotient {
                self.hot.mov(to, RAX);
                self.hot.unary(Unary::Neg, to);
            } else {
                self.hot.set(to, 0);
            }
            self.hot.land(zero_done);
        }
        self.hot.land(done);
        Value::Host(to)
    }

    fn extreme(&mut self, keep: Cond, a: Value, b: Value) -> Value {
        let (a, b) = (self.host(a), self.host(b));
        let to = self.copy(Value::Host(b));
        self.hot.alu(Alu::Cmp, a, b);
        self.hot.cmov(keep, to, a);
        Value::Host(to)
    }

    pub(super) fn comparison(&mut self, op: Cmp, a: Value, b: Value) -> Value {
        if let (Value::Imm(a), Value::Imm(b)) = (a, b) {
            return Value::Imm(i64::from(op.eval(a as u64, b as u64)));
        }
        let (a, b) = (self.host(a), self.operand(b));
        Value::Compared(op, a, b)
    }

    pub(super) fn choose(&mut self, c: Value, a: Value, b: Value) -> Value {
        let c = match c {
            Value::Imm(c) => return if c != 0 { a } else { b },
            Value::Compared(op, x, y) => {
                let a = self.host(a);
                let to = self.copy(b);
                self.compare(x, y);
                self.hot.cmov(condition(op), to, a);
                return Value::Host(to);
            }
            _ => self.host(c),
        };
        let a = self.host(a);
        let to = self.copy(b);
        self.hot.test(c, c);
        self.hot.cmov(Cond::NotEqual, to, a);
        Value::Host(to)
    }
}
