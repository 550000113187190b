//! The meaning of each instruction, written once over [`Emit`].
//!
//! Functions here are `#[inline(always)]`: an engine calls them in the arm of one row with constant
//! arguments, and what is left is that instruction alone. Helpers shared by the groups are below.

#![allow(missing_docs, reason = "a meaning is documented by its rows in the encoding table")]

pub mod atomic;
pub mod bits;
pub mod float;
pub mod int;
pub mod jump;
pub mod mem;
pub mod system;

use super::emit::{Bin, Emit, Flow, Insn, Step};

/// Writes `v` to rd and goes on.
#[inline(always)]
fn to_rd<E: Emit>(e: &mut E, i: &Insn, v: E::X) -> Step<E> {
    e.set_x(i.rd, v);
    Ok(Flow::Next)
}

/// `rs1 + imm`.
#[inline(always)]
fn address<E: Emit>(e: &mut E, i: &Insn) -> E::X {
    let (base, offset) = (e.x(i.rs1), e.imm(i64::from(i.imm)));
    e.bin(Bin::Add, base, offset)
}
