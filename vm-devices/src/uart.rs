//! 16550A serial port.
//!
//! The register file and the receive FIFO are `vm-superio`'s [`Serial`]. Its
//! interrupt output is an edge, and reading its IIR forgets pending input, so
//! interrupts are derived here, as levels, from what the 16550 defines:
//!
//! ```text
//! line = IER.RDI  ∧ LSR.DR                         identification 4
//!      ∨ IER.THRI ∧ transmitter emptied, unread    identification 2
//! ```
//!
//! "Emptied" is set by a store to THR and by switching THRI on, and cleared by a
//! load of IIR that reports it. Input is pulled from the backend whenever the
//! FIFO is empty, so a guest that does not read holds it back.

use crate::bus::{MmioDevice, MmioError};
use crate::console::ConsoleBackend;
use crate::fdt::{DeviceTree, Site};
use crate::map::UART_CLOCK_HZ;
use crate::metrics::ConsoleCounters;
use crate::snapshot::{RestoreError, Snapshot};
use crate::wires::IrqLine;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use vm_fdt::{Error, FdtWriter};
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial, SerialState};

const DATA: u8 = 0;
const IER: u8 = 1;
/// IIR when loaded, FCR when stored.
const IIR_FCR: u8 = 2;
const LCR: u8 = 3;
const MCR: u8 = 4;
const LSR: u8 = 5;
const REGISTERS: u64 = 8;

const IER_RDI: u8 = 1;
const IER_THRI: u8 = 2;
const IER_BITS: u8 = 0xf;
const IIR_NONE: u8 = 1;
const IIR_THRI: u8 = 2;
const IIR_RDI: u8 = 4;
const IIR_FIFO: u8 = 0xc0;
const FCR_ENABLE: u8 = 1;
const FCR_CLEAR_RECEIVER: u8 = 2;
const LCR_DLAB: u8 = 0x80;
const MCR_LOOP: u8 = 0x10;
const LSR_DR: u8 = 1;
/// Size of the receive FIFO of `vm-superio`.
const FIFO: usize = 64;

/// What a snapshot keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UartState {
    /// Divisor latch.
    pub divisor: u16,
    /// Interrupt enable register.
    pub ier: u8,
    /// Line control register.
    pub lcr: u8,
    /// Line status register.
    pub lsr: u8,
    /// Modem control register.
    pub mcr: u8,
    /// Modem status register.
    pub msr: u8,
    /// Scratch register.
    pub scr: u8,
    /// The FIFOs are on.
    pub fifo: bool,
    /// The transmitter ran empty and the guest has not read so.
    pub emptied: bool,
    /// Received, not read.
    pub input: Vec<u8>,
}

/// The serial port.
pub struct Uart {
    core: Mutex<Core>,
    line: Arc<dyn IrqLine>,
    backend: Arc<dyn ConsoleBackend>,
    counters: Arc<ConsoleCounters>,
}

struct Core {
    serial: Serial<NoTrigger, NoEvents, Output>,
    ier: u8,
    fifo: bool,
    emptied: bool,
    /// The level the wire was last driven to.
    driven: bool,
}

/// `vm-superio`'s edge, which is not used.
struct NoTrigger;

impl Trigger for NoTrigger {
    type E = Infallible;
    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Where transmitted bytes go.
struct Output {
    backend: Arc<dyn ConsoleBackend>,
    counters: Arc<ConsoleCounters>,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.backend.output(bytes);
        self.counters.bytes_out.add(bytes.len() as u64);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Uart {
    /// A UART between `backend` and the interrupt `line`.
    pub fn new(backend: Arc<dyn ConsoleBackend>, line: Arc<dyn IrqLine>) -> Uart {
        let counters = Arc::new(ConsoleCounters::default());
        let output = Output { backend: backend.clone(), counters: counters.clone() };
        let serial = Serial::new(NoTrigger, output);
        let core = Core { serial, ier: 0, fifo: false, emptied: false, driven: false };
        Uart { core: Mutex::new(core), line, backend, counters }
    }

    /// The backend has input again.
    pub fn input_ready(&self) {
        let mut core = self.core.lock();
        self.pull(&mut core);
        self.drive(&mut core);
    }

    /// Bytes carried.
    pub fn counters(&self) -> &ConsoleCounters {
        &self.counters
    }

    /// Puts the registers into their reset state and drops unread input.
    pub fn reset(&self) {
        let mut core = self.core.lock();
        self.replace(&mut core, &SerialState::default(), false, false);
    }

    /// Moves input from the backend into an empty FIFO.
    fn pull(&self, core: &mut Core) {
        if core.data_ready() || core.serial.read(MCR) & MCR_LOOP != 0 {
            return;
        }
        let mut buf = [0; FIFO];
        let count = self.backend.input(&mut buf).min(FIFO);
        if count != 0 && core.serial.enqueue_raw_bytes(&buf[..count]).is_ok() {
            self.counters.bytes_in.add(count as u64);
        }
    }

    /// Puts another register file in place; the caller has checked its FIFO.
    fn replace(&self, core: &mut Core, registers: &SerialState, fifo: bool, emptied: bool) -> bool {
        let output = Output { backend: self.backend.clone(), counters: self.counters.clone() };
        let Ok(serial) = Serial::from_state(registers, NoTrigger, NoEvents, output) else { return false };
        *core = Core { serial, ier: registers.interrupt_enable, fifo, emptied, driven: core.driven };
        self.drive(core);
        true
    }

    /// Brings the wire to the level the registers ask for. A high level is repeated at each event.
    fn drive(&self, core: &mut Core) {
        let level = core.identification() != IIR_NONE;
        if level || core.driven {
            core.driven = level;
            self.line.set(level);
        }
    }
}

impl Core {
    fn data_ready(&mut self) -> bool {
        self.serial.read(LSR) & LSR_DR != 0
    }

