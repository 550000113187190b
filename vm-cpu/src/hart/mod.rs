//! Harts: their state, how they reach memory and devices, and how the outside reaches them.
//!
//! ```text
//!   Hart ─┬─ Core    registers, CSRs, soft-TLB, reservation      (what an instruction may touch)
//!         └─ Engine  blocks and jump cache of the interpreter    (what finds the next instruction)
//!   Cluster ── Port a hart ── lines, mail, attention             (what other threads may touch)
//! ```

mod atomics;
mod attend;
mod clock;
mod cluster;
mod core;
mod memory;
mod port;
mod privileged;
mod protection;
mod record;
mod strict;
mod tally;
mod view;
mod word;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use vm_mmu::AddressSpace;

pub use self::clock::{Clock, TICKS_PER_SECOND};
pub use self::cluster::{Cluster, MAX_HARTS};
pub use self::core::Core;
pub(crate) use self::core::Reservation;
pub use self::core::Stop;
pub use self::port::{Mail, Port};
pub use self::record::{HartRecord, RecordError, ReservationRecord};
pub use self::tally::Tally;
use crate::config::CpuConfig;
use crate::csr::Priv;
use crate::interp::Engine;
use crate::jit::Jit;
use crate::jit::enter::Frame;

/// Devices as a hart sees them.
pub trait Bus: Send + Sync {
    /// Reads `size` (1, 2, 4 or 8) bytes at guest-physical `gpa`.
    fn read(&self, gpa: u64, size: u8) -> Result<u64, BusError>;
    /// Writes the low `size` bytes of `value`.
    fn write(&self, gpa: u64, size: u8, value: u64) -> Result<(), BusError>;
}

/// Nothing answers at that address, or not to that width: the hart takes an access fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no device answers at guest-physical {gpa:#x}")]
pub struct BusError {
    /// Where.
    pub gpa: u64,
}

/// Why [`Hart::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `ecall` from S-mode with the built-in SBI: a7 and a6 say what, a0 to a5 have the arguments, pc
    /// is past the instruction.
    SbiCall,
    /// Somebody asked for the thread with [`Cluster::request_exit`].
    Requested,
    /// In lock-step: generated code did something else than the interpreter. [`Hart::divergence`] says what.
    Diverged,
}

/// State of a hart as it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First instruction.
    pub pc: u64,
    /// a0: the hart's id, by convention.
    pub a0: u64,
    /// a1: the device tree, or an opaque value.
    pub a1: u64,
    /// a2: what OpenSBI's `fw_dynamic` reads, else 0.
    pub a2: u64,
    /// Privilege mode.
    pub mode: Priv,
}

/// One hart. Lives on its own thread.
#[derive(Debug)]
pub struct Hart {
    frame: Box<Frame>,
    engine: Engine,
}

impl Hart {
    /// Hart `id` of `cluster`, at reset.
    pub fn new(
        id: usize,
        cpu: &CpuConfig,
        memory: Arc<AddressSpace>,
        bus: Arc<dyn Bus>,
        cluster: Arc<Cluster>,
    ) -> Self {
        Self { frame: Frame::new(Core::new(id, cpu, memory, bus, cluster)), engine: Engine::default() }
    }

    /// Runs hot code by units of `jit`.
    pub fn with_jit(mut self, jit: Arc<Jit>) -> Self {
        if jit.config().lockstep.is_some() || jit.config().canary.is_some() && jit.has_image() {
            self.core_mut().keep_step();
        }
        self.engine.use_jit(jit);
        self
    }

    /// Resets the hart and puts it at `entry`. With `sbi`, `ecall` from S-mode ends [`Hart::run`], and
    /// the machine-mode state is what an SBI implementation leaves behind.
    pub fn start(&mut self, entry: Entry, sbi: bool) {
        self.frame.core_mut().reset(entry, sbi);
        self.engine.forget();
    }

    /// Runs guest code until something needs the caller.
    pub fn run(&mut self) -> Exit {
        let core = self.frame.core_mut();
        core.enter(&mut self.engine);
        self.engine.begin(core);
        let exit = loop {
            if let Some(exit) = core.attend(&mut self.engine) {
                break exit;
            }
            if let Some(exit) = self.engine.run(core) {
                break exit;
            }
        };
        core.leave();
        core.unpin();
        exit
    }

    /// Sleeps until an interrupt that the hart enables is pending, whether or not it can be taken; the
    /// SBI's suspension. False if it came back for [`Cluster::request_exit`] instead.
    pub fn suspend(&mut self) -> bool {
        self.frame.core_mut().suspend(&mut self.engine)
    }

    /// Carries out `letter` on the harts of `mask`, this one included if it is among them. Those that
    /// execute guest code have done so when this returns. For use while outside [`Hart::run`].
    pub fn remote_fence(&mut self, mask: u64, letter: Mail) {
        self.frame.core_mut().remote_fence(&mut self.engine, mask, letter);
    }

    /// The hart's state. Only while outside [`Hart::run`].
    pub fn save(&mut self) -> HartRecord {
        self.frame.core_mut().record()
    }

    /// Makes the hart go on from a saved state, of which it keeps nothing derived: no translation and no
    /// block. The machine's clock is set and memory is in place. On an error nothing has changed.
    pub fn load(&mut self, record: &HartRecord) -> Result<(), RecordError> {
        self.frame.core_mut().load(record, &mut self.engine)
    }

    /// Registers, CSRs and counters.
    pub fn core(&self) -> &Core {
        self.frame.core()
    }

    /// Registers, CSRs and counters, to change.
    pub fn core_mut(&mut self) -> &mut Core {
        self.frame.core_mut()
    }

    /// What lock-step has found, once it has found something.
    pub fn divergence(&self) -> Option<String> {
        self.core().shadow.as_ref().and_then(|shadow| shadow.report.borrow().clone())
    }

    /// Blocks with their heat and edges.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
