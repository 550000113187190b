//! Platform-level interrupt controller (RISC-V PLIC 1.0.0, SiFive layout).
//!
//! ```text
//! 0x00_0000 + 4·source     priority, 0..=7; 0 = never
//! 0x00_1000 + 4·word       pending bits, read only
//! 0x00_2000 + 0x80·context enable bits
//! 0x20_0000 + 0x1000·context       threshold
//! 0x20_0004 + 0x1000·context       claim (load), complete (store)
//! ```
//!
//! Each hart has two contexts, M then S. The registers and their rules are in
//! [`state`]; this module is the address decoding and the wires. Wires are driven
//! under the lock, and only when their level changes.

mod state;

pub use state::PlicState;

use crate::bus::{MmioDevice, MmioError};
use crate::fdt::{DeviceTree, Site, compatible};
use crate::map::PLIC_SOURCES;
use crate::metrics::Counter;
use crate::snapshot::{RestoreError, Snapshot};
use crate::wires::{HartLine, HartLines, IrqLine};
use parking_lot::Mutex;
use std::sync::Arc;
use vm_fdt::{Error, FdtWriter};

const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;
const THRESHOLD: u64 = 0;
const CLAIM: u64 = 4;

/// Contexts of a hart: M and S.
const CONTEXTS_PER_HART: usize = 2;

/// The PLIC.
pub struct Plic {
    core: Mutex<Core>,
    lines: Arc<dyn HartLines>,
    claims: Counter,
}

struct Core {
    state: PlicState,
    /// The level each context's wire was last driven to.
    driven: Vec<bool>,
}

/// What lies at an offset.
enum Register {
    Priority(usize),
    Pending(usize),
    Enable { context: usize, word: usize },
    Threshold(usize),
    Claim(usize),
    Nothing,
}

impl Plic {
    /// A PLIC for `harts` harts.
    pub fn new(harts: usize, lines: Arc<dyn HartLines>) -> Plic {
        let contexts = harts * CONTEXTS_PER_HART;
        let core = Core { state: PlicState::new(contexts), driven: vec![false; contexts] };
        Plic { core: Mutex::new(core), lines, claims: Counter::default() }
    }

    /// The wire of `source`.
    ///
    /// # Panics
    /// If there is no such source: sources are numbers from [`crate::map`].
    pub fn line(self: &Arc<Self>, source: u32) -> Arc<dyn IrqLine> {
        self.wire(source, false)
    }

    /// The wire of `source` for a device that repeats the level at each of its events. Completion does
    /// not look at the level again: teaching kernels leave the UART's transmitter interrupt
    /// unacknowledged, which would interrupt them for ever. QEMU's PLIC treats every wire like that.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn latching_line(self: &Arc<Self>, source: u32) -> Arc<dyn IrqLine> {
        self.wire(source, true)
    }

    fn wire(self: &Arc<Self>, source: u32, latching: bool) -> Arc<dyn IrqLine> {
        assert!(
            (1..PLIC_SOURCES).contains(&source),
            "expected a source in 1..{PLIC_SOURCES}, found {source}"
        );
        Arc::new(PlicLine { plic: self.clone(), source: source as usize, latching })
    }

    /// Interrupts claimed.
    pub fn claims(&self) -> &Counter {
        &self.claims
    }

    /// Puts the registers into their reset state. The levels of the wires stay:
    /// they are the devices' own.
    pub fn reset(&self) {
        let mut core = self.core.lock();
        core.state.reset();
        self.drive_all(&mut core);
    }

    fn drive_all(&self, core: &mut Core) {
        for context in 0..core.driven.len() {
            self.drive(core, context);
        }
    }

    /// Drives the wires that a change of `source` can have changed.
    fn drive_for(&self, core: &mut Core, source: usize) {
        for context in 0..core.driven.len() {
            if core.state.enables(context, source) {
                self.drive(core, context);
            }
        }
    }

    /// Brings the wire of `context` to the level the registers ask for.
    fn drive(&self, core: &mut Core, context: usize) {
        let level = core.state.interrupts(context);
        if level != core.driven[context] {
            core.driven[context] = level;
            let line =
                if context.is_multiple_of(CONTEXTS_PER_HART) { HartLine::Meip } else { HartLine::Seip };
            self.lines.set(context / CONTEXTS_PER_HART, line, level);
        }
    }

    fn claim(&self, core: &mut Core, context: usize) -> u32 {
        let Some(source) = core.state.claim(context) else { return 0 };
        self.drive_for(core, source);
        self.claims.add(1);
        source as u32
    }
}

