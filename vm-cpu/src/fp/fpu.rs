//! Operations on the host's FPU: operands unboxed, the instruction, and what [`facts`] says must be done
//! about its result. `None` is for the soft path, which may repeat what the host has raised already.

use std::hint::cold_path;

use super::facts::{self, Host};
use super::flag;
use super::host::{Cpu, Mode, Scalar};
use super::soft::format::{Double, Single, is_nan};
use crate::isa::emit::{Fmt, Fp, Int, Rm};

/// Does any operation that [`facts::host`] has; what it raises gathers in the thread's MXCSR, apart from
/// what goes to `flags`. Rounds by `rm` where the instruction carries a mode, else to nearest.
#[inline(always)]
pub fn run(op: Fp, fmt: Fmt, rm: Rm, cpu: Cpu, abc: [u64; 3], flags: &mut u8) -> Option<u64> {
    match fmt {
        Fmt::S => run_in::<Single>(op, fmt, rm, cpu, abc, flags),
        Fmt::D => run_in::<Double>(op, fmt, rm, cpu, abc, flags),
        Fmt::H => None,
    }
}

/// Does an [arithmetic](facts::arithmetic) operation in the MXCSR of `mode`.
#[inline(always)]
pub fn arithmetic(op: Fp, fmt: Fmt, cpu: Cpu, mode: Mode<'_>, abc: [u64; 3]) -> Option<u64> {
    match fmt {
        Fmt::S => canonical::<Single>(op, fmt, arithmetic_in::<Single>(op, cpu, mode, abc)?),
        Fmt::D => canonical::<Double>(op, fmt, arithmetic_in::<Double>(op, cpu, mode, abc)?),
        Fmt::H => None,
    }
}

#[inline(always)]
fn run_in<F: Scalar>(op: Fp, fmt: Fmt, rm: Rm, cpu: Cpu, [a, b, c]: [u64; 3], flags: &mut u8) -> Option<u64> {
    let (x, y) = (F::unbox(a), F::unbox(b));
    let bits = match op {
        Fp::Eq => return Some(F::eq(x, y) & 1),
        Fp::Lt => return Some(F::lt(x, y)),
        Fp::Le => return Some(F::le(x, y)),
        Fp::Ltq => return Some(F::ltq(x, y)),
        Fp::Leq => return Some(F::leq(x, y)),
        Fp::ToInt(int) if facts::host(op, fmt) == Host::UpToLimit && x > facts::limit(int, fmt) => {
            return None;
        }
        Fp::ToInt(int) => return to_int::<F>(int, rm, cpu, x, flags),
        Fp::ToIntMod => return to_int::<F>(Int::W, Rm::Rtz, cpu, x, flags),
        Fp::FromInt(int) => from_int::<F>(int, a),
        Fp::FromFmt(Fmt::S) => convert::<Single, F>(a),
        Fp::FromFmt(Fmt::D) => convert::<Double, F>(a),
        Fp::Round => F::round(cpu.sse41?, rm, x),
        Fp::RoundNx => F::round_nx(cpu.sse41?, rm, x),
        _ => arithmetic_in::<F>(op, cpu, Mode::Sticky, [a, b, c])?,
    };
    canonical::<F>(op, fmt, bits)
}

#[inline(always)]
fn arithmetic_in<F: Scalar>(op: Fp, cpu: Cpu, mode: Mode<'_>, [a, b, c]: [u64; 3]) -> Option<u64> {
    let (x, y, z) = (F::unbox(a), F::unbox(b), F::unbox(c));
    Some(match op {
        Fp::Add => F::add(mode, x, y),
        Fp::Sub => F::sub(mode, x, y),
        Fp::Mul => F::mul(mode, x, y),
        Fp::Div => F::div(mode, x, y),
        Fp::Sqrt => F::sqrt(mode, x),
        Fp::Madd => F::madd(cpu.fma?, mode, x, y, z),
        Fp::Msub => F::msub(cpu.fma?, mode, x, y, z),
        Fp::Nmsub => F::nmsub(cpu.fma?, mode, x, y, z),
        Fp::Nmadd => F::nmadd(cpu.fma?, mode, x, y, z),
        _ => return None,
    })
}

/// The image of an FP result.
#[inline(always)]
fn canonical<F: Scalar>(op: Fp, fmt: Fmt, bits: u64) -> Option<u64> {
    if !is_nan::<F>(bits) {
        return Some(F::boxed(bits));
    }
    cold_path();
    (facts::host(op, fmt) != Host::UnlessNan).then_some(F::boxed(F::NAN))
}

/// Of an operand in the range of `int` or, if it is signed, of any.
#[inline(always)]
fn to_int<F: Scalar>(int: Int, rm: Rm, cpu: Cpu, x: u64, flags: &mut u8) -> Option<u64> {
    // Down and up go in two steps. The first is silent, as what it loses is inexact only if the second
    // finds the value in range.
    let integral = if matches!(rm, Rm::Rdn | Rm::Rup) { F::round(cpu.sse41?, rm, x) } else { x };
    let image = match int {
        Int::W => i64::from(to_i32::<F>(rm, integral)?),
        Int::Wu => i64::from(to_i64::<F>(rm, integral)? as i32),
        Int::L | Int::Lu => to_i64::<F>(rm, integral)?,
    };
    if integral != x {
        *flags |= flag::NX;
    }
    Some(image as u64)
}

/// `None` for the integer indefinite.
#[inline(always)]
fn to_i32<F: Scalar>(rm: Rm, x: u64) -> Option<i32> {
    let n = if rm == Rm::Rne { F::to_i32(x) } else { F::trunc_i32(x) };
    (n != i32::MIN).then_some(n)
}

/// `None` for the integer indefinite.
#[inline(always)]
fn to_i64<F: Scalar>(rm: Rm, x: u64) -> Option<i64> {
    let n = if rm == Rm::Rne { F::to_i64(x) } else { F::trunc_i64(x) };
    (n != i64::MIN).then_some(n)
}

/// The host converts signed integers only. A greater one is halved, its last bit kept for the rounding
/// (which is far above it), and the result doubled, which is exact.
#[inline(always)]
fn from_int<F: Scalar>(int: Int, image: u64) -> u64 {
    match int {
        Int::W => F::from_i32(image as i32),
        Int::Wu => F::from_i64(i64::from(image as u32)),
        Int::Lu if image >> 63 != 0 => {
            let half = F::from_i64((image >> 1 | image & 1) as i64);
            F::add(Mode::Sticky, half, half)
        }
        Int::L | Int::Lu => F::from_i64(image as i64),
    }
}

/// Between binary32 and binary64.
#[inline(always)]
fn convert<From: Scalar, To: Scalar>(image: u64) -> u64 {
    From::convert(From::unbox(image)) & To::mask()
}
