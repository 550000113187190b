//! Goldfish real-time clock: wall-clock time in nanoseconds, and one alarm.
//!
//! ```text
//! 0x00 TIME_LOW      load latches TIME_HIGH; store moves the guest's clock
//! 0x04 TIME_HIGH
//! 0x08 ALARM_LOW     store arms the alarm
//! 0x0c ALARM_HIGH
//! 0x10 IRQ_ENABLED   0x14 CLEAR_ALARM   0x18 ALARM_STATUS   0x1c CLEAR_INTERRUPT
//! ```
//!
//! The guest's clock is the host's plus an offset, so it stays right through a
//! snapshot. The alarm is a thread that exists from the first alarm on and sleeps
//! until the next one is due.

use crate::bus::{MmioDevice, MmioError};
use crate::fdt::{DeviceTree, Site};
use crate::snapshot::{RestoreError, Snapshot};
use crate::wires::IrqLine;
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vm_fdt::{Error, FdtWriter};

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const ALARM_STATUS: u64 = 0x18;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// The alarm looks at the clock at least this often, because the host's wall
/// clock can be set while it sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A source of wall-clock time.
pub trait WallClock: Send + Sync {
    /// Nanoseconds since 1970 (UTC).
    fn nanos(&self) -> u64;
}

/// The host's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostWallClock;

