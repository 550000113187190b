//! The machine: memory, harts and devices put together, and brought to the state it starts from.

mod ahead;
mod blob;
mod board;
mod error;
mod kept;
mod origin;
mod prefetch;
mod ram;
mod temporary;
mod tree;
mod warm;
mod wires;

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use vm_cpu::csr::Priv;
use vm_cpu::hart::{Bus, Clock, Cluster, Entry as HartEntry, Hart};
use vm_cpu::jit::{Jit, JitConfig};
use vm_devices::map::RAM_BASE;
use vm_devices::{PowerEvents, Uart};
use vm_mmu::{AddressSpace, Perm, Populate};

use crate::backfill::Place;
use crate::cli::value::Aot;
use crate::config::MachineConfig;
use crate::console::Consoles;
use crate::loader::{self, DynamicInfo, Entry, Htif, Loaded};
use crate::sbi::hsm::HartStates;
use board::Board;
pub use error::MachineError;
pub use kept::RestoreError;
use origin::{Log, Origin};
use tree::Chosen;
use wires::DeviceBus;

/// Room that firmware may use to grow the device tree in place.
const TREE_SLACK: u64 = 0x1_0000;
/// Alignment of the boot information for firmware.
const WORD: u64 = 8;

/// Memory, wires and devices of a machine; the harts themselves live on their threads.
pub struct Machine {
    config: MachineConfig,
    memory: Arc<AddressSpace>,
    cluster: Arc<Cluster>,
    bus: Arc<dyn Bus>,
    board: Board,
    harts: HartStates,
    jit: Option<Arc<Jit>>,
    /// Where the image of code is from that it runs, if it does.
    image: Option<ahead::Origin>,
    /// What it goes on from, if it does.
    origin: Mutex<Option<Origin>>,
    /// What was written to since it was saved, if it was.
    log: Mutex<Option<Log>>,
    /// Held while input from outside is handed to devices.
    input: Mutex<()>,
}

/// How each hart starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// By hart; `None` waits for the built-in SBI to start it.
    pub entries: Vec<Option<HartEntry>>,
    /// Whether the built-in SBI answers calls from S-mode.
    pub sbi: bool,
    /// Host-target interface of a bare program.
    pub htif: Option<Htif>,
}

