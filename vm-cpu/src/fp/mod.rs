//! Floating point, exact to the bit: results, `fflags`, all five rounding modes, NaN boxing and
//! canonical NaNs of F, D, Zfa and Zfhmin (unprivileged manual, chapters 20, 21, 22 and 27).
//!
//! [`soft`] computes with integers only; it is the definition, and what the tests compare with.
//!
//! Operands and FP results are raw 64-bit register images (see [`Fp`]).

use crate::isa::emit::{Fmt, Fp, Rm};

mod constants;
pub mod soft;

pub use constants::fli_value;

/// Bits of `fflags` (unprivileged manual, 20.2).
pub mod flag {
    /// Inexact.
    pub const NX: u8 = 1 << 0;
    /// Underflow: tiny after rounding, and inexact.
    pub const UF: u8 = 1 << 1;
    /// Overflow.
    pub const OF: u8 = 1 << 2;
    /// Division of a finite number by zero.
    pub const DZ: u8 = 1 << 3;
    /// Invalid operation.
    pub const NV: u8 = 1 << 4;
}

/// Does `op` in format `fmt`, rounding by `rm` (never [`Rm::Dyn`]); ors what it raises into `flags`.
///
/// Unused operands are ignored. With literal `op` and `fmt` this folds to the one operation.
#[inline(always)]
pub fn apply(op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64, flags: &mut u8) -> u64 {
    soft::apply(op, fmt, rm, a, b, c, flags)
}
