//! A bare machine: harts and RAM in this process, no device, a clock that stands still.
//!
//! ```text
//!  0            exit words, 16 bytes a hart: a store to the first ends the program of that hart,
//!               a store to the second says that the hart has trapped
//!  RAM          code and data of the test
//!  last page    M-mode's trap handlers, one a hart: they store to the exit word and change nothing else
//! ```
//! **Invariant:** whatever an engine executes here is what the same engine executes in a whole machine.
//! The way out is a store to a device, so that no register is needed for it and none is changed.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use vm_cpu::csr::fields::status;
use vm_cpu::isa::Op;
use vm_cpu::isa::asm::assemble;
use vm_cpu::jit::{Jit, JitConfig};
use vm_cpu::{Bus, BusError, Clock, Cluster, CpuConfig, Entry, Exit, Hart, Lockstep, Priv};
use vm_mmu::{AddressSpace, Backend, PAGE, Perm};

/// Where RAM begins.
pub const RAM: u64 = 0x8000_0000;

/// Longer than any test runs; after it a hart has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of exit words a hart has.
const EXIT_WORDS: u64 = 16;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter.
    Interpreter,
    /// Every block compiled before it is executed for the first time.
    Blocks,
    /// Regions compiled when a block is executed for the third time.
    Regions,
    /// Every block translated by the quick tier before it is executed for the first time.
    Quick,
    /// The interpreter and compiled blocks in lock-step.
    Lockstep(Lockstep),
    /// The interpreter and blocks of the quick tier in lock-step.
    QuickLockstep(Lockstep),
    /// The interpreter and compiled blocks that take `add` for `sub`.
    Mistaken,
}

impl Engine {
    /// Every engine there is.
    pub const ALL: &'static [Engine] = &[Engine::Interpreter, Engine::Blocks, Engine::Regions, Engine::Quick];

    /// Those that compare others.
    pub const LOCKSTEP: &'static [Engine] = &[
        Engine::Lockstep(Lockstep::Units),
        Engine::Lockstep(Lockstep::Chains),
        Engine::QuickLockstep(Lockstep::Units),
        Engine::QuickLockstep(Lockstep::Chains),
    ];

    /// How the JIT is used, if it is.
    fn jit(self) -> Option<JitConfig> {
        let with = |threshold, quick| JitConfig { threshold, quick, wait: true, ..JitConfig::default() };
        match self {
            Engine::Interpreter => None,
            Engine::Blocks => Some(with(1, None)),
            Engine::Regions => Some(with(3, None)),
            Engine::Quick => Some(with(u64::MAX, Some(1))),
            Engine::Lockstep(lockstep) => Some(JitConfig { lockstep: Some(lockstep), ..with(1, None) }),
            Engine::QuickLockstep(lockstep) => {
                Some(JitConfig { lockstep: Some(lockstep), ..with(u64::MAX, Some(1)) })
            }
            Engine::Mistaken => Some(JitConfig {
                lockstep: Some(Lockstep::Units),
                mistake: Some((Op::add, Op::sub)),
                ..with(1, None)
            }),
        }
    }
}

/// Why [`Bare::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The program stored to its exit word.
    Done,
    /// It trapped into M-mode: `mcause`, `mepc` and `mtval` say how.
    Trapped,
    /// It called the built-in SBI.
    SbiCall,
    /// In lock-step: generated code did something else than the interpreter.
    Diverged,
    /// It ran for longer than any test does.
    Hung,
}

/// The machine.
pub struct Bare {
    /// Guest memory.
    pub memory: Arc<AddressSpace>,
    /// Ports, clock and timers of the harts.
    pub cluster: Arc<Cluster>,
    /// The harts.
    pub harts: Vec<Hart>,
    exits: Arc<Exits>,
}

/// The exit words, as a device.
struct Exits {
    cluster: Arc<Cluster>,
    /// What each hart has said since it was last asked.
    said: Vec<AtomicU8>,
    /// When each hart that runs has run for too long.
    deadlines: Vec<Mutex<Option<Instant>>>,
}

