//! A stretch of guest floating point on a host thread, for engines that run many operations in a row.

use super::facts::{self, Control, Host};
use super::host::{self, Cpu, Mode, Saved, Scope};
use super::{fpu, soft};
use crate::isa::emit::{Fmt, Fp, Rm};

/// The thread's FPU flags belong to the guest as long as this lives.
///
/// An engine enters before its first FP instruction and keeps the value for as long as it runs guest
/// code. [`HostFp::apply`] leaves what it raises in two places: in the FPU, and in its `flags` argument,
/// which is the hart's `fflags`. So the engine
/// - does `fflags |= fp.take()` before anything looks at `fflags` or at `mstatus.FS` (which a raised flag
///   makes dirty), and before the value is dropped;
/// - does `fp.take()` and forgets it when the guest writes `fflags`;
/// - runs host code that may compute with floats (devices, tracing) in [`HostFp::outside`]: its flags
///   would become the guest's. Integer code and memory copies raise none.
///
/// Nested sessions would mix their flags: enter once a thread, and drop it there.
#[derive(Debug)]
#[must_use = "without a session the flags are lost"]
pub struct HostFp {
    before: Saved,
    cpu: Cpu,
}

impl HostFp {
    /// Takes the thread's FPU, no flag raised.
    pub fn enter() -> HostFp {
        let before = Saved::new();
        host::reset();
        HostFp { before, cpu: Cpu::detect() }
    }

    /// What was raised in the FPU since it was last taken, as `fflags`; clears it.
    #[inline]
    pub fn take(&self) -> u8 {
        let flags = host::raised();
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
    /// With literal `op` and `fmt` this is little more than the host's instruction, where rounding is to
    /// nearest or the instruction carries its mode.
    #[inline(always)]
    pub fn apply(&self, op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], flags: &mut u8) -> u64 {
        if matches!(facts::host(op, fmt), Host::Integer | Host::Soft) {
            return soft::apply(op, fmt, rm, a, b, c, flags);
        }
        match facts::control(op, fmt, rm) {
            Control::Register if rm != Rm::Rne => other_mode(op, fmt, rm, a, b, c, flags),
            Control::Lacking => other_mode(op, fmt, rm, a, b, c, flags),
            _ => match fpu::run(op, fmt, rm, self.cpu, [a, b, c], flags) {
                Some(image) => image,
                None => rare(op, fmt, rm, a, b, c, flags),
            },
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
fn other_mode(op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64, flags: &mut u8) -> u64 {
    alone(op, fmt, rm, [a, b, c], flags)
}

/// Operands for which the host is not exact.
#[cold]
#[inline(never)]
fn rare(op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64, flags: &mut u8) -> u64 {
    soft::apply(op, fmt, rm, a, b, c, flags)
}

/// [`super::apply`]. To change MXCSR there and back takes longer than to do anything but arithmetic by
/// the soft path.
#[inline(always)]
pub fn alone(op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], flags: &mut u8) -> u64 {
    if !facts::arithmetic(op) || facts::control(op, fmt, rm) == Control::Lacking {
        return soft::apply(op, fmt, rm, a, b, c, flags);
    }
    let mut scope = Scope::new(rm);
    let image = fpu::arithmetic(op, fmt, Cpu::detect(), Mode::Scoped(&mut scope), [a, b, c]);
    *flags |= scope.flags();
    match image {
        Some(image) => image,
        None => rare(op, fmt, rm, a, b, c, flags),
    }
}
