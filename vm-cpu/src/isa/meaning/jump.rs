//! Control transfers, with and without the check of the target's alignment.

use super::super::emit::{Bin, Cmp, Emit, Flow, Insn, Step};
use super::address;
use crate::trap::Cause;

#[inline(always)]
fn link<E: Emit>(e: &mut E, i: &Insn) {
    if i.rd != 0 {
        let (pc, len) = (e.pc(i), e.imm(i64::from(i.len)));
        let next = e.bin(Bin::Add, pc, len);
        e.set_x(i.rd, next);
    }
}

#[inline(always)]
pub fn jal<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    link(e, i);
    Ok(Flow::Jump { off: i64::from(i.imm) })
}

/// The target, read before `rd` is written: they may be one register.
#[inline(always)]
fn target<E: Emit>(e: &mut E, i: &Insn) -> E::X {
    let (sum, even) = (address(e, i), e.imm(-2));
    e.bin(Bin::And, sum, even)
}

#[inline(always)]
pub fn jalr<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let target = target(e, i);
    link(e, i);
    Ok(Flow::JumpReg { target })
}

#[inline(always)]
pub fn branch<E: Emit>(e: &mut E, i: &Insn, op: Cmp) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.x(i.rs2));
    let cond = e.cmp(op, a, b);
    Ok(Flow::Branch { cond, off: i64::from(i.imm) })
}

/// Whether the target of a direct jump or branch lies between two words.
#[inline(always)]
fn off_word(i: &Insn) -> bool {
    i.imm & 2 != 0
}

#[inline(always)]
fn direct_target<E: Emit>(e: &mut E, i: &Insn) -> E::X {
    let (pc, off) = (e.pc(i), e.imm(i64::from(i.imm)));
    e.bin(Bin::Add, pc, off)
}

#[inline(always)]
pub fn jal_aligned<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    if off_word(i) {
        let target = direct_target(e, i);
        return Err(e.trap(i, Cause::InstructionMisaligned, target));
    }
    jal(e, i)
}

#[inline(always)]
pub fn jalr_aligned<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let (target, two) = (target(e, i), e.imm(2));
    let misaligned = e.bin(Bin::And, target, two);
    e.trap_if(i, misaligned, Cause::InstructionMisaligned, target)?;
    link(e, i);
    Ok(Flow::JumpReg { target })
}

#[inline(always)]
pub fn branch_aligned<E: Emit>(e: &mut E, i: &Insn, op: Cmp) -> Step<E> {
    if off_word(i) {
        let (a, b) = (e.x(i.rs1), e.x(i.rs2));
        let (taken, target) = (e.cmp(op, a, b), direct_target(e, i));
        e.trap_if(i, taken, Cause::InstructionMisaligned, target)?;
        return Ok(Flow::Next);
    }
    branch(e, i, op)
}
