//! The session of hosts whose FPU is not used: every operation takes the soft path.

use std::marker::PhantomData;

use super::soft;
use crate::isa::emit::{Fmt, Fp, Rm};

/// Keeps the contract of the x86-64 session with nothing to keep: no flag stays in the FPU.
#[must_use = "without a session the flags are lost"]
pub struct HostFp {
    thread: PhantomData<*const ()>,
}

impl HostFp {
    /// Begins a session.
    pub fn enter() -> HostFp {
        HostFp { thread: PhantomData }
    }

    /// Nothing: all flags are in the `flags` arguments already.
    pub fn take(&self) -> u8 {
        0
    }

    /// Runs `f`.
    pub fn outside<R>(&self, _flags: &mut u8, f: impl FnOnce() -> R) -> R {
        f()
    }

    /// [`super::apply`].
    #[inline(always)]
    pub fn apply(&self, op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], flags: &mut u8) -> u64 {
        soft::apply(op, fmt, rm, a, b, c, flags)
    }
}

/// [`super::apply`].
#[inline(always)]
pub fn alone(op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], flags: &mut u8) -> u64 {
    soft::apply(op, fmt, rm, a, b, c, flags)
}
