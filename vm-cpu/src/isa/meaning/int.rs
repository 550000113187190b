//! Integer arithmetic of RV64I and M.

use super::super::emit::{Bin, Cmp, Emit, Insn, Step, Un};
use super::to_rd;

#[inline(always)]
pub fn lui<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let v = e.imm(i64::from(i.imm));
    to_rd(e, i, v)
}

#[inline(always)]
pub fn auipc<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let (pc, offset) = (e.pc(i), e.imm(i64::from(i.imm)));
    let v = e.bin(Bin::Add, pc, offset);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn reg<E: Emit>(e: &mut E, i: &Insn, op: Bin) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.x(i.rs2));
    let v = e.bin(op, a, b);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn imm<E: Emit>(e: &mut E, i: &Insn, op: Bin) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    let v = e.bin(op, a, b);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn reg_w<E: Emit>(e: &mut E, i: &Insn, op: Bin) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.x(i.rs2));
    let b = match op {
        Bin::Sll | Bin::Srl | Bin::Sra => {
            let mask = e.imm(31);
            e.bin(Bin::And, b, mask)
        }
        _ => b,
    };
    let v = word(e, op, a, b);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn imm_w<E: Emit>(e: &mut E, i: &Insn, op: Bin) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    let v = word(e, op, a, b);
    to_rd(e, i, v)
}

/// `op` on the low words, sign-extended. The low word of a sum, product or left shift does not depend on
/// the high words of its operands; the others need them extended first.
#[inline(always)]
fn word<E: Emit>(e: &mut E, op: Bin, a: E::X, b: E::X) -> E::X {
    let v = match op {
        Bin::Srl => {
            let a = e.un(Un::Zext32, a);
            e.bin(op, a, b)
        }
        Bin::Sra => {
            let a = e.un(Un::Sext32, a);
            return e.bin(op, a, b);
        }
        Bin::Div | Bin::Rem => {
            let (a, b) = (e.un(Un::Sext32, a), e.un(Un::Sext32, b));
            e.bin(op, a, b)
        }
        Bin::Divu | Bin::Remu => {
            let (a, b) = (e.un(Un::Zext32, a), e.un(Un::Zext32, b));
            e.bin(op, a, b)
        }
        _ => e.bin(op, a, b),
    };
    e.un(Un::Sext32, v)
}

#[inline(always)]
pub fn cmp_reg<E: Emit>(e: &mut E, i: &Insn, op: Cmp) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.x(i.rs2));
    let v = e.cmp(op, a, b);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn cmp_imm<E: Emit>(e: &mut E, i: &Insn, op: Cmp) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    let v = e.cmp(op, a, b);
    to_rd(e, i, v)
}

#[inline(always)]
pub fn unary<E: Emit>(e: &mut E, i: &Insn, op: Un) -> Step<E> {
    let a = e.x(i.rs1);
    let v = e.un(op, a);
    to_rd(e, i, v)
}

/// A may-be-operation that no extension has redefined.
#[inline(always)]
pub fn zero<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let v = e.imm(0);
    to_rd(e, i, v)
}
