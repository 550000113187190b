//! Rounding, the one place where precision is lost and `NX`, `UF` and `OF` arise.

use super::format::{Finite, Format};
use crate::fp::flag;
use crate::isa::emit::Rm;

/// Shifts right by `n` ≥ 1 bits and rounds by `rm`; also gives whether bits were lost.
#[inline]
pub fn shift_round(sig: u64, n: u32, neg: bool, rm: Rm) -> (u64, bool) {
    let (kept, lost) = match n {
        1..64 => (sig >> n, sig << (64 - n)),
        64 => (0, sig),
        // Less than half of what would be kept, and not nothing.
        _ => (0, u64::from(sig != 0)),
    };
    let half = 1 << 63;
    let up = match rm {
        Rm::Rne => lost > half || lost == half && kept & 1 == 1,
        Rm::Rmm => lost >= half,
        Rm::Rdn => neg && lost != 0,
        Rm::Rup => !neg && lost != 0,
        Rm::Rtz | Rm::Dyn => false,
    };
    (kept + u64::from(up), lost != 0)
}

/// Shifts right; a lost bit sets the lowest one left.
#[inline]
pub fn shift_jam(sig: u128, n: u32) -> u128 {
    match n {
        0 => sig,
        1..128 => sig >> n | u128::from(sig << (128 - n) != 0),
        _ => u128::from(sig != 0),
    }
}

/// The bits of `x` in format `F`.
#[inline]
pub fn round<F: Format>(x: Finite, rm: Rm, flags: &mut u8) -> u64 {
    let sign = if x.neg { F::SIGN } else { 0 };
    if x.exp < F::EMIN {
        return sign | subnormal::<F>(x, rm, flags);
    }
    if x.exp > F::EMAX {
        return sign | overflow::<F>(x.neg, rm, flags);
    }
    let (sig, inexact) = shift_round(x.sig, 63 - F::FRAC, x.neg, rm);
    // `sig` brings the leading bit along, which counts one into the exponent field; so does a carry.
    let bits = (((x.exp - F::EMIN) as u64) << F::FRAC) + sig;
    if bits >= F::INF {
        return sign | overflow::<F>(x.neg, rm, flags);
    }
    if inexact {
        *flags |= flag::NX;
    }
    sign | bits
}

/// Magnitude of a result below the normal numbers. It may round up to the least of these.
fn subnormal<F: Format>(x: Finite, rm: Rm, flags: &mut u8) -> u64 {
    let depth = F::EMIN.abs_diff(x.exp);
    let (bits, inexact) = shift_round(x.sig, 63 - F::FRAC + depth, x.neg, rm);
    if inexact {
        *flags |= flag::NX;
        // RISC-V detects tininess after rounding: what counts is where the result would be if the
        // exponent had no lower bound, and the significand full precision.
        let (unbounded, _) = shift_round(x.sig, 63 - F::FRAC, x.neg, rm);
        if depth > 1 || unbounded < F::LEADING << 1 {
            *flags |= flag::UF;
        }
    }
    bits
}

/// Magnitude of a result beyond the greatest number.
fn overflow<F: Format>(neg: bool, rm: Rm, flags: &mut u8) -> u64 {
    *flags |= flag::OF | flag::NX;
    match rm {
        Rm::Rne | Rm::Rmm => F::INF,
        Rm::Rdn if neg => F::INF,
        Rm::Rup if !neg => F::INF,
        _ => F::INF - 1,
    }
}