impl Machine {
    /// Puts a machine together. Nothing is loaded yet.
    pub fn assemble(
        config: MachineConfig,
        consoles: &Consoles,
        power: Arc<dyn PowerEvents>,
    ) -> Result<Self, MachineError> {
        let ram = RAM_BASE..RAM_BASE + config.memory;
        let memory = AddressSpace::new(ram.clone())?;
        memory.map(ram, ram::zeros(&config)?, Perm::RWX)?;
        let cluster = Cluster::new(config.cpus, Clock::host());
        memory.tracker().set_listener(cluster.clone());
        let board = Board::new(&config, &memory, &cluster, consoles, power)?;
        if let Some(id) = random() {
            board.generation().renew(id);
            board.generation().reset();
        }
        let bus = Arc::new(DeviceBus(board.bus()?));
        let harts = HartStates::new(config.cpus);
        let memory = Arc::new(memory);
        let only_new = config.profile.is_none();
        let profile = !only_new || config.aot == Some(Aot::Auto);
        let (loaded, image) = ahead::load(&config).map(ahead::Chosen::into_parts).unzip();
        let canary = image.as_ref().and_then(|image| image.canary);
        let jit = config
            .jit
            .map(|jit| Jit::start(JitConfig { profile, only_new, canary, ..jit }, loaded, &memory, &cluster));
        let jit = jit.transpose()?;
        let (origin, log, input) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { config, memory, cluster, bus, board, harts, jit, image, origin, log, input })
    }

    /// What the machine was asked to be.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// Wires, clock and timers of the harts.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Guest-physical memory.
    pub fn memory(&self) -> &Arc<AddressSpace> {
        &self.memory
    }

    /// Which harts run, as the built-in SBI knows it.
    pub fn harts(&self) -> &HartStates {
        &self.harts
    }

    /// The serial port has input again.
    pub fn serial_ready(&self) {
        let _handing = self.input.lock();
        self.board.uart().input_ready();
    }

    /// The serial port.
    pub fn uart(&self) -> &Arc<Uart> {
        self.board.uart()
    }

    /// The virtio console has input again.
    pub fn virtio_console_ready(&self) {
        let _handing = self.input.lock();
        if let Some(console) = self.board.console() {
            console.input_ready();
        }
    }

    /// A hart, for its thread.
    pub fn hart(&self, id: usize) -> Hart {
        let hart =
            Hart::new(id, &self.config.cpu, self.memory.clone(), self.bus.clone(), self.cluster.clone());
        match &self.jit {
            Some(jit) => hart.with_jit(jit.clone()),
            None => hart,
        }
    }

    /// The optimising engine, if it is in use.
    pub fn jit(&self) -> Option<&Arc<Jit>> {
        self.jit.as_ref()
    }

    /// Lets what a hart tries and takes back be seen by no device: they are at rest when one asks.
    pub fn hide_trials(self: &Arc<Self>) {
        let machine = Arc::downgrade(self);
        self.cluster.set_quieten(Box::new(move || {
            if let Some(machine) = machine.upgrade() {
                machine.board.quiesce();
            }
        }));
    }

    /// Notes what this run has shown of its image, and has a better one made for the next if that is wanted.
    /// The harts have ended.
    pub fn settle_image(&self) {
        let Some(jit) = &self.jit else { return };
        let steps = (0..self.config.cpus).map(|hart| self.cluster.port(hart).tally().steps).sum();
        self.image.iter().for_each(|image| image.settle(jit.quarantined(), steps));
        if self.config.aot == Some(Aot::Auto)
            && let Some(profile) = jit.profile()
            && let Err(error) = Place::of(&self.config).and_then(|place| place.feed(&profile))
        {
            tracing::warn!(%error, "no image is made for the next run");
        }
    }

    /// Brings memory and devices to the state after power-on, and loads the payload. Only while no
    /// hart executes.
    pub fn power_on(&self) -> Result<Start, MachineError> {
        self.board.reset();
        self.harts.reset();
        self.forget_posted();
        self.set_clock(0);
        self.empty_memory()?;
        if let Some(jit) = &self.jit {
            jit.forget();
        }
        let (loaded, tree) = self.load(Chosen { seed: random(), ..Chosen::default() })?;
        let info = self.place_boot_data(&loaded, &tree)?;
        Ok(self.start(&loaded, info))
    }

    /// Software interrupts that no hart has taken in are void.
    fn forget_posted(&self) {
        for hart in 0..self.config.cpus {
            self.cluster.port(hart).take_software();
        }
    }

    /// Makes all of memory zeros.
    fn empty_memory(&self) -> Result<(), MachineError> {
        self.forget_log();
        match self.origin.lock().take() {
            None => self.memory.clear(self.ram())?,
            Some(_) => {
                self.memory.unmap(self.ram())?;
                self.map_zeros()?;
            }
        }
        self.settle_memory(Populate::Write)
    }

    /// The device tree that the guest would get.
    pub fn device_tree(&self) -> Result<Vec<u8>, MachineError> {
        Ok(self.load(Chosen::default())?.1)
    }

    /// Makes the clock go on from `ticks`.
    pub fn set_clock(&self, ticks: u64) {
        self.cluster.clock().set(ticks);
        self.cluster.clock_changed();
    }

    fn ram(&self) -> Range<u64> {
        RAM_BASE..RAM_BASE + self.config.memory
    }

    /// Loads the payload and makes the device tree for it. The tree's size does not depend on the
    /// addresses in it, so a first one says how much room it needs.
    fn load(&self, mut chosen: Chosen) -> Result<(Loaded, Vec<u8>), MachineError> {
        chosen.bootargs.clone_from(&self.config.append);
        chosen.initrd = self.config.payload.initrd.as_ref().map(|_| 0..0);
        let room = self.tree(&chosen)?.len() as u64 + TREE_SLACK + DynamicInfo::LEN;
        let loaded = loader::load(&self.config.payload, self.ram(), &self.memory, room)?;
        chosen.initrd.clone_from(&loaded.initrd);
        let tree = self.tree(&chosen)?;
        Ok((loaded, tree))
    }

    fn tree(&self, chosen: &Chosen) -> Result<Vec<u8>, MachineError> {
        match &self.config.dtb {
            Some(path) => Ok(loader::about(loader::Role::DeviceTree, path.display(), || {
                blob::with_chosen(&loader::read_small(path, self.config.memory)?, chosen)
            })?),
            None => {
                let MachineConfig { cpu, cpus, memory, .. } = &self.config;
                Ok(tree::generate(&self.board, cpu, *cpus, *memory, chosen)?)
            }
        }
    }

    /// Writes the device tree to the start of the place kept for it and the boot information for
    /// firmware to its end, so that the tree can grow between. Returns where the information lies.
    fn place_boot_data(&self, loaded: &Loaded, tree: &[u8]) -> Result<u64, MachineError> {
        self.memory.write(loaded.tree.start, tree)?;
        let info = (loaded.tree.end - DynamicInfo::LEN) & !(WORD - 1);
        if let Entry::Machine { next: Some(next_addr), .. } = loaded.entry {
            self.memory.write(info, &DynamicInfo { next_addr, boot_hart: 0 }.to_bytes())?;
        }
        Ok(info)
    }

    fn start(&self, loaded: &Loaded, info: u64) -> Start {
        let at =
            |hart: usize, pc, mode, a2| HartEntry { pc, a0: hart as u64, a1: loaded.tree.start, a2, mode };
        let harts = 0..self.config.cpus;
        let entries = match loaded.entry {
            Entry::Machine { pc, next } => {
                let a2 = next.map_or(0, |_| info);
                harts.map(|hart| Some(at(hart, pc, Priv::Machine, a2))).collect()
            }
            Entry::Supervisor { pc } => {
                harts.map(|hart| (hart == 0).then(|| at(hart, pc, Priv::Supervisor, 0))).collect()
            }
        };
        let sbi = matches!(loaded.entry, Entry::Supervisor { .. });
        Start { entries, sbi, htif: loaded.htif }
    }
}

/// Random bytes of the host; one that has none gives none.
fn random<const N: usize>() -> Option<[u8; N]> {
    use std::io::Read;
    let mut seed = [0; N];
    let source = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut seed));
    match source {
        Ok(()) => Some(seed),
        Err(error) => {
            tracing::warn!(%error, "/dev/urandom gives no random bytes; the guest goes on without");
            None
        }
    }
}
