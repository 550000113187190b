//! A stretch of guest floating point on a host thread, for engines that run many operations in a row.

use super::facts::{self, Control, Host};
use super::host::{self, Mode, Saved, Scope};
use super::{fpu, soft};
use crate::isa::emit::{Fmt, Fp, Rm};

/// The thread's FPU flags belong to the guest as long as this lives.
///
/// An engine enters before its first FP instruction and keeps the value for as long as it runs guest
/// code. [`HostFp::apply`] leaves what it raises in two places: in the FPU, and in its `flags` argument,
/// which is the hart's `fflags`. So the engine
/// - does `fflags |= fp.take()` before anything looks at `fflags`, and before the value is dropped;
/// - does `fp.take()` and forgets it when the guest writes `fflags`;
/// - runs host code that may compute with floats (devices, tracing) in [`HostFp::outside`]: its flags
///   would become the guest's. Integer code and memory copies raise none.
///
/// Nested sessions would mix their flags: enter once a thread.
#[must_use = "without a session the flags are lost"]
pub struct HostFp {
    before: Saved,
}

impl HostFp {
    /// Takes the thread's FPU, no flag raised.
    pub fn enter() -> HostFp {
        let before = Saved::new();
        host::reset();
        HostFp { before }
    }

    /// What was raised in the FPU since it was last taken, as `fflags`; clears it.
    #[inline]
    pub fn take(&self) -> u8 {
        let flags = host::sticky();
        host::reset();
        flags
    }

    /// Runs `f`, whose own floating point leaves no trace in the guest's.
    #[inline]
    pub fn outside<R>(&self, flags: &mut u8, f: impl FnOnce() -> R) -> R {
        *flags |= self.take();
        let result = f();
        host::reset();
        result
    }

    /// [`super::apply`], except that flags may stay in the FPU until they are [taken](HostFp::take).
    ///
    /// With literal `op` and `fmt`, and rounding to nearest, this is little more than the host's
    /// instruction. The other modes change and restore MXCSR around it.
    #[inline(always)]
    pub fn apply(&self, op: Fp, fmt: Fmt, rm: Rm, abc: [u64; 3], flags: &mut u8) -> u64 {
        if matches!(facts::host(op, fmt), Host::Integer | Host::Soft) {
            return soft::apply(op, fmt, rm, abc[0], abc[1], abc[2], flags);
        }
        match facts::control(op, fmt, rm) {
            Control::Register if rm != Rm::Rne => other_mode(op, fmt, rm, abc, flags),
            Control::Lacking => other_mode(op, fmt, rm, abc, flags),
            _ => fpu::run(op, fmt, rm, &mut Mode::Sticky, abc, flags),
        }
    }
}

impl Drop for HostFp {
    fn drop(&mut self) {
        self.before.restore();
    }
}

#[cold]
#[inline(never)]
fn other_mode(op: Fp, fmt: Fmt, rm: Rm, abc: [u64; 3], flags: &mut u8) -> u64 {
    scoped(op, fmt, rm, abc, flags)
}

/// [`super::apply`]: the operation in an MXCSR of its own.
#[inline(always)]
pub fn scoped(op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], flags: &mut u8) -> u64 {
    let integer = matches!(facts::host(op, fmt), Host::Integer | Host::Soft);
    if integer || facts::control(op, fmt, rm) == Control::Lacking {
        return soft::apply(op, fmt, rm, a, b, c, flags);
    }
    let mut scope = Scope::new(rm);
    let result = fpu::run(op, fmt, rm, &mut Mode::Scoped(&mut scope), [a, b, c], flags);
    *flags |= scope.flags();
    result
}
