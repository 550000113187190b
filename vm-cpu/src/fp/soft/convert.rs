//! Conversions: to and from integers, between formats, and to integral values.

use super::format::{Finite, Format, Value, is_signalling, unpack};
use super::round::{round, shift_round};
use crate::fp::flag;
use crate::isa::emit::{Int, Rm};

/// Least and greatest value of an integer type.
fn range(int: Int) -> (i128, i128) {
    match int {
        Int::W => (i32::MIN.into(), i32::MAX.into()),
        Int::Wu => (0, u32::MAX.into()),
        Int::L => (i64::MIN.into(), i64::MAX.into()),
        Int::Lu => (0, u64::MAX.into()),
    }
}

/// The register image of a value in the range of `int`: 32-bit ones are sign-extended, unsigned too.
fn image(int: Int, value: i128) -> u64 {
    match int {
        Int::W | Int::Wu => value as i32 as u64,
        Int::L | Int::Lu => value as u64,
    }
}

/// To an integer; out of range saturates, a NaN gives the greatest.
pub fn to_int<F: Format>(int: Int, bits: u64, rm: Rm, flags: &mut u8) -> u64 {
    let (least, greatest) = range(int);
    let (value, inexact) = match unpack::<F>(bits) {
        Value::Zero(_) => return 0,
        Value::Nan | Value::Inf(false) => (i128::MAX, false),
        Value::Inf(true) => (i128::MIN, false),
        Value::Finite(x) => integer(x, rm),
    };
    if value < least || value > greatest {
        *flags |= flag::NV;
    } else if inexact {
        *flags |= flag::NX;
    }
    image(int, value.clamp(least, greatest))
}

/// `x` rounded to an integer, and whether that is inexact. Beyond 65 bits only its size is right.
fn integer(x: Finite, rm: Rm) -> (i128, bool) {
    let (magnitude, inexact) = match 63 - x.exp {
        n @ 1.. => {
            let (whole, inexact) = shift_round(x.sig, n as u32, x.neg, rm);
            (i128::from(whole), inexact)
        }
        n => (i128::from(x.sig) << (-n).min(1), false),
    };
    (if x.neg { -magnitude } else { magnitude }, inexact)
}

/// `fcvtmod.w.d`: truncated, modulo 2^32; raises what `fcvt.w.d` raises.
pub fn to_int_mod<F: Format>(bits: u64, flags: &mut u8) -> u64 {
    to_int::<F>(Int::W, bits, Rm::Rtz, flags);
    let Value::Finite(x) = unpack::<F>(bits) else { return 0 };
    let magnitude = match 63 - x.exp {
        n @ 0.. => x.sig.checked_shr(n as u32),
        n => x.sig.checked_shl(n.unsigned_abs()),
    };
    let low = magnitude.unwrap_or(0) as i32;
    (if x.neg { low.wrapping_neg() } else { low }) as u64
}

/// From the integer in a register image.
pub fn from_int<F: Format>(int: Int, image: u64, rm: Rm, flags: &mut u8) -> u64 {
    let (neg, magnitude) = match int {
        Int::W => ((image as i32) < 0, u64::from((image as i32).unsigned_abs())),
        Int::Wu => (false, u64::from(image as u32)),
        Int::L => ((image as i64) < 0, (image as i64).unsigned_abs()),
        Int::Lu => (false, image),
    };
    if magnitude == 0 { 0 } else { round::<F>(Finite::new(neg, magnitude, 0), rm, flags) }
}

/// From another format.
pub fn from_format<From: Format, F: Format>(image: u64, rm: Rm, flags: &mut u8) -> u64 {
    let bits = From::unbox(image);
    let sign = if bits & From::SIGN == 0 { 0 } else { F::SIGN };
    match unpack::<From>(bits) {
        Value::Zero(_) => sign,
        Value::Inf(_) => sign | F::INF,
        Value::Nan => nan::<From, F>(bits, flags),
        Value::Finite(x) => round::<F>(x, rm, flags),
    }
}

/// `fround`: to an integral value, and whether that is inexact (which raises nothing here).
pub fn to_integral<F: Format>(bits: u64, rm: Rm, flags: &mut u8) -> (u64, bool) {
    let x = match unpack::<F>(bits) {
        Value::Nan => return (nan::<F, F>(bits, flags), false),
        Value::Finite(x) if x.exp < F::FRAC as i32 => x,
        _ => return (bits, false),
    };
    let (whole, inexact) = shift_round(x.sig, (63 - x.exp) as u32, x.neg, rm);
    let magnitude = if whole == 0 { 0 } else { round::<F>(Finite::new(false, whole, 0), Rm::Rtz, flags) };
    (bits & F::SIGN | magnitude, inexact)
}

/// `froundnx`: the same, raising `NX`.
pub fn to_integral_inexact<F: Format>(bits: u64, rm: Rm, flags: &mut u8) -> u64 {
    let (integral, inexact) = to_integral::<F>(bits, rm, flags);
    if inexact {
        *flags |= flag::NX;
    }
    integral
}

fn nan<From: Format, F: Format>(bits: u64, flags: &mut u8) -> u64 {
    if is_signalling::<From>(bits) {
        *flags |= flag::NV;
    }
    F::NAN
}
