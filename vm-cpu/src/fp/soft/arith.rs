//! Sum, product, quotient, square root and fused multiply-add.

use super::format::{Finite, Format, Value, is_signalling, unpack};
use super::round::{round, shift_jam};
use crate::fp::flag;
use crate::isa::emit::Rm;

/// ± `sig` × 2^(`exp` − 126), with bit 126 of `sig` set: room for a whole product below it and for a
/// carry above.
#[derive(Clone, Copy)]
struct Wide {
    neg: bool,
    exp: i32,
    sig: u128,
}

impl Wide {
    fn from(x: Finite) -> Wide {
        Wide { neg: x.neg, exp: x.exp, sig: u128::from(x.sig) << 63 }
    }

    /// Exact: two significands of at most 53 bits leave zeros enough to shift out.
    fn product(x: Finite, y: Finite) -> Wide {
        let sig = u128::from(x.sig) * u128::from(y.sig);
        let carry = (sig >> 127) as u32;
        Wide { neg: x.neg != y.neg, exp: x.exp + y.exp + carry as i32, sig: sig >> carry }
    }

    /// `None` is an exact zero.
    fn sum(self, other: Wide) -> Option<Finite> {
        let (big, small) =
            if (self.exp, self.sig) >= (other.exp, other.sig) { (self, other) } else { (other, self) };
        let aligned = shift_jam(small.sig, big.exp.abs_diff(small.exp));
        let sig = if big.neg == small.neg { big.sig + aligned } else { big.sig - aligned };
        (sig != 0).then(|| Wide { sig, ..big }.narrow())
    }

    /// To 64 bits, jammed; here the leading bit may be anywhere.
    fn narrow(self) -> Finite {
        let shift = self.sig.leading_zeros();
        let sig = shift_jam(self.sig << shift, 64) as u64;
        Finite { neg: self.neg, exp: self.exp + 1 - shift as i32, sig }
    }
}

fn invalid<F: Format>(flags: &mut u8) -> u64 {
    *flags |= flag::NV;
    F::NAN
}

/// The result where an operand is a NaN.
fn nan<F: Format>(operands: &[u64], flags: &mut u8) -> u64 {
    if operands.iter().any(|&x| is_signalling::<F>(x)) {
        *flags |= flag::NV;
    }
    F::NAN
}

fn signed<F: Format>(neg: bool, magnitude: u64) -> u64 {
    if neg { magnitude | F::SIGN } else { magnitude }
}

/// The sign of a sum that is exactly zero, of operands with these signs.
fn zero_sum<F: Format>(x: bool, y: bool, rm: Rm) -> u64 {
    signed::<F>(if x == y { x } else { rm == Rm::Rdn }, 0)
}

/// `a + b`.
pub fn add<F: Format>(a: u64, b: u64, rm: Rm, flags: &mut u8) -> u64 {
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Value::Nan, _) | (_, Value::Nan) => nan::<F>(&[a, b], flags),
        (Value::Inf(x), Value::Inf(y)) if x != y => invalid::<F>(flags),
        (Value::Inf(_), _) => a,
        (_, Value::Inf(_)) => b,
        (Value::Zero(x), Value::Zero(y)) => zero_sum::<F>(x, y, rm),
        (_, Value::Zero(_)) => a,
        (Value::Zero(_), _) => b,
        (Value::Finite(x), Value::Finite(y)) => match Wide::from(x).sum(Wide::from(y)) {
            Some(sum) => round::<F>(sum, rm, flags),
            None => zero_sum::<F>(x.neg, y.neg, rm),
        },
    }
}

/// `a × b`.
pub fn mul<F: Format>(a: u64, b: u64, rm: Rm, flags: &mut u8) -> u64 {
    let neg = (a ^ b) & F::SIGN != 0;
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Value::Nan, _) | (_, Value::Nan) => nan::<F>(&[a, b], flags),
        (Value::Inf(_), Value::Zero(_)) | (Value::Zero(_), Value::Inf(_)) => invalid::<F>(flags),
        (Value::Inf(_), _) | (_, Value::Inf(_)) => signed::<F>(neg, F::INF),
        (Value::Zero(_), _) | (_, Value::Zero(_)) => signed::<F>(neg, 0),
        (Value::Finite(x), Value::Finite(y)) => round::<F>(Wide::product(x, y).narrow(), rm, flags),
    }
}