impl WallClock for HostWallClock {
    fn nanos(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What a snapshot keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcState {
    /// Guest's time minus host's, modulo 2⁶⁴.
    pub offset: u64,
    /// What `TIME_HIGH` shows.
    pub time_high: u32,
    /// When the alarm is due, in the guest's time.
    pub alarm: u64,
    /// The alarm is armed.
    pub armed: bool,
    /// The alarm went off.
    pub pending: bool,
    /// The alarm may interrupt.
    pub irq_enabled: bool,
}

/// The clock.
pub struct Rtc {
    shared: Arc<Shared>,
    alarm: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    core: Mutex<Core>,
    /// The alarm was armed or moved, or the device is going away.
    changed: Condvar,
    clock: Arc<dyn WallClock>,
    line: Arc<dyn IrqLine>,
}

#[derive(Default)]
struct Core {
    state: RtcState,
    closing: bool,
}

impl Rtc {
    /// A clock that shows `clock` and interrupts through `line`.
    pub fn new(clock: Arc<dyn WallClock>, line: Arc<dyn IrqLine>) -> Rtc {
        let shared = Shared { core: Mutex::default(), changed: Condvar::new(), clock, line };
        Rtc { shared: Arc::new(shared), alarm: Mutex::new(None) }
    }

    /// Puts the registers into their reset state.
    pub fn reset(&self) {
        self.replace(RtcState::default());
    }

    fn replace(&self, state: RtcState) {
        let mut core = self.shared.core.lock();
        core.state = state;
        self.shared.settle(&mut core);
        drop(core);
        self.watch();
    }

    /// Makes the alarm's thread look at the new state.
    fn watch(&self) {
        let mut alarm = self.alarm.lock();
        if alarm.is_none() && self.shared.core.lock().state.armed {
            let shared = self.shared.clone();
            match thread::Builder::new().name("rtc-alarm".into()).spawn(move || shared.watch()) {
                Ok(thread) => *alarm = Some(thread),
                Err(error) => tracing::warn!(%error, "the clock's alarm will not go off: no thread"),
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Rtc {
    fn drop(&mut self) {
        self.shared.core.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(alarm) = self.alarm.get_mut().take() {
            // A panic there has already been reported; there is nobody to tell.
            let _ = alarm.join();
        }
    }
}

impl Shared {
    fn now(&self, core: &Core) -> u64 {
        self.clock.nanos().wrapping_add(core.state.offset)
    }

    /// Lets a due alarm go off and drives the wire.
    fn settle(&self, core: &mut Core) {
        if core.state.armed && core.state.alarm <= self.now(core) {
            core.state.armed = false;
            core.state.pending = true;
        }
        self.line.set(core.state.pending && core.state.irq_enabled);
    }

    /// The alarm's thread.
    fn watch(&self) {
        let mut core = self.core.lock();
        while !core.closing {
            self.settle(&mut core);
            self.sleep(&mut core);
        }
    }

    fn sleep(&self, core: &mut MutexGuard<'_, Core>) {
        if core.state.armed {
            let left = Duration::from_nanos(core.state.alarm.saturating_sub(self.now(core)));
            self.changed.wait_for(core, left.min(LONGEST_SLEEP));
        } else {
            self.changed.wait(core);
        }
    }
}

fn check_access(offset: u64, size: u8) -> Result<(), MmioError> {
    if size == 4 && offset.is_multiple_of(4) { Ok(()) } else { Err(MmioError::Refused { offset, size }) }
}

fn with_low(whole: u64, low: u64) -> u64 {
    whole & !0xffff_ffff | low
}

fn with_high(whole: u64, high: u64) -> u64 {
    whole & 0xffff_ffff | high << 32
}

impl MmioDevice for Rtc {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        check_access(offset, size)?;
        let mut core = self.shared.core.lock();
        let state = core.state;
        Ok(match offset {
            TIME_LOW => {
                let now = self.shared.now(&core);
                core.state.time_high = (now >> 32) as u32;
                now & 0xffff_ffff
            }
            TIME_HIGH => state.time_high.into(),
            ALARM_LOW => state.alarm & 0xffff_ffff,
            ALARM_HIGH => state.alarm >> 32,
            IRQ_ENABLED => state.irq_enabled.into(),
            ALARM_STATUS => state.armed.into(),
            _ => 0,
        })
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError> {
        check_access(offset, size)?;
        let value = value & 0xffff_ffff;
        let mut core = self.shared.core.lock();
        let now = self.shared.now(&core);
        let state = &mut core.state;
        let move_clock = |state: &mut RtcState, to: u64| {
            state.offset = state.offset.wrapping_add(to.wrapping_sub(now));
        };
        match offset {
            TIME_LOW => move_clock(state, with_low(now, value)),
            TIME_HIGH => move_clock(state, with_high(now, value)),
            ALARM_LOW => {
                state.alarm = with_low(state.alarm, value);
                state.armed = true;
            }
            ALARM_HIGH => state.alarm = with_high(state.alarm, value),
            IRQ_ENABLED => state.irq_enabled = value & 1 != 0,
            CLEAR_ALARM => state.armed = false,
            CLEAR_INTERRUPT => state.pending = false,
            _ => {}
        }
        self.shared.settle(&mut core);
        drop(core);
        self.watch();
        Ok(())
    }
}

impl Snapshot for Rtc {
    type State = RtcState;
    const VERSION: u32 = 1;

    fn save(&self) -> RtcState {
        self.shared.core.lock().state
    }

    fn restore(&self, state: RtcState) -> Result<(), RestoreError> {
        self.replace(state);
        Ok(())
    }
}

impl DeviceTree for Rtc {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        let node = fdt.begin_node(&site.name("rtc"))?;
        fdt.property_string("compatible", "google,goldfish-rtc")?;
        site.reg(fdt)?;
        site.interrupt(fdt)?;
        fdt.end_node(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wires::RecordedLine;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::time::Instant;

    #[derive(Default)]
    struct ManualWallClock(AtomicU64);

    impl WallClock for ManualWallClock {
        fn nanos(&self) -> u64 {
            self.0.load(SeqCst)
        }
    }

    const START: u64 = 0x1234_5678_9abc_def0;

    fn rig() -> (Rtc, Arc<ManualWallClock>, Arc<RecordedLine>) {
        let clock = Arc::new(ManualWallClock(AtomicU64::new(START)));
        let line = Arc::new(RecordedLine::default());
        (Rtc::new(clock.clone(), line.clone()), clock, line)
    }

    fn write(rtc: &Rtc, offset: u64, value: u64) {
        rtc.write(offset, 4, value).unwrap();
    }

    fn time(rtc: &Rtc) -> u64 {
        let low = rtc.read(TIME_LOW, 4).unwrap();
        rtc.read(TIME_HIGH, 4).unwrap() << 32 | low
    }

    fn arm(rtc: &Rtc, alarm: u64) {
        write(rtc, ALARM_HIGH, alarm >> 32);
        write(rtc, ALARM_LOW, alarm & 0xffff_ffff);
    }

    #[test]
    fn load_of_the_low_half_latches_the_high_half() {
        let (rtc, clock, _) = rig();
        assert_eq!(time(&rtc), START);
        assert_eq!(rtc.read(TIME_LOW, 4), Ok(START & 0xffff_ffff));
        clock.0.store(u64::MAX, SeqCst);
        assert_eq!(rtc.read(TIME_HIGH, 4), Ok(START >> 32));
    }

    #[test]
    fn guest_sets_its_own_time() {
        let (rtc, clock, _) = rig();
        write(&rtc, TIME_HIGH, 5);
        write(&rtc, TIME_LOW, 6);
        assert_eq!(time(&rtc), 5 << 32 | 6);
        clock.0.store(START + 100, SeqCst);
        assert_eq!(time(&rtc), 5 << 32 | 106);
    }

    #[test]
    fn alarm_in_the_past_goes_off_at_once_and_is_cleared() {
        let (rtc, _, line) = rig();
        arm(&rtc, START);
        assert!(!line.level(), "interrupts are off");
        write(&rtc, IRQ_ENABLED, 1);
        assert!(line.level());
        assert_eq!(rtc.read(ALARM_STATUS, 4), Ok(0));
        write(&rtc, CLEAR_INTERRUPT, 1);
        assert!(!line.level());
    }

    #[test]
    fn alarm_goes_off_when_it_is_due() {
        let line = Arc::new(RecordedLine::default());
        let rtc = Rtc::new(Arc::new(HostWallClock), line.clone());
        write(&rtc, IRQ_ENABLED, 1);
        let begin = Instant::now();
        arm(&rtc, HostWallClock.nanos() + 20_000_000);
        assert_eq!(rtc.read(ALARM_STATUS, 4), Ok(1));
        while !line.level() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the alarm is late");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(begin.elapsed() >= Duration::from_millis(19));
    }

    #[test]
    fn cleared_alarm_does_not_go_off() {
        let (rtc, clock, line) = rig();
        write(&rtc, IRQ_ENABLED, 1);
        arm(&rtc, START + 1000);
        write(&rtc, CLEAR_ALARM, 1);
        clock.0.store(START + 2000, SeqCst);
        write(&rtc, IRQ_ENABLED, 1);
        assert!(!line.level());
    }

    #[test]
    fn restored_alarm_is_still_armed() {
        let (saved, ..) = rig();
        write(&saved, TIME_HIGH, 1);
        write(&saved, IRQ_ENABLED, 1);
        arm(&saved, time(&saved) + 1000);
        let (fresh, clock, line) = rig();
        fresh.restore(saved.save()).unwrap();
        assert_eq!(time(&fresh), time(&saved));
        assert!(!line.level());
        clock.0.store(START + 1000, SeqCst);
        fresh.watch();
        while !line.level() {
            thread::yield_now();
        }
        fresh.reset();
        assert!(!line.level());
    }

    #[test]
    fn other_widths_fault_and_other_offsets_are_harmless() {
        let (rtc, ..) = rig();
        for (offset, size) in [(0, 1), (0, 8), (2, 4)] {
            assert!(rtc.read(offset, size).is_err() && rtc.write(offset, size, 1).is_err());
        }
        write(&rtc, 0x20, 1);
        assert_eq!(rtc.read(0x20, 4), Ok(0));
        assert_eq!(rtc.read(0xffc, 4), Ok(0));
    }
}