const NOTHING: u8 = 0;
const DONE: u8 = 1;
const TRAPPED: u8 = 2;

impl Bus for Exits {
    fn read(&self, gpa: u64, _: u8) -> Result<u64, BusError> {
        Err(BusError { gpa })
    }

    fn write(&self, gpa: u64, size: u8, _: u64) -> Result<(), BusError> {
        let hart = (gpa / EXIT_WORDS) as usize;
        let said = self.said.get(hart).filter(|_| size == 8).ok_or(BusError { gpa })?;
        said.store(if gpa.is_multiple_of(EXIT_WORDS) { DONE } else { TRAPPED }, SeqCst);
        self.cluster.request_exit(hart);
        Ok(())
    }
}

impl Bare {
    /// A machine with `harts` harts and `ram` bytes (whole pages) from [`RAM`] on.
    pub fn new(engine: Engine, cpu: &CpuConfig, harts: usize, ram: u64) -> Bare {
        let range = RAM..RAM + ram;
        // Room on both sides, so that addresses around RAM are absent and not beyond the space.
        let memory = AddressSpace::new(RAM - 16 * PAGE..range.end + 16 * PAGE).expect("a small space");
        memory.map(range, Backend::Linear { huge: false }, Perm::RWX).expect("nothing is mapped yet");
        let memory = Arc::new(memory);
        let cluster = Cluster::new(harts, Clock::manual());
        memory.tracker().set_listener(cluster.clone());
        let said = (0..harts).map(|_| AtomicU8::new(NOTHING)).collect();
        let deadlines = (0..harts).map(|_| Mutex::new(None)).collect();
        let exits = Arc::new(Exits { cluster: cluster.clone(), said, deadlines });
        let watched = Arc::downgrade(&exits);
        std::thread::spawn(move || watch(watched));
        let jit =
            engine.jit().map(|jit| Jit::start(jit, None, &memory, &cluster).expect("a host for the JIT"));
        let hart = |id| {
            let hart = Hart::new(id, cpu, memory.clone(), exits.clone(), cluster.clone());
            jit.iter().fold(hart, |hart, jit| hart.with_jit(jit.clone()))
        };
        let harts = (0..harts).map(hart).collect();
        Bare { memory, cluster, harts, exits }
    }

    /// RAM that a test may use: all but the page of the handlers.
    pub fn ram(&self) -> Range<u64> {
        RAM..self.memory.range().end - 17 * PAGE
    }

    /// Copies `bytes` to `gpa`.
    pub fn load(&self, gpa: u64, bytes: &[u8]) {
        self.memory.write(gpa, bytes).expect("the test fits its RAM");
    }

    /// Instructions that lock-step has compared on hart 0.
    pub fn compared(&self) -> u64 {
        self.cluster.port(0).tally().compared
    }

    /// Resets hart `id` and puts it at `pc` in `mode`, with all traps going to the handler, FP registers
    /// on (and dirty, so that no instruction changes `mstatus` by using them) and all memory open.
    pub fn start(&mut self, id: usize, pc: u64, mode: Priv) {
        // The wait ends the block, so that as many instructions retire in every engine.
        let handler = self.ram().end + id as u64 * 64;
        let out = EXIT_WORDS * id as u64 + 8;
        let code = assemble(handler, &format!("sd x0, {out}(x0); wfi; j .")).expect("three instructions");
        self.load(handler, &code.bytes);
        let hart = &mut self.harts[id];
        hart.start(Entry { pc, a0: 0, a1: 0, a2: 0, mode }, false);
        hart.core_mut().with_csr(|csr| {
            csr.mtvec = handler;
            csr.mstatus |= status::FS;
            csr.pmp.open();
        });
    }

