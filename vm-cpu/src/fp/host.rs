//! The FPU of an x86-64 host: one instruction an operation, in inline assembly.
//!
//! Rust takes the floating-point environment for its default and its flags for nobody's, so guest
//! arithmetic is never a Rust float operation: the compiler could fold it, move it across a read of the
//! flags, or drop it for its unused result. Assembly without `pure` is neither dropped nor moved across
//! other such assembly.
//!
//! Invariant: the control bits of MXCSR are the default whenever Rust code runs. Another rounding mode
//! is in force only within one assembly block ([`Mode::Scoped`]); the flags alone may differ.
//!
//! ```text
//!  MXCSR  15 FZ │ 14:13 RC │ 12:7 masks │ 6 DAZ │ 5 PE  4 UE  3 OE  2 ZE  1 DE  0 IE
//!  fflags                                                        4 NV  3 DZ  2 OF  1 UF  0 NX
//! ```

#![allow(unsafe_code, reason = "guest arithmetic needs instructions whose flags and rounding are its own")]

use std::arch::asm;

use super::soft::format::{Double, Format, Single};
use crate::isa::emit::Rm;

/// All exceptions masked, rounding to nearest, subnormals kept, no flag raised.
const DEFAULT: u32 = 0x1f80;

/// In which MXCSR an instruction runs.
pub enum Mode<'a> {
    /// In the thread's, where its flags gather. Rounds to nearest; so only for [`Rm::Rne`], and for
    /// instructions that do not look at the mode.
    Sticky,
    /// In one of its own.
    Scoped(&'a mut Scope),
}

/// An MXCSR for one instruction; afterwards its flags.
#[repr(C)]
pub struct Scope {
    outside: u32,
    inside: u32,
}

impl Scope {
    /// Rounding by `rm`, which must not be [`Rm::Rmm`]: the host lacks that.
    #[inline(always)]
    pub fn new(rm: Rm) -> Scope {
        let rc = match rm {
            Rm::Rne | Rm::Rmm | Rm::Dyn => 0,
            Rm::Rdn => 1,
            Rm::Rup => 2,
            Rm::Rtz => 3,
        };
        Scope { outside: DEFAULT, inside: DEFAULT | rc << 13 }
    }

    /// What was raised, as `fflags`.
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        fflags(self.inside)
    }
}

/// The flags of an MXCSR as `fflags`: the same in the opposite order, without x86's own DE.
#[inline(always)]
fn fflags(mxcsr: u32) -> u8 {
    const TABLE: [u8; 64] = {
        let mut table = [0; 64];
        let mut i = 0;
        while i < table.len() {
            let reversed = (i as u8).reverse_bits() >> 2;
            table[i] = reversed & 0xf | (reversed >> 5) << 4;
            i += 1;
        }
        table
    };
    TABLE[(mxcsr % 64) as usize]
}

/// The MXCSR that a thread had.
#[derive(Debug)]
pub struct Saved {
    mxcsr: u32,
}

impl Saved {
    /// The MXCSR of this thread.
    pub fn new() -> Saved {
        Saved { mxcsr: read() }
    }

    /// Puts it back.
    pub fn restore(&self) {
        // SAFETY: what this thread ran with before; it was read from the register, so it holds no
        // reserved bit.
        unsafe { load(self.mxcsr) };
    }
}

/// What the thread's MXCSR has gathered, as `fflags`.
#[inline(always)]
pub fn raised() -> u8 {
    fflags(read())
}

/// Makes the thread's MXCSR the default, with no flag raised.
#[inline(always)]
pub fn reset() {
    // SAFETY: these are the control bits that Rust assumes, and it gives no meaning to the flags.
    unsafe { load(DEFAULT) };
}

#[inline(always)]
fn read() -> u32 {
    let mut value = 0u32;
    // SAFETY: stores four bytes to a live `u32` and changes nothing else.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack)) };
    value
}

/// # Safety
/// `value` has no reserved bit, and control bits under which this thread may run Rust code.
#[inline(always)]
unsafe fn load(value: u32) {
    // SAFETY: reads four bytes of a live `u32`; without a reserved bit it does not fault. The rest is the
    // caller's word.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack)) };
}

/// Runs one instruction, or a few, in the thread's MXCSR.
macro_rules! sticky {
    ([$($insn:tt),*], $($operands:tt)*) => {
        // SAFETY: what this file hands to the macro works on the operands named, the arithmetic flags and
        // the flags of MXCSR, and the options claim no more. What not every x86-64 has comes with proof
        // of the CPU (`Sse41`, `Fma`). All exceptions are masked, so nothing traps.
        unsafe { asm!(concat!($($insn),*), $($operands)*, options(nomem, nostack)) }
    };
}

