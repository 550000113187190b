//! Floating point, exact to the bit: results, `fflags`, all five rounding modes, NaN boxing and
//! canonical NaNs of F, D, Zfa and Zfhmin (unprivileged manual, chapters 20, 21, 22 and 27).
//!
//! Two engines give the same answers. [`soft`] computes with integers only; it is the definition, the
//! way of other hosts, and what the tests compare with. The FPU of an x86-64 host does what [`facts`]
//! says it does exactly.
//!
//! ```text
//!  apply ───────────► fpu ──► host instruction in an MXCSR of its own ──┐
//!  HostFp::apply ───► fpu ──► host instruction, flags gather in MXCSR ──┼─► canonical NaN, boxing
//!         └─────────► soft, where facts say so ─────────────────────────┘
//! ```
//!
//! Operands and FP results are raw 64-bit register images (see [`Fp`]).

use crate::isa::emit::{Fmt, Fp, Rm};

mod constants;
pub mod facts;
#[cfg(target_arch = "x86_64")]
mod fpu;
#[cfg(target_arch = "x86_64")]
mod host;
#[cfg(target_arch = "x86_64")]
mod session;
#[cfg(not(target_arch = "x86_64"))]
#[path = "session_soft.rs"]
mod session;
pub mod soft;

pub use constants::fli_value;
pub use session::HostFp;

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
/// Unused operands are ignored. With literal `op` and `fmt` this folds to the one operation. It needs no
/// session; within one, [`HostFp::apply`] is several times as fast.
#[inline(always)]
pub fn apply(op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64, flags: &mut u8) -> u64 {
    session::alone(op, fmt, rm, [a, b, c], flags)
}
