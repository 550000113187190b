//! Fences, CSR instructions, and everything whose effect lies in the privileged state.

use super::super::emit::{CsrOp, Emit, Flow, Insn, Step, Sys};

#[inline(always)]
pub fn fence<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    e.fence((i.full >> 24 & 0xf) as u8, (i.full >> 20 & 0xf) as u8);
    Ok(Flow::Next)
}

/// Orders all but stores before loads.
#[inline(always)]
pub fn fence_tso<E: Emit>(e: &mut E, _: &Insn) -> Step<E> {
    const R: u8 = 2;
    const W: u8 = 1;
    e.fence(R, R | W);
    e.fence(W, W);
    Ok(Flow::Next)
}

/// An instruction without operands.
#[inline(always)]
pub fn plain<E: Emit>(e: &mut E, i: &Insn, op: Sys) -> Step<E> {
    let none = e.imm(0);
    e.sys(i, op, none, none)
}

#[inline(always)]
pub fn operands<E: Emit>(e: &mut E, i: &Insn, op: Sys) -> Step<E> {
    let (a, b) = (e.x(i.rs1), e.x(i.rs2));
    e.sys(i, op, a, b)
}

#[inline(always)]
pub fn csr_reg<E: Emit>(e: &mut E, i: &Insn, op: CsrOp) -> Step<E> {
    let src = e.x(i.rs1);
    csr(e, i, op, src)
}

/// The field of rs1 is the source itself.
#[inline(always)]
pub fn csr_imm<E: Emit>(e: &mut E, i: &Insn, op: CsrOp) -> Step<E> {
    let src = e.imm(i64::from(i.rs1));
    csr(e, i, op, src)
}

/// `csrrw` to x0 does not read, `csrrs` and `csrrc` from x0 (or 0) do not write: neither has then the
/// side effects or the privilege demands of the other half.
#[inline(always)]
fn csr<E: Emit>(e: &mut E, i: &Insn, op: CsrOp, src: E::X) -> Step<E> {
    let num = i.imm as u16;
    let read = op != CsrOp::Write || i.rd != 0;
    let write = op == CsrOp::Write || i.rs1 != 0;
    let old = e.csr(i, op, num, src, read, write)?;
    if read {
        e.set_x(i.rd, old);
    }
    Ok(if write && !is_inert(num) { Flow::Sync } else { Flow::Next })
}

/// CSRs whose value nothing but a later, explicit operation looks at: after a write the code that follows
/// runs as before. `fcsr` and its parts, then trap handling's scratch, pc, cause, value and vector.
pub fn is_inert(num: u16) -> bool {
    matches!(num, 0x001..=0x003 | 0x105 | 0x140..=0x143 | 0x305 | 0x340..=0x343)
}