impl Core {
    fn register(&self, offset: u64) -> Register {
        let word = |offset: u64| Some((offset / 4) as usize).filter(|&word| word < PlicState::WORDS);
        let context = |context: u64| Some(context as usize).filter(|&context| context < self.driven.len());
        let found = match offset {
            0..PENDING => {
                Some((offset / 4) as usize).filter(|&s| s < PLIC_SOURCES as usize).map(Register::Priority)
            }
            PENDING..ENABLE => word(offset - PENDING).map(Register::Pending),
            ENABLE..CONTEXT => {
                let (context, word) =
                    (context((offset - ENABLE) / ENABLE_STRIDE), word((offset - ENABLE) % ENABLE_STRIDE));
                context.zip(word).map(|(context, word)| Register::Enable { context, word })
            }
            CONTEXT.. => context((offset - CONTEXT) / CONTEXT_STRIDE).and_then(|context| {
                match (offset - CONTEXT) % CONTEXT_STRIDE {
                    THRESHOLD => Some(Register::Threshold(context)),
                    CLAIM => Some(Register::Claim(context)),
                    _ => None,
                }
            }),
        };
        found.unwrap_or(Register::Nothing)
    }
}

/// Only aligned words: anything else is an access fault.
fn check_access(offset: u64, size: u8) -> Result<(), MmioError> {
    if size == 4 && offset.is_multiple_of(4) { Ok(()) } else { Err(MmioError::Refused { offset, size }) }
}

impl MmioDevice for Plic {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        check_access(offset, size)?;
        let mut core = self.core.lock();
        let value = match core.register(offset) {
            Register::Priority(source) => core.state.priority[source].into(),
            Register::Pending(word) => core.state.pending[word],
            Register::Enable { context, word } => core.state.contexts[context].enable[word],
            Register::Threshold(context) => core.state.contexts[context].threshold.into(),
            Register::Claim(context) => self.claim(&mut core, context),
            Register::Nothing => 0,
        };
        Ok(value.into())
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError> {
        check_access(offset, size)?;
        let value = value as u32;
        let mut core = self.core.lock();
        match core.register(offset) {
            Register::Priority(source) => {
                core.state.set_priority(source, value);
                self.drive_for(&mut core, source);
            }
            Register::Enable { context, word } => {
                core.state.set_enable(context, word, value);
                self.drive(&mut core, context);
            }
            Register::Threshold(context) => {
                core.state.set_threshold(context, value);
                self.drive(&mut core, context);
            }
            Register::Claim(_) => {
                if core.state.complete(value) {
                    self.drive_for(&mut core, value as usize);
                }
            }
            Register::Pending(_) | Register::Nothing => {}
        }
        Ok(())
    }
}

struct PlicLine {
    plic: Arc<Plic>,
    source: usize,
    latching: bool,
}

impl IrqLine for PlicLine {
    fn set(&self, level: bool) {
        let mut core = self.plic.core.lock();
        let changed = match self.latching {
            true => core.state.latch(self.source, level),
            false => core.state.set_level(self.source, level),
        };
        if changed {
            self.plic.drive_for(&mut core, self.source);
        }
    }
}

impl Snapshot for Plic {
    type State = PlicState;
    const VERSION: u32 = 1;

    fn save(&self) -> PlicState {
        self.core.lock().state.clone()
    }

    fn restore(&self, state: PlicState) -> Result<(), RestoreError> {
        let mut core = self.core.lock();
        state.check(core.driven.len())?;
        core.state = state;
        self.drive_all(&mut core);
        Ok(())
    }
}

impl DeviceTree for Plic {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        const MACHINE_EXTERNAL: u32 = 11;
        const SUPERVISOR_EXTERNAL: u32 = 9;
        let node = fdt.begin_node(&site.name("plic"))?;
        compatible(fdt, &["sifive,plic-1.0.0", "riscv,plic0"])?;
        site.reg(fdt)?;
        site.own_phandle(fdt)?;
        site.hart_interrupts(fdt, &[MACHINE_EXTERNAL, SUPERVISOR_EXTERNAL])?;
        fdt.property_null("interrupt-controller")?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_u32("#address-cells", 0)?;
        fdt.property_u32("riscv,ndev", PLIC_SOURCES - 1)?;
        fdt.end_node(node)
    }
}

#[cfg(test)]
mod tests;
