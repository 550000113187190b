//! The devices of the machine: which there are, where they sit, and how all of them are reset.
//!
//! Disks take the virtio transports from the first on, in the order given; then come
//! the console and the entropy source. The transports left over are there too, empty, as kernels probe all of them.

use std::sync::Arc;

use vm_cpu::hart::Cluster;
use vm_devices::map::{self, Window};
use vm_devices::rtc::{HostWallClock, Rtc};
use vm_devices::virtio::{
    Access, Block, Disk, EmptySlot, Entropy, Version, VirtioConsole, VirtioDevice, VirtioMmio,
};
use vm_devices::{
    Clint, ConsoleBackend, DeviceTree, Generation, MmioBus, MmioDevice, Plic, Power, PowerEvents, Uart,
};

use vm_mmu::{AddressSpace, GuestMemory};

use super::MachineError;
use super::wires::ClusterWires;
use crate::cli::value::{Disk as DiskOption, Virtio};
use crate::config::MachineConfig;
use crate::console::Consoles;
use crate::snapshot::{CodecError, DeviceRecord, Keep, Reason};

/// Phandles of the nodes that others refer to; the harts' interrupt controllers come after them.
pub(super) const PLIC_PHANDLE: u32 = 1;
pub(super) const TEST_PHANDLE: u32 = 2;
const FIRST_FREE_PHANDLE: u32 = 3;

/// Phandle of a hart's interrupt controller.
pub(super) fn intc_phandle(hart: usize) -> u32 {
    FIRST_FREE_PHANDLE + hart as u32
}

/// A device as the machine keeps it.
trait Device: MmioDevice + DeviceTree {}
impl<T: MmioDevice + DeviceTree> Device for T {}

/// A device with its place.
struct Part {
    device: Arc<dyn Device>,
    window: Window,
    irq: Option<u32>,
    phandle: Option<u32>,
    reset: Box<dyn Fn() + Send + Sync>,
    /// Its name in a snapshot, and its state; `None` if it has none.
    kept: Option<(String, Arc<dyn Keep>)>,
}

/// A node of the device tree to be written.
pub(super) struct Node<'a> {
    pub device: &'a dyn DeviceTree,
    pub window: Window,
    pub irq: Option<u32>,
    pub phandle: Option<u32>,
}

/// All devices.
pub(super) struct Board {
    parts: Vec<Part>,
    uart: Arc<Uart>,
    plic: Arc<Plic>,
    generation: Arc<Generation>,
    disks: Vec<Arc<Disk>>,
    console: Option<Arc<VirtioMmio<GuestMemory, VirtioConsole>>>,
}

impl Board {
    /// All devices that `config` asks for. Opens the disks.
    pub fn new(
        config: &MachineConfig,
        memory: &AddressSpace,
        cluster: &Arc<Cluster>,
        consoles: &Consoles,
        power: Arc<dyn PowerEvents>,
    ) -> Result<Self, MachineError> {
        let mut board = Self::fixed(config.cpus, cluster, consoles.serial.clone(), power);
        board.add_virtio(config, consoles, &memory.memory())?;
        Ok(board)
    }

    /// The devices that every machine has.
    fn fixed(
        harts: usize,
        cluster: &Arc<Cluster>,
        console: Arc<dyn ConsoleBackend>,
        power: Arc<dyn PowerEvents>,
    ) -> Self {
        let wires = Arc::new(ClusterWires(cluster.clone()));
        let plic = Arc::new(Plic::new(harts, wires.clone()));
        let uart = Arc::new(Uart::new(console, plic.latching_line(map::UART_IRQ)));
        let rtc = Arc::new(Rtc::new(Arc::new(HostWallClock), plic.line(map::RTC_IRQ)));
        let clint = Arc::new(Clint::new(harts, wires.clone(), wires));
        let line = plic.latching_line(map::GENERATION_IRQ);
        let generation = Arc::new(Generation::new(Default::default(), line));
        let test = Arc::new(Power::new(power));
        let mut board = Self {
            parts: Vec::new(),
            uart: uart.clone(),
            plic: plic.clone(),
            generation: generation.clone(),
            disks: Vec::new(),
            console: None,
        };
        // The order in which they are saved and restored: the UART repeats its level as an event, which
        // the PLIC must not take for a new one; the others only say again what the PLIC knows, or add to it.
        board.add_kept("uart", uart, map::UART, Some(map::UART_IRQ), None, Uart::reset);
        board.add_kept("plic", plic, map::PLIC, None, Some(PLIC_PHANDLE), |_| ());
        board.add_kept("clint", clint, map::CLINT, None, None, Clint::reset);
        board.add_kept("rtc", rtc, map::RTC, Some(map::RTC_IRQ), None, Rtc::reset);
        let (window, irq) = (map::GENERATION, map::GENERATION_IRQ);
        board.add_kept("generation", generation, window, Some(irq), None, Generation::reset);
        board.add(test, map::TEST, None, Some(TEST_PHANDLE), |_| ());
        board
    }

