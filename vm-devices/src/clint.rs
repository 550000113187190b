//! Core-local interruptor: software interrupts, `mtimecmp` and `mtime`.
//!
//! ```text
//! 0x0000 + 4·hart  msip      bit 0 drives the hart's MSIP
//! 0x4000 + 8·hart  mtimecmp  MTIP is high while mtime ≥ mtimecmp
//! 0xbff8           mtime     10 MHz, writable
//! ```
//!
//! The device compares nothing itself: it hands `mtimecmp` to the harts, which
//! know when they must wake. Each hart's registers have a lock of their own, held
//! while the wire is driven, so register and wire never disagree.

use crate::bus::{MmioDevice, MmioError};
use crate::fdt::{DeviceTree, Site, compatible};
use crate::metrics::Counter;
use crate::snapshot::{RestoreError, Snapshot};
use crate::wires::{Clock, HartLine, HartLines};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm_fdt::{Error, FdtWriter};

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;
/// First byte after the last `mtimecmp` the layout has room for.
const MTIMECMP_END: u64 = MTIME;

/// The registers of one hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HartTimer {
    /// Software interrupt pending.
    pub msip: bool,
    /// Tick from which the timer interrupt is pending.
    pub mtimecmp: u64,
}

impl HartTimer {
    /// No software interrupt, and a timer that is never due.
    const RESET: HartTimer = HartTimer { msip: false, mtimecmp: u64::MAX };
}

/// What a snapshot keeps. `mtime` belongs to the machine's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClintState {
    /// One entry per hart.
    pub harts: Vec<HartTimer>,
}

/// The CLINT.
pub struct Clint {
    harts: Vec<Mutex<HartTimer>>,
    lines: Arc<dyn HartLines>,
    clock: Arc<dyn Clock>,
    ipis: Counter,
}

/// What lies at an offset.
enum Register {
    Msip(usize),
    Mtimecmp(usize),
    Mtime,
    Nothing,
}

impl Clint {
    /// A CLINT for `harts` harts.
    pub fn new(harts: usize, lines: Arc<dyn HartLines>, clock: Arc<dyn Clock>) -> Clint {
        let harts = (0..harts).map(|_| Mutex::new(HartTimer::RESET)).collect();
        Clint { harts, lines, clock, ipis: Counter::default() }
    }

    /// Software interrupts raised.
    pub fn ipis(&self) -> &Counter {
        &self.ipis
    }

    /// Puts every hart's registers into their reset state.
    pub fn reset(&self) {
        for hart in 0..self.harts.len() {
            self.set(hart, HartTimer::RESET);
        }
    }

    fn register(&self, offset: u64) -> Register {
        let known = |hart: u64| usize::try_from(hart).ok().filter(|&hart| hart < self.harts.len());
        match offset {
            0..MTIMECMP => known(offset / 4).map_or(Register::Nothing, Register::Msip),
            MTIMECMP..MTIMECMP_END => {
                known((offset - MTIMECMP) / 8).map_or(Register::Nothing, Register::Mtimecmp)
            }
            MTIME..=0xbfff => Register::Mtime,
            _ => Register::Nothing,
        }
    }

    fn set(&self, hart: usize, to: HartTimer) {
        let mut now = self.harts[hart].lock();
        *now = to;
        self.lines.set(hart, HartLine::Msip, to.msip);
        self.lines.set_mtimecmp(hart, to.mtimecmp);
    }

    fn set_mtime(&self, ticks: u64) {
        self.clock.set_ticks(ticks);
        for (hart, timer) in self.harts.iter().enumerate() {
            self.lines.set_mtimecmp(hart, timer.lock().mtimecmp);
        }
    }
}

impl MmioDevice for Clint {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        check_access(offset, size)?;
        Ok(match self.register(offset) {
            Register::Msip(hart) => self.harts[hart].lock().msip.into(),
            Register::Mtimecmp(hart) => part(self.harts[hart].lock().mtimecmp, offset, size),
            Register::Mtime => part(self.clock.ticks(), offset, size),
            Register::Nothing => 0,
        })
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError> {
        check_access(offset, size)?;
        match self.register(offset) {
            Register::Msip(hart) => {
                let mut timer = self.harts[hart].lock();
                timer.msip = value & 1 != 0;
                self.ipis.add(timer.msip.into());
                self.lines.set(hart, HartLine::Msip, timer.msip);
            }
            Register::Mtimecmp(hart) => {
                let mut timer = self.harts[hart].lock();
                timer.mtimecmp = with_part(timer.mtimecmp, offset, size, value);
                self.lines.set_mtimecmp(hart, timer.mtimecmp);
            }
            Register::Mtime => self.set_mtime(with_part(self.clock.ticks(), offset, size, value)),
            Register::Nothing => {}
        }
        Ok(())
    }
}

/// Aligned words everywhere, aligned double words in the timer half.
fn check_access(offset: u64, size: u8) -> Result<(), MmioError> {
    let width = matches!((size, offset), (4, _) | (8, MTIMECMP..));
    if width && offset.is_multiple_of(size.into()) {
        Ok(())
    } else {
        Err(MmioError::Refused { offset, size })
    }
}

/// The bytes of `whole` that an access of `size` at `offset` loads.
fn part(whole: u64, offset: u64, size: u8) -> u64 {
    match (size, offset & 4) {
        (8, _) => whole,
        (_, 0) => whole & 0xffff_ffff,
        _ => whole >> 32,
    }
}

