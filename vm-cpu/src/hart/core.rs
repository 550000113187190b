//! What an instruction may touch: registers, CSRs, the soft-TLB, the reservation.

use std::sync::Arc;

use vm_mmu::{AddressSpace, SoftTlb};

use super::protection::Protection;
use super::strict::Guarding;
use super::view::View;
use super::{Bus, Cluster, Entry, Port, Tally};
use crate::config::CpuConfig;
use crate::csr::{CsrFile, Priv};
use crate::fp::HostFp;
use crate::interp::Jumps;
use crate::jit::Participant;
use crate::jit::abi::Native;
use crate::jit::enter::{Misfit, Payload};
use crate::jit::strays::{CROSSING, Strays};
use crate::lockstep::Shadow;
use crate::trap::{Cause, Trap};

/// Why an instruction ended early. Small on purpose: it travels through every memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It trapped; `Core::trap` says how.
    Trap,
    /// It has done nothing, and is to be executed anew once other harts have read their mail.
    Again,
    /// It is complete, but what follows it may have to be decoded again.
    Done,
    /// It has done nothing: it needs a device or a wait, which a trial may not touch.
    Outside,
}

/// An `lr` that no `sc` has ended yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Reservation {
    /// Host address of the word: one address for all mappings of it. 0 is no reservation.
    pub cell: u64,
    /// Bytes.
    pub size: u64,
    /// What `lr` saw, zero-extended.
    pub value: u64,
}

impl Reservation {
    /// Whether it is of the `size` bytes at host address `cell`.
    pub fn holds(&self, cell: u64, size: u64) -> bool {
        self.cell == cell && self.size == size
    }
}

/// The architectural state of a hart and its ways to memory. What generated code uses most is at its start.
#[repr(C)]
pub struct Core {
    pub(crate) x: [u64; 32],
    pub(crate) f: [u64; 32],
    /// Virtual address of the block that runs, or of the next instruction between blocks.
    pub(crate) pc: u64,
    /// How loads and stores are translated now, and how fetches are.
    pub(crate) data: View,
    pub(crate) fetch: View,
    pub(crate) tlb: SoftTlb,
    /// Instructions retired since reset, the whole of the block that runs included.
    pub(crate) retired: u64,
    pub(crate) trap: Trap,
    /// The thread's FPU from the first FP instruction of a `run` to its end.
    pub(crate) fpu: Option<HostFp>,
    pub(crate) csr: CsrFile,
    pub(super) protection: Protection,
    /// Interrupts have to be looked at before the next block.
    pub(crate) recheck: bool,
    pub(crate) reservation: Reservation,
    pub(super) guarding: Guarding,
    /// MTIP and STIP as they were when the timers were looked at last.
    pub(crate) due: u64,
    /// The deadline that the timer thread watches for this hart.
    pub(super) armed: u64,
    pub(super) id: usize,
    pub(super) port: Arc<Port>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) memory: Arc<AddressSpace>,
    pub(super) bus: Arc<dyn Bus>,
    /// Deadline of the built-in SBI's timer for a supervisor without `stimecmp`.
    pub(super) sbi_timer: u64,
    pub(crate) jumps: Jumps,
    /// `fence.i` was executed: the engine has to act before the next block.
    pub(crate) fence_i: bool,
    /// Physical memory protection changed: the engine has to act before the next block.
    pub(crate) pmp_changed: bool,
    /// `ecall` from S-mode leaves to the built-in SBI.
    pub(super) sbi: bool,
    pub(super) cpu: CpuConfig,
    /// The words of generated code.
    pub(crate) native: Native,
    /// A panic of a helper, on its way out of generated code.
    pub(crate) panic: Option<Payload>,
    /// The hart's part in the epochs of the code cache.
    pub(crate) reader: Option<Participant>,
    /// Addresses of cells that blocks keep have become invalid.
    pub(crate) cells_gone: bool,
    pub(crate) tally: Tally,
    /// A unit whose inline caches are of no use.
    pub(crate) misfit: Option<Misfit>,
    /// Sites that stored beside code.
    pub(crate) strays: Strays,
    /// Groups of accesses across pages.
    pub(crate) crossings: Strays,
    /// What lock-step needs.
    pub(crate) shadow: Option<Box<Shadow>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, pc, x, csr, .. } = self;
        f.debug_struct("Core").field("id", id).field("pc", pc).field("x", x).field("csr", csr).finish()
    }
}