/// Runs one instruction in the MXCSR that `$mode` says.
macro_rules! moded {
    ($mode:expr, [$($insn:tt),*], $($operands:tt)*) => {
        match $mode {
            Mode::Sticky => sticky!([$($insn),*], $($operands)*),
            // SAFETY: as in `sticky`. Besides, `scope` points at the two words of a `Scope`, live and
            // borrowed, both valid MXCSR values; no operand shares its register, as none is `lateout`;
            // the last instruction brings back what was in force before the first, so that Rust code
            // runs in no other mode.
            Mode::Scoped(scope) => unsafe {
                asm!(
                    "stmxcsr [{scope}]",
                    "ldmxcsr [{scope} + 4]",
                    concat!($($insn),*),
                    "stmxcsr [{scope} + 4]",
                    "ldmxcsr [{scope}]",
                    scope = in(reg) scope,
                    $($operands)*,
                    options(nostack)
                )
            },
        }
    };
}

/// Proof that the CPU has SSE4.1.
#[derive(Clone, Copy, Debug)]
pub struct Sse41(());

/// Proof that the CPU has FMA3, and the system lets it be used.
#[derive(Clone, Copy, Debug)]
pub struct Fma(());

/// What this CPU has beyond the first x86-64.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    pub sse41: Option<Sse41>,
    pub fma: Option<Fma>,
}

impl Cpu {
    /// Asks it; the answer is cached.
    #[inline(always)]
    pub fn detect() -> Cpu {
        Cpu {
            sse41: is_x86_feature_detected!("sse4.1").then_some(Sse41(())),
            fma: is_x86_feature_detected!("fma").then_some(Fma(())),
        }
    }
}

/// A function that runs one format's instruction.
///
/// Destination and source are one register, or the destination is cleared first where the instruction
/// merges into it, so that nothing waits for an older value.
macro_rules! instruction {
    ($name:ident(mode, $float:ty) = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(mode: Mode<'_>, x: u64) -> u64 {
            let mut r = <$float>::from_bits(x as _);
            moded!(mode, [$($insn),*], r = inout(xmm_reg) r);
            r.to_bits().into()
        }
    };
    ($name:ident(mode, $float:ty, y) = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(mode: Mode<'_>, x: u64, y: u64) -> u64 {
            let (mut r, y) = (<$float>::from_bits(x as _), <$float>::from_bits(y as _));
            moded!(mode, [$($insn),*, " {r}, {y}"], r = inout(xmm_reg) r, y = in(xmm_reg) y);
            r.to_bits().into()
        }
    };
    ($name:ident(mode, $float:ty, y, z) = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(_: Fma, mode: Mode<'_>, x: u64, y: u64, z: u64) -> u64 {
            let mut r = <$float>::from_bits(x as _);
            let (y, z) = (<$float>::from_bits(y as _), <$float>::from_bits(z as _));
            moded!(
                mode,
                [$($insn),*, " {r}, {y}, {z}"],
                r = inout(xmm_reg) r,
                y = in(xmm_reg) y,
                z = in(xmm_reg) z
            );
            r.to_bits().into()
        }
    };
    ($name:ident($float:ty) = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(x: u64) -> u64 {
            let mut r = <$float>::from_bits(x as _);
            sticky!([$($insn),*], r = inout(xmm_reg) r);
            r.to_bits().into()
        }
    };
    ($name:ident($float:ty) -> int $int:ty = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(x: u64) -> $int {
            let n: $int;
            sticky!([$($insn),*], n = out(reg) n, x = in(xmm_reg) <$float>::from_bits(x as _));
            n
        }
    };
    ($name:ident(int $int:ty) -> $float:ty = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(n: $int) -> u64 {
            let mut r: $float = 0.0;
            sticky!([$($insn),*], r = inout(xmm_reg) r, n = in(reg) n);
            r.to_bits().into()
        }
    };
    ($name:ident($float:ty, y) -> truth = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(x: u64, y: u64) -> u64 {
            let (x, y) = (<$float>::from_bits(x as _), <$float>::from_bits(y as _));
            let truth: u32;
            sticky!([$($insn),*], x = in(xmm_reg) x, y = in(xmm_reg) y, truth = out(reg) truth);
            truth.into()
        }
    };
    ($name:ident($float:ty, y) = $($insn:tt),*) => {
        #[inline(always)]
        fn $name(x: u64, y: u64) -> u64 {
            let (mut r, y) = (<$float>::from_bits(x as _), <$float>::from_bits(y as _));
            sticky!([$($insn),*, " {r}, {y}"], r = inout(xmm_reg) r, y = in(xmm_reg) y);
            r.to_bits().into()
        }
    };
    (round $name:ident, $float:ty, $s:literal, $silent:literal) => {
        #[inline(always)]
        fn $name(_: Sse41, rm: Rm, x: u64) -> u64 {
            let mut r = <$float>::from_bits(x as _);
            match rm {
                Rm::Rdn => sticky!(["round", $s, " {r}, {r}, 1+", $silent], r = inout(xmm_reg) r),
                Rm::Rup => sticky!(["round", $s, " {r}, {r}, 2+", $silent], r = inout(xmm_reg) r),
                Rm::Rtz => sticky!(["round", $s, " {r}, {r}, 3+", $silent], r = inout(xmm_reg) r),
                Rm::Rne | Rm::Rmm | Rm::Dyn => {
                    sticky!(["round", $s, " {r}, {r}, ", $silent], r = inout(xmm_reg) r)
                }
            }
            r.to_bits().into()
        }
    };
}

