//! Floating point by integer arithmetic: one text for binary16, binary32 and binary64.
//!
//! ```text
//!  image ─unbox─► bits ─unpack─► Value ─arith/convert─► Finite (exact, or jammed) ─round─► bits ─boxed─► image
//! ```
//!
//! Invariant: a `Finite` that is not exact has its lowest bit set ("jammed", rounding to odd), and has
//! at least two bits more than any format keeps, so that rounding it once is rounding the exact value.

use crate::isa::emit::{Fmt, Fp, Rm};

mod arith;
mod compare;
mod convert;
pub(super) mod format;
mod round;

use format::{Double, Format, Half, Single};

/// Does `op` in format `fmt`; the contract of [`super::apply`].
///
/// All operations exist in all formats, so `fmt` = H goes beyond Zfhmin: what is generic costs nothing
/// and a small format tests it best.
#[inline]
pub fn apply(op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64, flags: &mut u8) -> u64 {
    match fmt {
        Fmt::H => apply_in::<Half>(op, rm, a, b, c, flags),
        Fmt::S => apply_in::<Single>(op, rm, a, b, c, flags),
        Fmt::D => apply_in::<Double>(op, rm, a, b, c, flags),
    }
}

/// The register image of the smallest positive normal number.
pub(super) fn min_normal(fmt: Fmt) -> u64 {
    match fmt {
        Fmt::H => Half::boxed(Half::LEADING),
        Fmt::S => Single::boxed(Single::LEADING),
        Fmt::D => Double::LEADING,
    }
}

#[inline]
fn apply_in<F: Format>(op: Fp, rm: Rm, a: u64, b: u64, c: u64, flags: &mut u8) -> u64 {
    let (x, y) = (F::unbox(a), F::unbox(b));
    let bits = match op {
        Fp::Add => arith::add::<F>(x, y, rm, flags),
        Fp::Sub => arith::add::<F>(x, y ^ F::SIGN, rm, flags),
        Fp::Mul => arith::mul::<F>(x, y, rm, flags),
        Fp::Div => arith::div::<F>(x, y, rm, flags),
        Fp::Sqrt => arith::sqrt::<F>(x, rm, flags),
        Fp::Madd => arith::fma::<F>(x, y, F::unbox(c), rm, flags),
        Fp::Msub => arith::fma::<F>(x, y, F::unbox(c) ^ F::SIGN, rm, flags),
        Fp::Nmsub => arith::fma::<F>(x ^ F::SIGN, y, F::unbox(c), rm, flags),
        Fp::Nmadd => arith::fma::<F>(x ^ F::SIGN, y, F::unbox(c) ^ F::SIGN, rm, flags),
        Fp::Sgnj => x & !F::SIGN | y & F::SIGN,
        Fp::Sgnjn => x & !F::SIGN | !y & F::SIGN,
        Fp::Sgnjx => x ^ y & F::SIGN,
        Fp::Min => compare::extreme::<F>(x, y, false, flags),
        Fp::Max => compare::extreme::<F>(x, y, true, flags),
        Fp::Minm => compare::extreme_or_nan::<F>(x, y, false, flags),
        Fp::Maxm => compare::extreme_or_nan::<F>(x, y, true, flags),
        Fp::FromInt(int) => convert::from_int::<F>(int, a, rm, flags),
        Fp::FromFmt(Fmt::H) => convert::from_format::<Half, F>(a, rm, flags),
        Fp::FromFmt(Fmt::S) => convert::from_format::<Single, F>(a, rm, flags),
        Fp::FromFmt(Fmt::D) => convert::from_format::<Double, F>(a, rm, flags),
        Fp::Round => convert::to_integral::<F>(x, rm, flags).0,
        Fp::RoundNx => convert::to_integral_inexact::<F>(x, rm, flags),
        // The rest have integer results, which are not boxed.
        Fp::Eq => return u64::from(compare::eq::<F>(x, y, flags)),
        Fp::Lt => return u64::from(compare::lt::<F>(x, y, true, flags)),
        Fp::Le => return u64::from(compare::le::<F>(x, y, true, flags)),
        Fp::Ltq => return u64::from(compare::lt::<F>(x, y, false, flags)),
        Fp::Leq => return u64::from(compare::le::<F>(x, y, false, flags)),
        Fp::Class => return compare::class::<F>(x),
        Fp::ToInt(int) => return convert::to_int::<F>(int, x, rm, flags),
        Fp::ToIntMod => return convert::to_int_mod::<F>(x, flags),
    };
    F::boxed(bits)
}
