//! What an SBI call may look at and change: the calling hart and the machine around it.

use serde::{Deserialize, Serialize};

use super::fwft::Features;
use super::hsm::HartStates;
use super::pmu::Counters;

/// A fence to be executed by other harts (SBI 3.0, chapter 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// `fence.i`.
    Instruction,
    /// `sfence.vma` over a range of virtual addresses (`None`: all), of one address space or all.
    Address {
        /// Start and size in bytes.
        range: Option<(u64, u64)>,
        /// Address space.
        asid: Option<u16>,
    },
}

/// What the SBI remembers of one hart between calls; begins anew when the hart is started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HartState {
    /// Performance counters.
    pub(super) counters: Counters,
    /// Firmware features.
    pub(super) features: Features,
}

/// The calling hart and the machine around it. Harts are numbered from 0; sets of harts are bit masks.
pub trait Caller {
    /// Number of the calling hart.
    fn hart(&self) -> usize;
    /// Number of harts in the machine.
    fn hart_count(&self) -> usize;
    /// What the SBI remembers of the calling hart.
    fn state(&mut self) -> &mut HartState;

    /// Whether `len` bytes at a guest-physical address are RAM.
    fn is_ram(&self, gpa: u64, len: u64) -> bool;
    /// Reads guest RAM; false if any byte is not RAM.
    fn read(&self, gpa: u64, buf: &mut [u8]) -> bool;
    /// Writes guest RAM; false if any byte is not RAM.
    fn write(&mut self, gpa: u64, buf: &[u8]) -> bool;
    /// Reads a doubleword through the caller's own address translation, for legacy calls.
    fn read_virtual(&mut self, va: u64) -> Option<u64>;
    /// Reads a CSR of the calling hart as M-mode does; `None` if there is none.
    fn read_csr(&mut self, number: u16) -> Option<u64>;
    /// Writes a CSR of the calling hart as M-mode does; false if there is none.
    fn write_csr(&mut self, number: u16, value: u64) -> bool;

    /// Sets the supervisor timer of the calling hart to fire at `time`, and clears it until then.
    fn set_timer(&mut self, time: u64);
    /// Raises a supervisor software interrupt in each of these harts.
    fn send_ipi(&mut self, harts: u64);
    /// Clears the supervisor software interrupt of the calling hart.
    fn clear_ipi(&mut self);
    /// Has these harts execute a fence, and returns when they all have.
    fn fence(&mut self, harts: u64, fence: Fence);

    /// The states of all harts.
    fn harts(&self) -> &HartStates;
    /// Tells the thread of a hart to look at its state.
    fn wake(&mut self, hart: usize);

    /// Writes to the console.
    fn console_write(&mut self, bytes: &[u8]);
    /// Takes what was typed, without waiting; returns how many bytes.
    fn console_read(&mut self, buf: &mut [u8]) -> usize;
}