/// `a ÷ b`.
pub fn div<F: Format>(a: u64, b: u64, rm: Rm, flags: &mut u8) -> u64 {
    let neg = (a ^ b) & F::SIGN != 0;
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Value::Nan, _) | (_, Value::Nan) => nan::<F>(&[a, b], flags),
        (Value::Inf(_), Value::Inf(_)) | (Value::Zero(_), Value::Zero(_)) => invalid::<F>(flags),
        (Value::Inf(_), _) => signed::<F>(neg, F::INF),
        (Value::Zero(_), _) | (_, Value::Inf(_)) => signed::<F>(neg, 0),
        (Value::Finite(_), Value::Zero(_)) => {
            *flags |= flag::DZ;
            signed::<F>(neg, F::INF)
        }
        (Value::Finite(x), Value::Finite(y)) => round::<F>(quotient(neg, x, y), rm, flags),
    }
}

fn quotient(neg: bool, x: Finite, y: Finite) -> Finite {
    let (dividend, divisor) = (u128::from(x.sig) << 63, u128::from(y.sig));
    // Between 2^62 and 2^64: at least 62 bits, and the remainder is jammed in below.
    let whole = (dividend / divisor) as u64;
    let jam = u64::from(u128::from(whole) * divisor != dividend);
    let mut quotient = Finite::new(neg, whole, x.exp - y.exp - 63);
    quotient.sig |= jam;
    quotient
}

/// `√a`.
pub fn sqrt<F: Format>(a: u64, rm: Rm, flags: &mut u8) -> u64 {
    match unpack::<F>(a) {
        Value::Nan => nan::<F>(&[a], flags),
        Value::Zero(_) | Value::Inf(false) => a,
        Value::Inf(true) => invalid::<F>(flags),
        Value::Finite(x) if x.neg => invalid::<F>(flags),
        Value::Finite(x) => round::<F>(root(x), rm, flags),
    }
}

fn root(x: Finite) -> Finite {
    // The root has half the exponent, so the square must have an even one: 1 ≤ square / 2^126 < 4.
    let odd = x.exp.rem_euclid(2);
    let square = u128::from(x.sig) << (63 + odd);
    let whole = square.isqrt();
    let jam = u128::from(whole * whole != square);
    Finite { neg: false, exp: (x.exp - odd) / 2, sig: (whole | jam) as u64 }
}

/// `a × b + c`, rounded once.
pub fn fma<F: Format>(a: u64, b: u64, c: u64, rm: Rm, flags: &mut u8) -> u64 {
    let neg = (a ^ b) & F::SIGN != 0;
    let (x, y, z) = (unpack::<F>(a), unpack::<F>(b), unpack::<F>(c));
    match (x, y, z) {
        // Invalid even if the addend is a quiet NaN (unprivileged manual, 20.6).
        (Value::Inf(_), Value::Zero(_), _) | (Value::Zero(_), Value::Inf(_), _) => invalid::<F>(flags),
        (Value::Nan, ..) | (_, Value::Nan, _) | (.., Value::Nan) => nan::<F>(&[a, b, c], flags),
        (Value::Inf(_), _, Value::Inf(z)) | (_, Value::Inf(_), Value::Inf(z)) if z != neg => {
            invalid::<F>(flags)
        }
        (Value::Inf(_), ..) | (_, Value::Inf(_), _) => signed::<F>(neg, F::INF),
        (.., Value::Inf(_)) => c,
        (Value::Zero(_), _, Value::Zero(z)) | (_, Value::Zero(_), Value::Zero(z)) => {
            zero_sum::<F>(neg, z, rm)
        }
        (Value::Zero(_), ..) | (_, Value::Zero(_), _) => c,
        (Value::Finite(x), Value::Finite(y), Value::Zero(_)) => {
            round::<F>(Wide::product(x, y).narrow(), rm, flags)
        }
        (Value::Finite(x), Value::Finite(y), Value::Finite(z)) => {
            match Wide::product(x, y).sum(Wide::from(z)) {
                Some(sum) => round::<F>(sum, rm, flags),
                None => zero_sum::<F>(neg, z.neg, rm),
            }
        }
    }
}
