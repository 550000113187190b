//! Operations on the host's FPU: operands unboxed, the instruction of [`host`](super::host), and what
//! [`facts`] says must be done about its result.

use super::facts::{self, Host};
use super::host::{Fma, Mode, Scalar, Sse41};
use super::soft::{self, Double, Single, is_nan};
use crate::isa::emit::{Fmt, Fp, Int, Rm};

/// Does `op` in `mode`, whose MXCSR rounds by `rm` if [`facts::control`] says that it matters.
///
/// What the instruction raises gathers in `mode`, what the soft path raises goes to `flags`.
#[inline(always)]
pub fn run(op: Fp, fmt: Fmt, rm: Rm, mode: &mut Mode<'_>, abc: [u64; 3], flags: &mut u8) -> u64 {
    let result = match fmt {
        Fmt::S => attempt::<Single>(op, fmt, rm, mode, abc),
        Fmt::D => attempt::<Double>(op, fmt, rm, mode, abc),
        Fmt::H => None,
    };
    match result {
        Some(image) => image,
        None => again(op, fmt, rm, abc, flags),
    }
}

/// Out of line: operands for which the host is not exact are rare.
#[cold]
#[inline(never)]
fn again(op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], flags: &mut u8) -> u64 {
    soft::apply(op, fmt, rm, a, b, c, flags)
}

/// `None` if it is for the soft path.
#[inline(always)]
fn attempt<F: Scalar>(op: Fp, fmt: Fmt, rm: Rm, mode: &mut Mode<'_>, abc: [u64; 3]) -> Option<u64> {
    let how = facts::host(op, fmt);
    if let (Host::UpToLimit, Fp::ToInt(int)) = (how, op)
        && F::unbox(abc[0]) > facts::limit(int, fmt)
    {
        return None;
    }
    match (instruction::<F>(op, rm, mode, abc)?, how) {
        (Raw::Fp(bits), Host::UnlessNan) if is_nan::<F>(bits) => None,
        (Raw::Fp(bits), _) if is_nan::<F>(bits) => Some(F::boxed(F::NAN)),
        (Raw::Fp(bits), _) => Some(F::boxed(bits)),
        (Raw::I32(i32::MIN), Host::UnlessIndefinite) => None,
        (Raw::I64(i64::MIN), Host::UnlessIndefinite) => None,
        (Raw::I32(n), _) => Some(n as u64),
        (Raw::I64(n), _) => Some(n as u64),
    }
}

/// What came out of an instruction.
enum Raw {
    /// Bits of the format.
    Fp(u64),
    I32(i32),
    I64(i64),
}

/// The bare instruction; `None` if there is none or this CPU lacks it.
#[inline(always)]
fn instruction<F: Scalar>(op: Fp, rm: Rm, mode: &mut Mode<'_>, [a, b, c]: [u64; 3]) -> Option<Raw> {
    let (x, y) = (F::unbox(a), F::unbox(b));
    Some(match op {
        Fp::Add => Raw::Fp(F::add(mode, x, y)),
        Fp::Sub => Raw::Fp(F::sub(mode, x, y)),
        Fp::Mul => Raw::Fp(F::mul(mode, x, y)),
        Fp::Div => Raw::Fp(F::div(mode, x, y)),
        Fp::Sqrt => Raw::Fp(F::sqrt(mode, x)),
        Fp::Madd => Raw::Fp(F::madd(Fma::detect()?, mode, x, y, F::unbox(c))),
        Fp::Msub => Raw::Fp(F::msub(Fma::detect()?, mode, x, y, F::unbox(c))),
        Fp::Nmsub => Raw::Fp(F::nmsub(Fma::detect()?, mode, x, y, F::unbox(c))),
        Fp::Nmadd => Raw::Fp(F::nmadd(Fma::detect()?, mode, x, y, F::unbox(c))),
        Fp::Eq => Raw::I64((F::eq(mode, x, y) & 1) as i64),
        Fp::Lt => Raw::I64(F::lt(mode, x, y).into()),
        Fp::Le => Raw::I64(F::le(mode, x, y).into()),
        Fp::Ltq => Raw::I64(F::ltq(mode, x, y).into()),
        Fp::Leq => Raw::I64(F::leq(mode, x, y).into()),
        Fp::ToInt(Int::W) if rm == Rm::Rtz => Raw::I32(F::trunc_i32(mode, x)),
        Fp::ToInt(Int::W) => Raw::I32(F::to_i32(mode, x)),
        Fp::ToInt(Int::Wu) if rm == Rm::Rtz => Raw::I32(F::trunc_i64(mode, x) as i32),
        Fp::ToInt(Int::Wu) => Raw::I32(F::to_i64(mode, x) as i32),
        Fp::ToInt(Int::L | Int::Lu) if rm == Rm::Rtz => Raw::I64(F::trunc_i64(mode, x)),
        Fp::ToInt(Int::L | Int::Lu) => Raw::I64(F::to_i64(mode, x)),
        Fp::ToIntMod => Raw::I32(F::trunc_i32(mode, x)),
        Fp::FromInt(Int::W) => Raw::Fp(F::from_i32(mode, a as i32)),
        Fp::FromInt(Int::Wu) => Raw::Fp(F::from_i64(mode, i64::from(a as u32))),
        Fp::FromInt(Int::L) => Raw::Fp(F::from_i64(mode, a as i64)),
        Fp::FromInt(Int::Lu) => Raw::Fp(from_u64::<F>(mode, a)),
        Fp::FromFmt(Fmt::S) => Raw::Fp(convert::<Single, F>(mode, a)),
        Fp::FromFmt(Fmt::D) => Raw::Fp(convert::<Double, F>(mode, a)),
        Fp::Round => Raw::Fp(F::round(Sse41::detect()?, mode, rm, x)),
        Fp::RoundNx => Raw::Fp(F::round_nx(Sse41::detect()?, mode, rm, x)),
        Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx | Fp::Class | Fp::FromFmt(Fmt::H) => return None,
        Fp::Min | Fp::Max | Fp::Minm | Fp::Maxm => return None,
    })
}

/// The host converts signed integers only. A greater one is halved, its last bit kept for the rounding
/// (which is far above it), and the result doubled, which is exact.
#[inline(always)]
fn from_u64<F: Scalar>(mode: &mut Mode<'_>, n: u64) -> u64 {
    if n >> 63 == 0 {
        return F::from_i64(mode, n as i64);
    }
    let half = F::from_i64(mode, (n >> 1 | n & 1) as i64);
    F::add(mode, half, half)
}

/// Between binary32 and binary64.
#[inline(always)]
fn convert<From: Scalar, To: Scalar>(mode: &mut Mode<'_>, image: u64) -> u64 {
    From::convert(mode, From::unbox(image)) & To::mask()
}
