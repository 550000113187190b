//! A and Zacas.

use super::super::emit::{Amo, Emit, Insn, Order, Size, Step};
use super::to_rd;

#[inline(always)]
fn order(i: &Insn) -> Order {
    Order { aq: i.full >> 26 & 1 == 1, rl: i.full >> 25 & 1 == 1 }
}

/// The one atomic operation that stores nothing: with `rl` all before it comes first, stores too, and the hosts'
/// loads know no such order. (`sc` and the others are ordered both ways wherever they store.)
#[inline(always)]
pub fn lr<E: Emit>(e: &mut E, i: &Insn, size: Size) -> Step<E> {
    const RW: u8 = 3;
    let (addr, order) = (e.x(i.rs1), order(i));
    if order.rl {
        e.fence(RW, RW);
    }
    let v = e.lr(i, size, addr, order)?;
    to_rd(e, i, v)
}

#[inline(always)]
pub fn sc<E: Emit>(e: &mut E, i: &Insn, size: Size) -> Step<E> {
    let (addr, v) = (e.x(i.rs1), e.x(i.rs2));
    let failed = e.sc(i, size, addr, v, order(i))?;
    to_rd(e, i, failed)
}

#[inline(always)]
pub fn amo<E: Emit>(e: &mut E, i: &Insn, size: Size, op: Amo) -> Step<E> {
    let (addr, v) = (e.x(i.rs1), e.x(i.rs2));
    let old = e.amo(i, size, op, addr, v, order(i))?;
    to_rd(e, i, old)
}

#[inline(always)]
pub fn cas<E: Emit>(e: &mut E, i: &Insn, size: Size) -> Step<E> {
    let (addr, expect, new) = (e.x(i.rs1), e.x(i.rd), e.x(i.rs2));
    let old = e.cas(i, size, addr, expect, new, order(i))?;
    to_rd(e, i, old)
}

/// Even-odd register pairs; the pair of x0 reads 0, and a write to it vanishes as a whole.
#[inline(always)]
pub fn cas_pair<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let addr = e.x(i.rs1);
    let (expect, new) = (pair(e, i.rd), pair(e, i.rs2));
    let (low, high) = e.cas_pair(i, addr, expect, new, order(i))?;
    if i.rd != 0 {
        e.set_x(i.rd | 1, high);
    }
    to_rd(e, i, low)
}

#[inline(always)]
fn pair<E: Emit>(e: &mut E, r: u8) -> (E::X, E::X) {
    if r == 0 { (e.imm(0), e.imm(0)) } else { (e.x(r), e.x(r | 1)) }
}