    /// Goes on at `pc` in `mode`, everything else being as it is.
    pub fn resume(&mut self, id: usize, pc: u64, mode: Priv) {
        let core = self.harts[id].core_mut();
        core.with_csr(|csr| csr.prv = mode);
        core.set_pc(pc);
    }

    /// Runs hart `id` until it stops.
    pub fn run(&mut self, id: usize) -> Stopped {
        run(&mut self.harts[id], &self.exits)
    }

    /// Runs all harts, each on a thread of its own, until every one has stopped.
    pub fn run_all(&mut self) -> Vec<Stopped> {
        let exits = &self.exits;
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                self.harts.iter_mut().map(|hart| scope.spawn(move || run(hart, exits))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a hart does not panic")).collect()
        })
    }
}

/// Has harts that run for longer than [`PATIENCE`] leave, for as long as there are any.
fn watch(exits: Weak<Exits>) {
    while let Some(exits) = exits.upgrade() {
        for (hart, deadline) in exits.deadlines.iter().enumerate() {
            if deadline.lock().is_some_and(|deadline| deadline < Instant::now()) {
                exits.cluster.request_exit(hart);
            }
        }
        drop(exits);
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Runs `hart` until it says something at its exit word, or for too long.
fn run(hart: &mut Hart, exits: &Exits) -> Stopped {
    let id = hart.core().id();
    exits.said[id].store(NOTHING, SeqCst);
    *exits.deadlines[id].lock() = Some(Instant::now() + PATIENCE);
    let exit = hart.run();
    *exits.deadlines[id].lock() = None;
    match (exit, exits.said[id].load(SeqCst)) {
        (Exit::SbiCall, _) => Stopped::SbiCall,
        (Exit::Diverged, _) => Stopped::Diverged,
        (Exit::Requested, DONE) => Stopped::Done,
        (Exit::Requested, TRAPPED) => Stopped::Trapped,
        (Exit::Requested, _) => Stopped::Hung,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(harts: usize, source: &str) -> Bare {
        let bare = Bare::new(Engine::Interpreter, &CpuConfig::default(), harts, 16 * PAGE);
        bare.load(RAM, &assemble(RAM, source).expect("a good program").bytes);
        bare
    }

    #[test]
    fn a_program_ends_at_its_exit_word_with_its_registers() {
        let mut bare = machine(1, "li a0, 6; li a1, 7; mul a0, a0, a1; sd x0, 0(x0); j .");
        bare.start(0, RAM, Priv::User);
        assert_eq!(bare.run(0), Stopped::Done);
        assert_eq!(bare.harts[0].core().x(10), 42);
        assert_eq!(bare.harts[0].core().pc(), RAM + 16);
    }

    #[test]
    fn a_trap_ends_it_with_the_cause_and_can_be_resumed_behind() {
        let mut bare = machine(1, "li a0, 1; ecall; li a0, 2; sd x0, 0(x0); j .");
        bare.start(0, RAM, Priv::Supervisor);
        assert_eq!(bare.run(0), Stopped::Trapped);
        let csr = bare.harts[0].core().csr();
        assert_eq!((csr.mcause, csr.mepc), (9, RAM + 4));
        bare.resume(0, RAM + 8, Priv::Supervisor);
        assert_eq!(bare.run(0), Stopped::Done);
        assert_eq!(bare.harts[0].core().x(10), 2);
    }

    #[test]
    fn every_hart_of_a_machine_runs() {
        let program = "csrr t0, mhartid; la t1, sum; addi t0, t0, 1; amoadd.d x0, t0, (t1); ebreak
            .align 8; sum: .dword 0";
        let mut bare = machine(4, program);
        (0..4).for_each(|id| bare.start(id, RAM, Priv::Machine));
        assert_eq!(bare.run_all(), [Stopped::Trapped; 4]);
        let sum = assemble(RAM, program).expect("a good program").label("sum").expect("a label");
        assert_eq!(bare.memory.read_u64(sum), Ok(10));
    }
}
