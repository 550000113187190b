//! The devices of the machine: which there are, where they sit, and how all of them are reset.

use std::sync::Arc;

use vm_cpu::hart::Cluster;
use vm_devices::map::{self, Window};
use vm_devices::rtc::{HostWallClock, Rtc};
use vm_devices::{Clint, ConsoleBackend, DeviceTree, MmioBus, MmioDevice, Plic, Power, PowerEvents, Uart};

use super::MachineError;
use super::wires::ClusterWires;

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
}

impl Board {
    /// The devices that every machine has.
    pub fn new(
        harts: usize,
        cluster: &Arc<Cluster>,
        console: Arc<dyn ConsoleBackend>,
        power: Arc<dyn PowerEvents>,
    ) -> Self {
        let wires = Arc::new(ClusterWires(cluster.clone()));
        let plic = Arc::new(Plic::new(harts, wires.clone()));
        let uart = Arc::new(Uart::new(console, plic.line(map::UART_IRQ)));
        let rtc = Arc::new(Rtc::new(Arc::new(HostWallClock), plic.line(map::RTC_IRQ)));
        let clint = Arc::new(Clint::new(harts, wires.clone(), wires));
        let test = Arc::new(Power::new(power));
        let mut board = Self { parts: Vec::new(), uart: uart.clone() };
        board.add(test, map::TEST, None, Some(TEST_PHANDLE), |_| ());
        board.add(rtc, map::RTC, Some(map::RTC_IRQ), None, Rtc::reset);
        board.add(clint, map::CLINT, None, None, Clint::reset);
        board.add(uart, map::UART, Some(map::UART_IRQ), None, Uart::reset);
        // Last, so that its wires are settled when it is reset.
        board.add(plic, map::PLIC, None, Some(PLIC_PHANDLE), |plic| plic.reset());
        board
    }

    fn add<D: Device + 'static>(
        &mut self,
        device: Arc<D>,
        window: Window,
        irq: Option<u32>,
        phandle: Option<u32>,
        reset: fn(&D),
    ) {
        let again = device.clone();
        self.parts.push(Part { device, window, irq, phandle, reset: Box::new(move || reset(&again)) });
    }

    /// The bus with all devices on it.
    pub fn bus(&self) -> Result<MmioBus, MachineError> {
        let mut bus = MmioBus::new();
        for part in &self.parts {
            bus.attach(part.window.range(), part.device.clone())?;
        }
        Ok(bus)
    }

    /// Brings all devices to their reset state.
    pub fn reset(&self) {
        for part in &self.parts {
            (part.reset)();
        }
    }

    /// The serial port, which has to hear of input.
    pub fn uart(&self) -> &Arc<Uart> {
        &self.uart
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
