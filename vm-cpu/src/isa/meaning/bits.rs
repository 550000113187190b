//! Zba, Zbb, Zbs and Zicond.

use super::super::emit::{Bin, Emit, Insn, Step, Un};
use super::to_rd;

/// What Zbs does to one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOp {
    Clear,
    Set,
    Invert,
    Extract,
}

/// `(rs1 << by) + rs2`, with rs1 extended first.
#[inline(always)]
pub fn shift_add<E: Emit>(e: &mut E, i: &Insn, extend: Option<Un>, by: i64) -> Step<E> {
    let (mut a, b) = (e.x(i.rs1), e.x(i.rs2));
    if let Some(un) = extend {
        a = e.un(un, a);
    }
    if by != 0 {
        let by = e.imm(by);
        a = e.bin(Bin::Sll, a, by);
    }
    let v = e.bin(Bin::Add, a, b);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn slli_uw<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let (a, by) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    let a = e.un(Un::Zext32, a);
    let v = e.bin(Bin::Sll, a, by);
    to_rd(e, i, v)
}

/// `op` with the complement of rs2.
#[inline(always)]
pub fn with_not<E: Emit>(e: &mut E, i: &Insn, op: Bin) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.x(i.rs2));
    let b = e.un(Un::Not, b);
    let v = e.bin(op, a, b);
    to_rd(e, i, v)
}

/// Rotation of a word: `towards` is the shift in the direction of the rotation, `back` the other one.
#[inline(always)]
pub fn rotate_w<E: Emit>(e: &mut E, i: &Insn, towards: Bin, back: Bin) -> Step<E> {
    let (a, b, mask) = (e.x(i.rs1), e.x(i.rs2), e.imm(31));
    let by = e.bin(Bin::And, b, mask);
    let v = rotate_word(e, a, by, towards, back);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn rotate_right_w_imm<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let (a, by) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    let v = rotate_word(e, a, by, Bin::Srl, Bin::Sll);
    to_rd(e, i, v)
}

/// For `by` = 0 the way back is 32 bits, which leaves nothing below bit 32 either way.
#[inline(always)]
fn rotate_word<E: Emit>(e: &mut E, a: E::X, by: E::X, towards: Bin, back: Bin) -> E::X {
    let (a, width) = (e.un(Un::Zext32, a), e.imm(32));
    let rest = e.bin(Bin::Sub, width, by);
    let (moved, around) = (e.bin(towards, a, by), e.bin(back, a, rest));
    let v = e.bin(Bin::Or, moved, around);
    e.un(Un::Sext32, v)
}

#[inline(always)]
pub fn change_reg<E: Emit>(e: &mut E, i: &Insn, op: BitOp) -> Step<E> {
    let (a, at) = (e.x(i.rs1), e.x(i.rs2));
    let v = change(e, op, a, at);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn change_imm<E: Emit>(e: &mut E, i: &Insn, op: BitOp) -> Step<E> {
    let (a, at) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    let v = change(e, op, a, at);
    to_rd(e, i, v)
}

#[inline(always)]
fn change<E: Emit>(e: &mut E, op: BitOp, a: E::X, at: E::X) -> E::X {
    let one = e.imm(1);
    if op == BitOp::Extract {
        let v = e.bin(Bin::Srl, a, at);
        return e.bin(Bin::And, v, one);
    }
    let bit = e.bin(Bin::Sll, one, at);
    match op {
        BitOp::Clear => {
            let others = e.un(Un::Not, bit);
            e.bin(Bin::And, a, others)
        }
        BitOp::Set => e.bin(Bin::Or, a, bit),
        BitOp::Invert | BitOp::Extract => e.bin(Bin::Xor, a, bit),
    }
}

/// 0 if rs2 is 0, else rs1.
#[inline(always)]
pub fn czero_eqz<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let (a, c, zero) = (e.x(i.rs1), e.x(i.rs2), e.imm(0));
    let v = e.select(c, a, zero);
    to_rd(e, i, v)
}

/// 0 if rs2 is not 0, else rs1.
#[inline(always)]
pub fn czero_nez<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let (a, c, zero) = (e.x(i.rs1), e.x(i.rs2), e.imm(0));
    let v = e.select(c, zero, a);
    to_rd(e, i, v)
}