impl Core {
    pub(super) fn new(
        id: usize,
        cpu: &CpuConfig,
        memory: Arc<AddressSpace>,
        bus: Arc<dyn Bus>,
        cluster: Arc<Cluster>,
    ) -> Self {
        let mut core = Self {
            x: [0; 32],
            f: [0; 32],
            pc: 0,
            data: View::default(),
            fetch: View::default(),
            native: Native::new(cluster.port(id).attention_address(), cpu, &memory),
            tlb: SoftTlb::new(memory.clone()),
            retired: 0,
            trap: Trap { cause: Cause::IllegalInstruction, tval: 0 },
            fpu: None,
            csr: CsrFile::new(cpu, id as u64),
            protection: Protection::default(),
            recheck: true,
            reservation: Reservation::default(),
            guarding: Guarding::default(),
            due: 0,
            armed: u64::MAX,
            id,
            port: cluster.port(id).clone(),
            cluster: cluster.clone(),
            memory,
            bus,
            sbi_timer: u64::MAX,
            jumps: Jumps::default(),
            fence_i: false,
            pmp_changed: false,
            sbi: false,
            cpu: *cpu,
            panic: None,
            reader: None,
            cells_gone: false,
            tally: Tally::default(),
            misfit: None,
            strays: Strays::new(u64::MAX),
            crossings: Strays::new(CROSSING),
            shadow: None,
        };
        core.review();
        core
    }

    /// Reset state, then `entry`.
    pub(super) fn reset(&mut self, entry: Entry, sbi: bool) {
        self.x = [0; 32];
        self.f = [0; 32];
        self.csr = CsrFile::new(&self.cpu, self.id as u64);
        self.sbi = sbi;
        if sbi {
            self.csr.hand_to_supervisor();
        }
        self.csr.prv = entry.mode;
        self.pc = entry.pc;
        self.x[10] = entry.a0;
        self.x[11] = entry.a1;
        self.x[12] = entry.a2;
        self.reservation = Reservation::default();
        self.tally.earlier = self.tally.earlier.wrapping_add(self.retired);
        self.retired = 0;
        self.recheck = true;
        self.sbi_timer = u64::MAX;
        self.jumps.clear();
        self.drop_translations();
    }

    /// Integer register `r` (0 to 31; higher numbers wrap).
    pub fn x(&self, r: usize) -> u64 {
        self.x[r & 31]
    }

    /// Writes integer register `r`; x0 stays 0.
    pub fn set_x(&mut self, r: usize, value: u64) {
        self.x[r & 31] = value;
        self.x[0] = 0;
    }

    /// FP register `r`, raw.
    pub fn f(&self, r: usize) -> u64 {
        self.f[r & 31]
    }

    /// Writes FP register `r`, raw; `mstatus.FS` stays as it is.
    pub fn set_f(&mut self, r: usize, value: u64) {
        self.f[r & 31] = value;
    }

    /// Address of the next instruction. Exact while the hart is outside `run`.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Continues at `pc`.
    pub fn set_pc(&mut self, pc: u64) {
        self.pc = pc;
    }

    /// Current privilege mode.
    pub fn mode(&self) -> Priv {
        self.csr.prv
    }

    /// Control and status registers.
    pub fn csr(&self) -> &CsrFile {
        &self.csr
    }

    /// Changes control and status registers, then derives anew what depends on them.
    pub fn with_csr<R>(&mut self, change: impl FnOnce(&mut CsrFile) -> R) -> R {
        let result = change(&mut self.csr);
        self.recheck = true;
        self.look_at_timers();
        self.review();
        result
    }

    /// Instructions retired since reset. Exact while the hart is outside `run`.
    pub fn retired(&self) -> u64 {
        self.retired
    }

    /// This hart's number.
    pub fn id(&self) -> usize {
        self.id
    }

    /// All harts of the machine.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The guest-physical address space.
    pub fn memory(&self) -> &Arc<AddressSpace> {
        &self.memory
    }

    /// What the CPU was configured as.
    pub fn cpu(&self) -> &CpuConfig {
        &self.cpu
    }

    /// The soft-TLB's counters.
    pub fn tlb(&self) -> &SoftTlb {
        &self.tlb
    }

    /// Not 0 if the hart has to leave its block chain.
    #[inline(always)]
    pub(crate) fn attention(&self) -> u32 {
        self.port.attention()
    }

    /// From here on units run in lock-step.
    pub(super) fn keep_step(&mut self) {
        self.shadow = Some(Box::default());
        self.tlb.note_fills();
    }

    /// Whether a unit runs whose effects will be taken back.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.shadow.as_ref().is_some_and(|shadow| shadow.is_trial())
    }

    /// Something of the outside that may change at any time, as `look` sees it.
    pub(super) fn outside(&self, look: impl FnOnce() -> u64) -> u64 {
        match &self.shadow {
            None => look(),
            Some(shadow) => shadow.see(look),
        }
    }

    /// Notes a trap for the run loop to deliver.
    #[cold]
    pub(crate) fn stop_with(&mut self, cause: Cause, tval: u64) -> Stop {
        self.trap = Trap { cause, tval };
        Stop::Trap
    }
}
