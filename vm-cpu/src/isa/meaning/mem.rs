//! Integer loads and stores, cache-block operations.

use super::super::emit::{Cbo, Emit, Flow, Insn, Mem, Step};
use super::{address, to_rd};

#[inline(always)]
pub fn load<E: Emit>(e: &mut E, i: &Insn, m: Mem) -> Step<E> {
    let addr = address(e, i);
    let v = e.load(i, m, addr)?;
    to_rd(e, i, v)
}

#[inline(always)]
pub fn store<E: Emit>(e: &mut E, i: &Insn, m: Mem) -> Step<E> {
    let (addr, v) = (address(e, i), e.x(i.rs2));
    e.store(i, m, addr, v)?;
    Ok(Flow::Next)
}

#[inline(always)]
pub fn cbo<E: Emit>(e: &mut E, i: &Insn, op: Cbo) -> Step<E> {
    let addr = e.x(i.rs1);
    e.cbo(i, op, addr)?;
    Ok(Flow::Next)
}