/// `whole` after an access of `size` at `offset` stored `value`.
fn with_part(whole: u64, offset: u64, size: u8, value: u64) -> u64 {
    let low = value & 0xffff_ffff;
    match (size, offset & 4) {
        (8, _) => value,
        (_, 0) => whole & !0xffff_ffff | low,
        _ => whole & 0xffff_ffff | low << 32,
    }
}

impl Snapshot for Clint {
    type State = ClintState;
    const VERSION: u32 = 1;

    fn save(&self) -> ClintState {
        ClintState { harts: self.harts.iter().map(|timer| *timer.lock()).collect() }
    }

    fn restore(&self, state: ClintState) -> Result<(), RestoreError> {
        RestoreError::check_count("harts of the clint", self.harts.len(), state.harts.len())?;
        for (hart, &timer) in state.harts.iter().enumerate() {
            self.set(hart, timer);
        }
        Ok(())
    }
}

impl DeviceTree for Clint {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        const MACHINE_SOFTWARE: u32 = 3;
        const MACHINE_TIMER: u32 = 7;
        let node = fdt.begin_node(&site.name("clint"))?;
        compatible(fdt, &["sifive,clint0", "riscv,clint0"])?;
        site.reg(fdt)?;
        site.hart_interrupts(fdt, &[MACHINE_SOFTWARE, MACHINE_TIMER])?;
        fdt.end_node(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wires::{ManualClock, RecordedLines};

    fn clint(harts: usize) -> (Clint, Arc<RecordedLines>, Arc<ManualClock>) {
        let (lines, clock) = (Arc::new(RecordedLines::new(harts)), Arc::new(ManualClock::default()));
        (Clint::new(harts, lines.clone(), clock.clone()), lines, clock)
    }

    #[test]
    fn msip_drives_the_line_of_its_hart() {
        let (clint, lines, _) = clint(2);
        clint.write(4, 4, 0xffff_ffff).unwrap();
        assert_eq!(clint.read(4, 4), Ok(1));
        assert_eq!(clint.ipis().get(), 1);
        assert!(lines.level(1, HartLine::Msip));
        assert!(!lines.level(0, HartLine::Msip));
        clint.write(4, 4, 2).unwrap();
        assert!(!lines.level(1, HartLine::Msip));
    }

    #[test]
    fn mtimecmp_is_written_whole_or_by_halves() {
        let (clint, lines, _) = clint(2);
        assert_eq!(clint.read(0x4008, 8), Ok(u64::MAX));
        clint.write(0x4008, 8, 0x1122_3344_5566_7788).unwrap();
        assert_eq!(lines.mtimecmp(1), 0x1122_3344_5566_7788);
        clint.write(0x4008, 4, 0xdead_beef).unwrap();
        clint.write(0x400c, 4, 0x1).unwrap();
        assert_eq!(clint.read(0x4008, 8), Ok(0x1_dead_beef));
        assert_eq!((clint.read(0x4008, 4), clint.read(0x400c, 4)), (Ok(0xdead_beef), Ok(1)));
        assert_eq!(lines.mtimecmp(1), 0x1_dead_beef);
    }

    #[test]
    fn mtime_shows_and_sets_the_clock() {
        let (clint, lines, clock) = clint(1);
        clint.write(0x4000, 8, 77).unwrap();
        clock.set_ticks(0x5_0000_0001);
        assert_eq!(clint.read(0xbff8, 8), Ok(0x5_0000_0001));
        assert_eq!((clint.read(0xbff8, 4), clint.read(0xbffc, 4)), (Ok(1), Ok(5)));
        let announced = lines.announcements();
        clint.write(0xbffc, 4, 9).unwrap();
        assert_eq!(clock.ticks(), 0x9_0000_0001);
        assert_eq!(lines.announcements(), announced + 1, "the timer is announced anew");
    }

    #[test]
    fn other_offsets_and_widths_are_harmless() {
        let (clint, lines, _) = clint(1);
        for offset in [4, 0x3ffc, 0x4008, 0xbff0, 0xc000, 0xfffc] {
            clint.write(offset, 4, u64::MAX).unwrap();
            assert_eq!(clint.read(offset, 4), Ok(0));
        }
        for (offset, size) in [(0, 1), (0, 8), (2, 4), (0x4004, 8), (0x4000, 2), (0xbff8, 1)] {
            assert!(clint.read(offset, size).is_err());
            assert!(clint.write(offset, size, 0).is_err());
        }
        assert!(!lines.level(0, HartLine::Msip));
    }

    #[test]
    fn restored_state_drives_the_lines() {
        let (saved, ..) = clint(2);
        saved.write(0, 4, 1).unwrap();
        saved.write(0x4008, 8, 123).unwrap();
        let (fresh, lines, _) = clint(2);
        fresh.restore(saved.save()).unwrap();
        assert_eq!(fresh.save(), saved.save());
        assert!(lines.level(0, HartLine::Msip));
        assert_eq!(lines.mtimecmp(1), 123);
        let (other, ..) = clint(3);
        assert!(matches!(
            other.restore(saved.save()),
            Err(RestoreError::Count { expected: 3, found: 2, .. })
        ));
        fresh.reset();
        assert!(!lines.level(0, HartLine::Msip));
        assert_eq!(lines.mtimecmp(1), u64::MAX);
    }
}
