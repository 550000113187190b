//! Comparisons, extremes and classification.

use std::hint::cold_path;

use super::format::{Format, is_nan, is_signalling};
use crate::fp::flag;

/// Raises `NV` for a NaN operand, quiet ones only if asked; gives whether there is one.
#[inline(always)]
fn unordered<F: Format>(a: u64, b: u64, quiet_too: bool, flags: &mut u8) -> bool {
    if !is_nan::<F>(a) && !is_nan::<F>(b) {
        return false;
    }
    cold_path();
    if quiet_too || is_signalling::<F>(a) || is_signalling::<F>(b) {
        *flags |= flag::NV;
    }
    true
}

/// Numbers in their order as integers, −0 below +0.
#[inline(always)]
fn rank<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & !F::SIGN) as i64;
    if bits & F::SIGN == 0 { magnitude } else { !magnitude }
}

#[inline(always)]
fn both_zero<F: Format>(a: u64, b: u64) -> bool {
    (a | b) & !F::SIGN == 0
}

/// `feq`.
#[inline]
pub fn eq<F: Format>(a: u64, b: u64, flags: &mut u8) -> bool {
    !unordered::<F>(a, b, false, flags) && (a == b || both_zero::<F>(a, b))
}

/// `flt`, or `fltq` if not `signalling`.
#[inline]
pub fn lt<F: Format>(a: u64, b: u64, signalling: bool, flags: &mut u8) -> bool {
    !unordered::<F>(a, b, signalling, flags) && rank::<F>(a) < rank::<F>(b) && !both_zero::<F>(a, b)
}

/// `fle`, or `fleq` if not `signalling`.
#[inline]
pub fn le<F: Format>(a: u64, b: u64, signalling: bool, flags: &mut u8) -> bool {
    !unordered::<F>(a, b, signalling, flags) && (rank::<F>(a) <= rank::<F>(b) || both_zero::<F>(a, b))
}

#[inline(always)]
fn ordered_extreme<F: Format>(a: u64, b: u64, greatest: bool) -> u64 {
    if (rank::<F>(a) < rank::<F>(b)) != greatest { a } else { b }
}

/// `fmin`, `fmax`: of a number and a NaN, the number.
#[inline]
pub fn extreme<F: Format>(a: u64, b: u64, greatest: bool, flags: &mut u8) -> u64 {
    if !unordered::<F>(a, b, false, flags) {
        return ordered_extreme::<F>(a, b, greatest);
    }
    match (is_nan::<F>(a), is_nan::<F>(b)) {
        (true, true) => F::NAN,
        (true, false) => b,
        _ => a,
    }
}

/// `fminm`, `fmaxm`: a NaN if either is.
#[inline]
pub fn extreme_or_nan<F: Format>(a: u64, b: u64, greatest: bool, flags: &mut u8) -> u64 {
    if unordered::<F>(a, b, false, flags) { F::NAN } else { ordered_extreme::<F>(a, b, greatest) }
}

/// `fclass`: one bit of ten.
#[inline]
pub fn class<F: Format>(bits: u64) -> u64 {
    let magnitude = bits & !F::SIGN;
    if magnitude > F::INF {
        return if bits & F::QUIET == 0 { 1 << 8 } else { 1 << 9 };
    }
    // Positive kinds from 4 up; the negative ones are their mirror image.
    let kind = match magnitude {
        0 => 0,
        m if m < F::LEADING => 1,
        m if m < F::INF => 2,
        _ => 3,
    };
    1 << if bits & F::SIGN == 0 { 4 + kind } else { 3 - kind }
}
