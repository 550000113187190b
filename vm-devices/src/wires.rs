//! What devices are wired to: interrupt lines, harts, the clock, the power.
//!
//! The machine implements these traits; devices only call them. A device may
//! call them while it holds its own lock, so that two changes of one wire cannot
//! arrive in the wrong order. **Invariant:** an implementation never calls back
//! into the device that called it.

/// A level-triggered wire into an interrupt controller.
pub trait IrqLine: Send + Sync {
    /// Drives the wire; setting the level it already has changes nothing.
    fn set(&self, level: bool);
}

/// An interrupt input of a hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HartLine {
    /// Machine software interrupt, from the CLINT.
    Msip,
    /// Machine timer interrupt.
    Mtip,
    /// Machine external interrupt, from the PLIC.
    Meip,
    /// Supervisor external interrupt, from the PLIC.
    Seip,
}

/// The interrupt inputs of all harts.
pub trait HartLines: Send + Sync {
    /// Drives `line` of `hart`; setting the level it already has changes nothing.
    fn set(&self, hart: usize, line: HartLine, level: bool);
    /// The machine timer of `hart` is now due at `ticks`: from then on its
    /// [`HartLine::Mtip`] is high, before it is low.
    fn set_mtimecmp(&self, hart: usize, ticks: u64);
}

/// The machine's clock, which `mtime` and the `time` CSR show.
pub trait Clock: Send + Sync {
    /// Ticks of 100 ns (10 MHz).
    fn ticks(&self) -> u64;
    /// Makes the clock continue from `ticks`, as a store to `mtime` asks.
    fn set_ticks(&self, ticks: u64);
}

/// What the guest asks of the machine's power.
pub trait PowerEvents: Send + Sync {
    /// Power off; `code` is the exit code, 0 for success.
    fn shutdown(&self, code: u16);
    /// Start again from the reset state.
    fn reset(&self);
}