    fn divisor_selected(&mut self) -> bool {
        self.serial.read(LCR) & LCR_DLAB != 0
    }

    /// The interrupt with the highest priority, as IIR shows it.
    fn identification(&mut self) -> u8 {
        if self.ier & IER_RDI != 0 && self.data_ready() {
            IIR_RDI
        } else if self.ier & IER_THRI != 0 && self.emptied {
            IIR_THRI
        } else {
            IIR_NONE
        }
    }

    fn read_iir(&mut self) -> u8 {
        let identification = self.identification();
        if identification == IIR_THRI {
            self.emptied = false;
        }
        identification | if self.fifo { IIR_FIFO } else { 0 }
    }

    fn write(&mut self, register: u8, value: u8) {
        match register {
            IIR_FCR => return self.write_fcr(value),
            IER if !self.divisor_selected() => {
                let switched_on = value & !self.ier & IER_THRI != 0;
                self.emptied = value & IER_THRI != 0 && (self.emptied || switched_on);
                self.ier = value & IER_BITS;
            }
            DATA if !self.divisor_selected() => self.emptied = true,
            _ => {}
        }
        // Neither the trigger nor the output can fail, and a full loop-back FIFO
        // drops the byte as the hardware does.
        let _ = self.serial.write(register, value);
    }

    fn write_fcr(&mut self, value: u8) {
        let fifo = value & FCR_ENABLE != 0;
        if value & FCR_CLEAR_RECEIVER != 0 || fifo != self.fifo {
            self.drop_input();
        }
        self.fifo = fifo;
    }

    fn drop_input(&mut self) {
        let lcr = self.serial.read(LCR);
        let _ = self.serial.write(LCR, lcr & !LCR_DLAB);
        while self.data_ready() {
            self.serial.read(DATA);
        }
        let _ = self.serial.write(LCR, lcr);
    }
}

/// The register at `offset`. An access of any width is one of its byte.
fn register(offset: u64, size: u8) -> Result<u8, MmioError> {
    if offset < REGISTERS { Ok(offset as u8) } else { Err(MmioError::Refused { offset, size }) }
}

impl MmioDevice for Uart {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        let register = register(offset, size)?;
        let mut core = self.core.lock();
        let value = match register {
            IIR_FCR => core.read_iir(),
            _ => core.serial.read(register),
        };
        if register == DATA {
            self.pull(&mut core);
        }
        if matches!(register, DATA | IIR_FCR) {
            self.drive(&mut core);
        }
        Ok(value.into())
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError> {
        let register = register(offset, size)?;
        let mut core = self.core.lock();
        core.write(register, value as u8);
        if matches!(register, IIR_FCR | MCR) {
            self.pull(&mut core);
        }
        self.drive(&mut core);
        Ok(())
    }
}

impl Snapshot for Uart {
    type State = UartState;
    const VERSION: u32 = 1;

    fn save(&self) -> UartState {
        let core = self.core.lock();
        let state = core.serial.state();
        UartState {
            divisor: u16::from_le_bytes([state.baud_divisor_low, state.baud_divisor_high]),
            ier: core.ier,
            lcr: state.line_control,
            lsr: state.line_status,
            mcr: state.modem_control,
            msr: state.modem_status,
            scr: state.scratch,
            fifo: core.fifo,
            emptied: core.emptied,
            input: state.in_buffer,
        }
    }

    fn restore(&self, state: UartState) -> Result<(), RestoreError> {
        let [low, high] = state.divisor.to_le_bytes();
        let received = state.input.len();
        let registers = SerialState {
            baud_divisor_low: low,
            baud_divisor_high: high,
            interrupt_enable: state.ier & IER_BITS,
            line_control: state.lcr,
            line_status: state.lsr & !LSR_DR | if received == 0 { 0 } else { LSR_DR },
            modem_control: state.mcr,
            modem_status: state.msr,
            scratch: state.scr,
            in_buffer: state.input,
            ..SerialState::default()
        };
        if self.replace(&mut self.core.lock(), &registers, state.fifo, state.emptied) {
            Ok(())
        } else {
            Err(RestoreError::Value { what: "length of the uart's input", found: received as u64 })
        }
    }
}

impl DeviceTree for Uart {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        let node = fdt.begin_node(&site.name("serial"))?;
        fdt.property_string("compatible", "ns16550a")?;
        site.reg(fdt)?;
        fdt.property_u32("clock-frequency", UART_CLOCK_HZ)?;
        site.interrupt(fdt)?;
        fdt.end_node(node)
    }
}

#[cfg(test)]
mod tests;
