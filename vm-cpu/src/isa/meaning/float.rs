//! F, D, Zfhmin and Zfa. Every instruction asks first whether the FP unit is on.

use super::super::emit::{Bin, Emit, Flow, Fmt, Fp, Insn, Int, Mem, Rm, Step, Un};
use super::{address, to_rd};
use crate::fp::fli_value;

/// The rounding mode of an instruction that has one; the decoder let 5 and 6 not pass.
#[inline(always)]
fn rm(i: &Insn) -> Rm {
    match i.full >> 12 & 7 {
        0 => Rm::Rne,
        1 => Rm::Rtz,
        2 => Rm::Rdn,
        3 => Rm::Rup,
        4 => Rm::Rmm,
        _ => Rm::Dyn,
    }
}

#[inline(always)]
fn width(fmt: Fmt) -> Mem {
    match fmt {
        Fmt::H => Mem::U16,
        Fmt::S => Mem::U32,
        Fmt::D => Mem::U64,
    }
}

/// The ones above a value of `fmt` in a 64-bit register.
#[inline(always)]
const fn box_of(fmt: Fmt) -> i64 {
    match fmt {
        Fmt::H => -1 << 16,
        Fmt::S => -1 << 32,
        Fmt::D => 0,
    }
}

/// NaN-boxes the low bits of `v`.
#[inline(always)]
fn boxed<E: Emit>(e: &mut E, fmt: Fmt, v: E::X) -> E::X {
    if fmt == Fmt::D {
        return v;
    }
    let ones = e.imm(box_of(fmt));
    e.bin(Bin::Or, v, ones)
}

#[inline(always)]
fn to_fd<E: Emit>(e: &mut E, i: &Insn, v: E::X) -> Step<E> {
    e.set_f(i.rd, v);
    Ok(Flow::Next)
}

#[inline(always)]
pub fn load<E: Emit>(e: &mut E, i: &Insn, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let addr = address(e, i);
    let v = e.load(i, width(fmt), addr)?;
    let v = boxed(e, fmt, v);
    to_fd(e, i, v)
}

#[inline(always)]
pub fn store<E: Emit>(e: &mut E, i: &Insn, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let (addr, v) = (address(e, i), e.f(i.rs2));
    e.store(i, width(fmt), addr, v)?;
    Ok(Flow::Next)
}

#[inline(always)]
pub fn fused<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let (a, b, c) = (e.f(i.rs1), e.f(i.rs2), e.f(i.rs3));
    let v = e.fp(i, op, fmt, rm(i), a, b, c)?;
    to_fd(e, i, v)
}

#[inline(always)]
pub fn binary_rm<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt) -> Step<E> {
    let v = two(e, i, op, fmt, rm(i))?;
    to_fd(e, i, v)
}

/// The result depends on no rounding mode.
#[inline(always)]
pub fn binary<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt) -> Step<E> {
    let v = two(e, i, op, fmt, Rm::Rne)?;
    to_fd(e, i, v)
}

#[inline(always)]
pub fn compare<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt) -> Step<E> {
    let v = two(e, i, op, fmt, Rm::Rne)?;
    to_rd(e, i, v)
}

#[inline(always)]
fn two<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt, rm: Rm) -> Result<E::X, E::Stop> {
    e.fp_on(i)?;
    let (a, b, none) = (e.f(i.rs1), e.f(i.rs2), e.imm(0));
    e.fp(i, op, fmt, rm, a, b, none)
}

#[inline(always)]
fn one<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt, rm: Rm) -> Result<E::X, E::Stop> {
    e.fp_on(i)?;
    let (a, none) = (e.f(i.rs1), e.imm(0));
    e.fp(i, op, fmt, rm, a, none, none)
}

#[inline(always)]
pub fn unary_rm<E: Emit>(e: &mut E, i: &Insn, op: Fp, fmt: Fmt) -> Step<E> {
    let v = one(e, i, op, fmt, rm(i))?;
    to_fd(e, i, v)
}

#[inline(always)]
pub fn class<E: Emit>(e: &mut E, i: &Insn, fmt: Fmt) -> Step<E> {
    let v = one(e, i, Fp::Class, fmt, Rm::Rne)?;
    to_rd(e, i, v)
}

#[inline(always)]
pub fn to_int<E: Emit>(e: &mut E, i: &Insn, int: Int, fmt: Fmt) -> Step<E> {
    let v = one(e, i, Fp::ToInt(int), fmt, rm(i))?;
    to_rd(e, i, v)
}

#[inline(always)]
pub fn to_int_mod<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    let v = one(e, i, Fp::ToIntMod, Fmt::D, Rm::Rtz)?;
    to_rd(e, i, v)
}

#[inline(always)]
pub fn from_int<E: Emit>(e: &mut E, i: &Insn, int: Int, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let (a, none) = (e.x(i.rs1), e.imm(0));
    let v = e.fp(i, Fp::FromInt(int), fmt, rm(i), a, none, none)?;
    to_fd(e, i, v)
}

/// The low bits of the register as they are, boxed well or not, sign-extended.
#[inline(always)]
pub fn move_to_x<E: Emit>(e: &mut E, i: &Insn, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let raw = e.f(i.rs1);
    let v = match fmt {
        Fmt::H => e.un(Un::Sext16, raw),
        Fmt::S => e.un(Un::Sext32, raw),
        Fmt::D => raw,
    };
    to_rd(e, i, v)
}

#[inline(always)]
pub fn move_from_x<E: Emit>(e: &mut E, i: &Insn, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let v = e.x(i.rs1);
    let v = boxed(e, fmt, v);
    to_fd(e, i, v)
}

#[inline(always)]
pub fn constant<E: Emit>(e: &mut E, i: &Insn, fmt: Fmt) -> Step<E> {
    e.fp_on(i)?;
    let v = e.imm(fli_value(fmt, i.rs1) as i64);
    to_fd(e, i, v)
}