/// The instructions of one format. Operands and FP results are bits of the format; a NaN result is not
/// yet the canonical one.
pub trait Scalar: Format {
    fn add(mode: Mode<'_>, x: u64, y: u64) -> u64;
    fn sub(mode: Mode<'_>, x: u64, y: u64) -> u64;
    fn mul(mode: Mode<'_>, x: u64, y: u64) -> u64;
    fn div(mode: Mode<'_>, x: u64, y: u64) -> u64;
    fn sqrt(mode: Mode<'_>, x: u64) -> u64;

    /// ±(`x` × `y`) ± `z`. Quiet if `z` is a quiet NaN, even for infinity × 0.
    fn madd(_: Fma, mode: Mode<'_>, x: u64, y: u64, z: u64) -> u64;
    fn msub(_: Fma, mode: Mode<'_>, x: u64, y: u64, z: u64) -> u64;
    fn nmsub(_: Fma, mode: Mode<'_>, x: u64, y: u64, z: u64) -> u64;
    fn nmadd(_: Fma, mode: Mode<'_>, x: u64, y: u64, z: u64) -> u64;

    /// All ones or zero; quiet.
    fn eq(x: u64, y: u64) -> u64;
    /// 0 or 1; signalling.
    fn lt(x: u64, y: u64) -> u64;
    fn le(x: u64, y: u64) -> u64;
    /// 0 or 1; quiet.
    fn ltq(x: u64, y: u64) -> u64;
    fn leq(x: u64, y: u64) -> u64;

    /// To an integer, rounded; the least one for what has none.
    fn to_i32(x: u64) -> i32;
    fn to_i64(x: u64) -> i64;
    /// Truncated, in any mode.
    fn trunc_i32(x: u64) -> i32;
    fn trunc_i64(x: u64) -> i64;
    fn from_i32(n: i32) -> u64;
    fn from_i64(n: i64) -> u64;

    /// To the other of binary32 and binary64. Above the bits of a binary32 lies anything.
    fn convert(x: u64) -> u64;
    /// To an integral value, to nearest, down, up and truncated, in any mode; silent if inexact.
    fn round(_: Sse41, rm: Rm, x: u64) -> u64;
    /// The same, not silent.
    fn round_nx(_: Sse41, rm: Rm, x: u64) -> u64;
}

macro_rules! scalar {
    ($format:ty, $float:ty, $s:literal, $o:literal) => {
        impl Scalar for $format {
            instruction!(add(mode, $float, y) = "add", $s);
            instruction!(sub(mode, $float, y) = "sub", $s);
            instruction!(mul(mode, $float, y) = "mul", $s);
            instruction!(div(mode, $float, y) = "div", $s);
            instruction!(sqrt(mode, $float) = "sqrt", $s, " {r}, {r}");
            instruction!(madd(mode, $float, y, z) = "vfmadd213", $s);
            instruction!(msub(mode, $float, y, z) = "vfmsub213", $s);
            instruction!(nmsub(mode, $float, y, z) = "vfnmadd213", $s);
            instruction!(nmadd(mode, $float, y, z) = "vfnmsub213", $s);
            instruction!(eq($float, y) = "cmpeq", $s);
            instruction!(lt($float, y) -> truth = "comi", $s, " {y}, {x}\nseta {truth:l}\nmovzx {truth:e}, {truth:l}");
            instruction!(le($float, y) -> truth = "comi", $s, " {y}, {x}\nsetae {truth:l}\nmovzx {truth:e}, {truth:l}");
            instruction!(ltq($float, y) -> truth = "ucomi", $s, " {y}, {x}\nseta {truth:l}\nmovzx {truth:e}, {truth:l}");
            instruction!(leq($float, y) -> truth = "ucomi", $s, " {y}, {x}\nsetae {truth:l}\nmovzx {truth:e}, {truth:l}");
            instruction!(to_i32($float) -> int i32 = "cvt", $s, "2si {n:e}, {x}");
            instruction!(to_i64($float) -> int i64 = "cvt", $s, "2si {n}, {x}");
            instruction!(trunc_i32($float) -> int i32 = "cvtt", $s, "2si {n:e}, {x}");
            instruction!(trunc_i64($float) -> int i64 = "cvtt", $s, "2si {n}, {x}");
            instruction!(from_i32(int i32) -> $float = "cvtsi2", $s, " {r}, {n:e}");
            instruction!(from_i64(int i64) -> $float = "cvtsi2", $s, " {r}, {n}");
            instruction!(convert(f64) = "cvt", $s, "2", $o, " {r}, {r}");
            instruction!(round round, $float, $s, 8);
            instruction!(round round_nx, $float, $s, 0);
        }
    };
}

scalar!(Single, f32, "ss", "sd");
scalar!(Double, f64, "sd", "ss");
