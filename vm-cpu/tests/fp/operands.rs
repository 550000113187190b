//! Operands that hurt: specials, subnormals, halfway cases, sums that cancel, products that underflow.
//!
//! The stream is the same in every run, so a failure can be repeated.

use vm_cpu::fp::soft;
use vm_cpu::isa::emit::{Fmt, Fp, Rm};

/// All modes that reach an operation.
pub const MODES: [Rm; 5] = [Rm::Rne, Rm::Rtz, Rm::Rdn, Rm::Rup, Rm::Rmm];

/// Width and fraction width of a format.
const fn shape(fmt: Fmt) -> (u32, u32) {
    match fmt {
        Fmt::H => (16, 10),
        Fmt::S => (32, 23),
        Fmt::D => (64, 52),
    }
}

/// The register image of a number in `fmt`.
pub fn boxed(fmt: Fmt, bits: u64) -> u64 {
    match shape(fmt).0 {
        64 => bits,
        width => bits | u64::MAX << width,
    }
}

/// A stream of operands.
pub struct Operands {
    state: u64,
}

impl Operands {
    /// Streams of different seeds differ.
    pub fn new(seed: u64) -> Operands {
        Operands { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// 64 random bits (xorshift64*).
    pub fn bits(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0..n
    pub fn below(&mut self, n: u64) -> u64 {
        (self.bits() >> 32) % n
    }

    /// Three register images, often related so that the operation is decided by the last bits.
    pub fn triple(&mut self, fmt: Fmt) -> [u64; 3] {
        let a = self.number(fmt);
        let b = self.partner(fmt, a);
        let c = match self.below(3) {
            0 => self.number(fmt),
            1 => self.partner(fmt, b),
            _ => self.near_product(fmt, a, b),
        };
        [a, b, c].map(|bits| self.image(fmt, bits))
    }

    /// One integer register image: any width, near powers of two, near halfway of a significand.
    pub fn integer(&mut self) -> u64 {
        let raw = self.bits();
        let value = match self.below(4) {
            0 => raw >> self.below(64),
            1 => (1u64 << self.below(64)).wrapping_add(self.below(5)).wrapping_sub(2),
            2 => self.fraction(63) << self.below(12),
            _ => raw,
        };
        if self.below(2) == 0 { value } else { value.wrapping_neg() }
    }

    fn image(&mut self, fmt: Fmt, bits: u64) -> u64 {
        match self.below(64) {
            // Badly boxed: reads as the canonical NaN.
            0 => bits | self.bits() << shape(fmt).0.min(63),
            _ => boxed(fmt, bits),
        }
    }

    /// Zero, the ends of the subnormals and of the normals, 1, infinity, and NaNs of both kinds.
    fn special(&mut self, fmt: Fmt) -> u64 {
        let (width, frac) = shape(fmt);
        let (leading, sign) = (1u64 << frac, 1u64 << (width - 1));
        let (inf, one) = (sign - leading, (sign >> 1) - leading);
        let quiet = inf | leading >> 1;
        let all = [0, 1, leading - 1, leading, one, inf - 1, inf, inf | 1, quiet - 1, quiet, quiet | 1];
        all[self.below(all.len() as u64) as usize] | self.bits() & sign
    }

    fn number(&mut self, fmt: Fmt) -> u64 {
        if self.below(6) == 0 {
            return self.special(fmt);
        }
        let (width, frac) = shape(fmt);
        let fields = 1u64 << (width - frac - 1);
        let bias = fields / 2 - 1;
        let field = match self.below(8) {
            0 => self.below(3),
            1 => fields - 1 - self.below(3),
            2 | 3 => bias + self.below(8) - 4,
            // Where integers end.
            4 => (bias + self.below(70)).min(fields - 1),
            // Products and quotients of these fall near the least normal numbers.
            5 => (bias / 2 + self.below(8)).saturating_sub(4),
            _ => self.below(fields),
        };
        let sign = self.bits() & 1 << (width - 1);
        sign | field << frac | self.fraction(frac)
    }

    /// A number whose sum, product or quotient with `a` is delicate.
    fn partner(&mut self, fmt: Fmt, a: u64) -> u64 {
        let (width, frac) = shape(fmt);
        let fields = 1u64 << (width - frac - 1);
        let bias = fields / 2 - 1;
        let field = (a >> frac) % fields;
        let sign = self.bits() & 1 << (width - 1);
        let field = match self.below(6) {
            // Nearby: cancels, or one lies just below the other's last place.
            0 | 1 => (field + self.below(2 * u64::from(frac) + 8)).saturating_sub(u64::from(frac) + 4),
            // The product is near the least normal number.
            2 => (bias + self.below(6)).saturating_sub(field + 2),
            // So is the quotient.
            3 => (field + bias).saturating_sub(self.below(4)),
            4 => return (a ^ sign).wrapping_add(self.below(5)).wrapping_sub(2) & (u64::MAX >> (64 - width)),
            _ => return self.number(fmt),
        };
        sign | field.min(fields - 1) << frac | self.fraction(frac)
    }

    /// ±(a × b), off by up to two units in the last place.
    fn near_product(&mut self, fmt: Fmt, a: u64, b: u64) -> u64 {
        let rm = MODES[self.below(5) as usize];
        let (a, b) = (boxed(fmt, a), boxed(fmt, b));
        let product = soft::apply(Fp::Mul, fmt, rm, a, b, 0, &mut 0);
        let (width, _) = shape(fmt);
        let sign = self.bits() & 1 << (width - 1);
        (product ^ sign).wrapping_add(self.below(5)).wrapping_sub(2) & (u64::MAX >> (64 - width))
    }

    /// `n` bits: none, all, few, runs, or random.
    fn fraction(&mut self, n: u32) -> u64 {
        let mask = (1u64 << n) - 1;
        let (i, j) = (self.below(u64::from(n)), self.below(u64::from(n)));
        let bits = match self.below(8) {
            0 => 0,
            1 => mask,
            2 => 1 << i,
            3 => 1 << i | 1 << j,
            4 => mask << i,
            5 => mask >> i,
            6 => (mask >> i) ^ (mask >> j),
            _ => self.bits(),
        };
        bits & mask
    }
}