    /// Adds a device with a state, which snapshots call `name`.
    fn add_kept<D: Device + Keep + 'static>(
        &mut self,
        name: &str,
        device: Arc<D>,
        window: Window,
        irq: Option<u32>,
        phandle: Option<u32>,
        reset: fn(&D),
    ) {
        let keep: Arc<dyn Keep> = device.clone();
        let name = format!("{name}@{:x}", window.base);
        self.add(device, window, irq, phandle, reset).kept = Some((name, keep));
    }

    fn add<D: Device + 'static>(
        &mut self,
        device: Arc<D>,
        window: Window,
        irq: Option<u32>,
        phandle: Option<u32>,
        reset: fn(&D),
    ) -> &mut Part {
        let again = device.clone();
        let reset = Box::new(move || reset(&again));
        self.parts.push_mut(Part { device, window, irq, phandle, reset, kept: None })
    }

    fn add_virtio(
        &mut self,
        config: &MachineConfig,
        consoles: &Consoles,
        memory: &Arc<GuestMemory>,
    ) -> Result<(), MachineError> {
        let mut slots = (0..map::VIRTIO_SLOTS).filter_map(|n| Some((map::virtio(n)?, map::virtio_irq(n)?)));
        for option in &config.disks {
            let device = open_disk(option)?;
            self.disks.push(device.disk());
            let version = version(option.transport.unwrap_or(config.virtio));
            let (window, irq) = slots.next().ok_or(MachineError::NoSlot)?;
            self.add_transport("disk", version, device, memory, window, irq);
        }
        if let Some(console) = &consoles.virtio {
            let (window, irq) = slots.next().ok_or(MachineError::NoSlot)?;
            let device = VirtioConsole::new(console.clone());
            let transport =
                self.add_transport("console", version(config.virtio), device, memory, window, irq);
            self.console = Some(transport);
        }
        if config.rng {
            let (window, irq) = slots.next().ok_or(MachineError::NoSlot)?;
            self.add_transport("rng", version(config.virtio), Entropy::new(), memory, window, irq);
        }
        for (window, irq) in slots {
            let slot = Arc::new(EmptySlot { version: version(config.virtio) });
            self.add(slot, window, Some(irq), None, |_| ());
        }
        Ok(())
    }

    fn add_transport<D: VirtioDevice<GuestMemory>>(
        &mut self,
        name: &str,
        version: Version,
        device: D,
        memory: &Arc<GuestMemory>,
        window: Window,
        irq: u32,
    ) -> Arc<VirtioMmio<GuestMemory, D>> {
        let transport = VirtioMmio::new(version, device, memory.clone(), self.plic.line(irq));
        self.add_kept(name, transport.clone(), window, Some(irq), None, VirtioMmio::reset);
        transport
    }

    /// The bus with all devices on it.
    pub fn bus(&self) -> Result<MmioBus, MachineError> {
        let mut bus = MmioBus::new();
        for part in &self.parts {
            bus.attach(part.window.range(), part.device.clone())?;
        }
        Ok(bus)
    }

    /// Brings all devices to their reset state; the PLIC last, when its wires have settled.
    pub fn reset(&self) {
        for part in &self.parts {
            (part.reset)();
        }
        self.plic.reset();
    }

    /// Returns once no device works on another thread. No hart executes, and nothing is typed.
    pub fn quiesce(&self) {
        self.kept().for_each(|(_, device)| device.quiesce());
    }

    /// The states of all devices that have one. They are at rest.
    pub fn save(&self) -> Result<Vec<DeviceRecord>, (String, CodecError)> {
        self.kept()
            .map(|(name, device)| device.save(name).map_err(|error| (name.to_owned(), error)))
            .collect()
    }

    /// Takes over the states of the same devices. Memory is in place. An error comes with the device's name.
    pub fn restore(&self, records: &[DeviceRecord]) -> Result<(), (String, Reason)> {
        let own: Vec<&str> = self.kept().map(|(name, _)| name).collect();
        let saved: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
        if own != saved {
            let (expected, found) = (own.join(", "), saved.join(", "));
            return Err(("devices".to_owned(), Reason::Mismatch { expected, found }));
        }
        for ((name, device), record) in self.kept().zip(records) {
            device.restore(record).map_err(|reason| (name.to_owned(), reason))?;
        }
        Ok(())
    }

    /// Goes on with what was waiting when the states were saved.
    pub fn resume(&self) {
        self.kept().for_each(|(_, device)| device.resume());
    }

    fn kept(&self) -> impl Iterator<Item = (&str, &dyn Keep)> {
        self.parts.iter().filter_map(|part| part.kept.as_ref()).map(|(name, keep)| (name.as_str(), &**keep))
    }

    /// The disks, in the order of their options.
    pub fn disks(&self) -> &[Arc<Disk>] {
        &self.disks
    }

    /// The machine's generation id.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The serial port, which has to hear of input.
    pub fn uart(&self) -> &Arc<Uart> {
        &self.uart
    }

    /// The virtio console, if there is one, which has to hear of input too.
    pub fn console(&self) -> Option<&VirtioMmio<GuestMemory, VirtioConsole>> {
        self.console.as_deref()
    }

    /// The nodes of the device tree, in order of address.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        let mut nodes: Vec<Node> = self
            .parts
            .iter()
            .map(|&Part { ref device, window, irq, phandle, .. }| {
                let device: &dyn DeviceTree = &**device;
                Node { device, window, irq, phandle }
            })
            .collect();
        nodes.sort_by_key(|node| node.window.base);
        nodes
    }
}

fn version(layout: Virtio) -> Version {
    match layout {
        Virtio::V1 => Version::Legacy,
        Virtio::V2 => Version::Modern,
    }
}

/// An image without a single sector is a mistake, not a disk.
fn open_disk(option: &DiskOption) -> Result<Block, MachineError> {
    let access = match (option.read_only, option.overlay) {
        (true, _) => Access::Read,
        (false, true) => Access::Over(super::temporary::file().map_err(MachineError::Overlay)?),
        (false, false) => Access::Write,
    };
    let disk = Disk::open(&option.file, access)?;
    match disk.sectors() {
        0 => Err(MachineError::EmptyDisk(option.file.clone())),
        _ => Ok(Block::new(disk, option.id.as_deref().unwrap_or_default())),
    }
}
