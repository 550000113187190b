//! The interchange formats of IEEE 754 as RISC-V registers hold them, and what their bits mean.

use std::hint::cold_path;

/// Parameters of a binary format. Bits of a number are held in the low [`Format::WIDTH`] bits of a `u64`.
pub trait Format {
    /// Width in bits.
    const WIDTH: u32;
    /// Width of the fraction field.
    const FRAC: u32;

    /// The sign bit.
    const SIGN: u64 = 1 << (Self::WIDTH - 1);
    /// The leading bit that normal numbers leave out; as a number, the smallest positive normal.
    const LEADING: u64 = 1 << Self::FRAC;
    /// Fraction field.
    const FRACTION: u64 = Self::LEADING - 1;
    /// Positive infinity; also the exponent field.
    const INF: u64 = Self::SIGN - Self::LEADING;
    /// The canonical NaN: positive, quiet, no payload.
    const NAN: u64 = Self::INF | Self::QUIET;
    /// The fraction bit that makes a NaN quiet.
    const QUIET: u64 = Self::LEADING >> 1;
    /// Exponents of the smallest and greatest normal numbers, 1 ≤ significand < 2.
    const EMIN: i32 = 1 - Self::EMAX;
    /// See [`Format::EMIN`].
    const EMAX: i32 = (1 << (Self::WIDTH - Self::FRAC - 2)) - 1;

    /// The number in a register image; a badly boxed one is the canonical NaN.
    #[inline(always)]
    fn unbox(image: u64) -> u64 {
        let number = image & Self::mask();
        if image == Self::boxed(number) {
            return number;
        }
        cold_path();
        Self::NAN
    }

    /// The register image of a number: all ones above it.
    #[inline(always)]
    fn boxed(bits: u64) -> u64 {
        bits | !Self::mask()
    }

    /// The bits of a number.
    #[inline(always)]
    fn mask() -> u64 {
        Self::SIGN | (Self::SIGN - 1)
    }
}

/// binary16.
pub struct Half;
/// binary32.
pub struct Single;
/// binary64.
pub struct Double;

impl Format for Half {
    const WIDTH: u32 = 16;
    const FRAC: u32 = 10;
}

impl Format for Single {
    const WIDTH: u32 = 32;
    const FRAC: u32 = 23;
}

impl Format for Double {
    const WIDTH: u32 = 64;
    const FRAC: u32 = 52;
}

/// A number taken apart.
#[derive(Clone, Copy)]
pub enum Value {
    /// Zero and infinity; `true` is negative.
    Zero(bool),
    /// See [`Value::Zero`].
    Inf(bool),
    /// Any other number.
    Finite(Finite),
    /// Any NaN; which one no longer matters once its signal is heard.
    Nan,
}

/// A number neither zero nor infinite: ± `sig` × 2^(`exp` − 63), with bit 63 of `sig` set.
#[derive(Clone, Copy)]
pub struct Finite {
    /// Whether it is negative.
    pub neg: bool,
    /// Exponent of the leading bit.
    pub exp: i32,
    /// Significand, leading bit at 63.
    pub sig: u64,
}

impl Finite {
    /// ± `sig` × 2^`scale`, for any `sig` but 0.
    #[inline]
    pub fn new(neg: bool, sig: u64, scale: i32) -> Finite {
        let shift = sig.leading_zeros();
        Finite { neg, exp: scale + 63 - shift as i32, sig: sig << shift }
    }
}

/// Whether `bits` are a NaN of either kind.
#[inline(always)]
pub fn is_nan<F: Format>(bits: u64) -> bool {
    bits & !F::SIGN > F::INF
}

/// Whether `bits` are a signalling NaN.
#[inline(always)]
pub fn is_signalling<F: Format>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

/// Takes `bits` apart.
#[inline]
pub fn unpack<F: Format>(bits: u64) -> Value {
    let neg = bits & F::SIGN != 0;
    let fraction = bits & F::FRACTION;
    let field = ((bits & F::INF) >> F::FRAC) as i32;
    match bits & !F::SIGN {
        0 => Value::Zero(neg),
        magnitude if magnitude == F::INF => Value::Inf(neg),
        magnitude if magnitude > F::INF => Value::Nan,
        _ if field == 0 => Value::Finite(Finite::new(neg, fraction, F::EMIN - F::FRAC as i32)),
        _ => Value::Finite(Finite::new(neg, F::LEADING | fraction, F::EMIN + field - 1 - F::FRAC as i32)),
    }
}
