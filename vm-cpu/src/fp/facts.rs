//! Which operations an x86-64 host does exactly as RISC-V wants them, result and flags, and how.
//!
//! One statement for all who use it: [`super::apply`], [`super::HostFp`], code generators. What it says
//! is what runs, so the comparison of host and soft path tests it.
//!
//! Common ground, tested too: both detect tininess after rounding and raise underflow only with inexact,
//! also in a fused multiply-add; both leave every flag sticky. A NaN result of the host keeps a payload,
//! where RISC-V wants the canonical NaN, so each FP result that is a NaN is replaced.

use crate::isa::emit::{Fmt, Fp, Int, Rm};

/// How the host does an operation in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its FPU: result and flags are right for all operands.
    Exact,
    /// By its FPU, except that the soft path must do it again if the result is a NaN. (Infinity × 0 plus
    /// a quiet NaN is invalid in RISC-V alone.)
    UnlessNan,
    /// By its FPU, except that the soft path must do it again if the result is the "integer indefinite",
    /// only the sign bit set: it is right or out of range. The flags are right in both cases.
    /// (Down and up are [`Feature::Sse41`]'s silent rounding, then truncation, and `NX` if the first
    /// changed the operand.)
    UnlessIndefinite,
    /// By its FPU if the operand, as an unsigned integer of its format's width, is not above [`limit`]:
    /// a number from +0 to the greatest below 2^32 or 2^63, converted as a signed 64-bit integer.
    UpToLimit,
    /// Better by integer instructions: the soft path, which raises flags for NaNs only.
    Integer,
    /// Not at all: the soft path.
    Soft,
}

/// What decides the rounding of an operation on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nothing: it is exact, or its instruction carries the mode.
    Free,
    /// MXCSR.RC.
    Register,
    /// The host has no such mode: the soft path.
    Lacking,
}

/// What an operation needs beyond the first x86-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// FMA3.
    Fma,
    /// SSE4.1.
    Sse41,
}

/// How the host does `op` in `fmt`, given the [`needs`] of it and a mode that is not
/// [`Control::Lacking`].
#[inline(always)]
pub const fn host(op: Fp, fmt: Fmt) -> Host {
    if matches!(fmt, Fmt::H) || matches!(op, Fp::FromFmt(Fmt::H)) {
        return Host::Soft;
    }
    match op {
        Fp::FromFmt(Fmt::S) if matches!(fmt, Fmt::S) => Host::Soft,
        Fp::FromFmt(Fmt::D) if matches!(fmt, Fmt::D) => Host::Soft,
        Fp::Add | Fp::Sub | Fp::Mul | Fp::Div | Fp::Sqrt => Host::Exact,
        Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd => Host::UnlessNan,
        Fp::Eq | Fp::Lt | Fp::Le | Fp::Ltq | Fp::Leq => Host::Exact,
        Fp::ToInt(Int::W | Int::L) | Fp::ToIntMod => Host::UnlessIndefinite,
        Fp::ToInt(Int::Wu | Int::Lu) => Host::UpToLimit,
        Fp::FromInt(_) | Fp::FromFmt(_) | Fp::Round | Fp::RoundNx => Host::Exact,
        Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx | Fp::Class => Host::Integer,
        Fp::Min | Fp::Max | Fp::Minm | Fp::Maxm => Host::Integer,
    }
}

/// What decides the rounding of `op` by `rm`.
#[inline(always)]
pub const fn control(op: Fp, fmt: Fmt, rm: Rm) -> Control {
    match (op, fmt, rm) {
        (Fp::Eq | Fp::Lt | Fp::Le | Fp::Ltq | Fp::Leq | Fp::ToIntMod, ..) => Control::Free,
        (Fp::FromInt(Int::W | Int::Wu) | Fp::FromFmt(_), Fmt::D, _) => Control::Free,
        (.., Rm::Rmm | Rm::Dyn) => Control::Lacking,
        (Fp::Round | Fp::RoundNx, ..) | (Fp::ToInt(_), _, Rm::Rtz | Rm::Rdn | Rm::Rup) => Control::Free,
        _ => Control::Register,
    }
}

/// Sum, difference, product, quotient, root and the fused ones: worth the host's FPU even where MXCSR
/// must be changed for the one operation.
#[inline(always)]
pub const fn arithmetic(op: Fp) -> bool {
    matches!(
        op,
        Fp::Add | Fp::Sub | Fp::Mul | Fp::Div | Fp::Sqrt | Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd
    )
}

/// What `op` rounding by `rm` needs.
#[inline(always)]
pub const fn needs(op: Fp, rm: Rm) -> Option<Feature> {
    match op {
        Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd => Some(Feature::Fma),
        Fp::Round | Fp::RoundNx => Some(Feature::Sse41),
        Fp::ToInt(_) if matches!(rm, Rm::Rdn | Rm::Rup) => Some(Feature::Sse41),
        _ => None,
    }
}

/// The greatest operand that [`Host::UpToLimit`] admits, as bits of `fmt`.
#[inline(always)]
pub const fn limit(int: Int, fmt: Fmt) -> u64 {
    let two_to_32 = matches!(int, Int::W | Int::Wu);
    match (fmt, two_to_32) {
        (Fmt::D, true) => (u32::MAX as f64).to_bits(),
        (Fmt::D, false) => (i64::MAX as f64).to_bits() - 1,
        (Fmt::H | Fmt::S, true) => (u32::MAX as f32).to_bits() as u64 - 1,
        (Fmt::H | Fmt::S, false) => (i64::MAX as f32).to_bits() as u64 - 1,
    }
}
