//! Hart state management (SBI 3.0, chapter 9): which harts run, and the calls that change it.
//!
//! ```text
//!  stopped ──start()──► start pending ──the hart's thread──► started ◄──► suspended
//!     ▲                                                         │
//!     └──────────────── stop pending ◄──────stop()──────────────┘
//! ```
//! The thread of a hart makes the second half of each change, so that a hart which reads as stopped
//! executes nothing.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Answer, Call, Caller, Error, Resume};

const STARTED: u8 = 0;
const STOPPED: u8 = 1;
const START_PENDING: u8 = 2;
const STOP_PENDING: u8 = 3;
const SUSPENDED: u8 = 4;

/// One hart: its state as `sbi_hart_get_status` tells it, and where it shall start.
struct Slot {
    state: AtomicU8,
    entry: Mutex<Option<Resume>>,
}

/// One hart as a snapshot keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Its state, by the number of the SBI.
    pub state: u8,
    /// Where it was asked to start.
    pub entry: Option<Resume>,
}

impl SlotRecord {
    /// Whether a hart can be in this state.
    pub fn is_valid(&self) -> bool {
        (STARTED..=SUSPENDED).contains(&self.state)
    }
}

/// The states of all harts of a machine.
pub struct HartStates(Vec<Slot>);

impl HartStates {
    /// All harts stopped.
    pub fn new(count: usize) -> Self {
        let slot = || Slot { state: AtomicU8::new(STOPPED), entry: Mutex::new(None) };
        Self((0..count).map(|_| slot()).collect())
    }

    /// Back to all stopped, for a reset. Only while no hart runs.
    pub fn reset(&self) {
        for slot in &self.0 {
            *slot.entry.lock() = None;
            slot.state.store(STOPPED, Ordering::SeqCst);
        }
    }

    /// The states now. Only while no hart runs.
    pub fn save(&self) -> Vec<SlotRecord> {
        let record =
            |slot: &Slot| SlotRecord { state: slot.state.load(Ordering::SeqCst), entry: *slot.entry.lock() };
        self.0.iter().map(record).collect()
    }

    /// Takes over what was saved of as many harts. Only while no hart runs.
    pub fn restore(&self, records: &[SlotRecord]) {
        for (slot, record) in self.0.iter().zip(records) {
            *slot.entry.lock() = record.entry;
            slot.state.store(record.state, Ordering::SeqCst);
        }
    }

    /// Marks a hart as started; by its own thread, before it executes.
    pub fn begin(&self, hart: usize) {
        self.set(hart, STARTED);
    }

    /// Marks a hart as stopped; by its own thread, when it executes no more.
    pub fn end(&self, hart: usize) {
        self.set(hart, STOPPED);
    }

    /// Marks a hart as suspended; by its own thread.
    pub fn suspend(&self, hart: usize) {
        self.set(hart, SUSPENDED);
    }

    /// Takes the address at which a stopped hart was asked to start.
    pub fn take_start(&self, hart: usize) -> Option<Resume> {
        self.0.get(hart)?.entry.lock().take()
    }

    /// Whether a hart executes nothing and will not until asked.
    pub fn is_stopped(&self, hart: usize) -> bool {
        self.status(hart) == Some(STOPPED)
    }

    fn status(&self, hart: usize) -> Option<u8> {
        self.0.get(hart).map(|slot| slot.state.load(Ordering::SeqCst))
    }

    fn set(&self, hart: usize, state: u8) {
        if let Some(slot) = self.0.get(hart) {
            slot.state.store(state, Ordering::SeqCst);
        }
    }

    fn request_start(&self, hart: usize, entry: Resume) -> Result<(), Error> {
        let slot = self.0.get(hart).ok_or(Error::InvalidParam)?;
        let mut waiting = slot.entry.lock();
        slot.state
            .compare_exchange(STOPPED, START_PENDING, Ordering::SeqCst, Ordering::SeqCst)
            .map_err(|_| Error::AlreadyAvailable)?;
        *waiting = Some(entry);
        Ok(())
    }
}

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [first, second, third, ..] = call.args;
    match call.function {
        0 => start(first, Resume { pc: second, opaque: third }, caller).into(),
        1 => stop(caller),
        2 => status(first, caller).into(),
        3 => suspend(first as u32, Resume { pc: second, opaque: third }, caller),
        _ => Answer::Error(Error::NotSupported),
    }
}

fn start(hart: u64, entry: Resume, caller: &mut dyn Caller) -> Result<u64, Error> {
    let hart = index(hart, caller)?;
    check_entry(entry.pc, caller)?;
    caller.harts().request_start(hart, entry)?;
    caller.wake(hart);
    Ok(0)
}

fn stop(caller: &mut dyn Caller) -> Answer {
    caller.harts().set(caller.hart(), STOP_PENDING);
    Answer::Stop
}

fn status(hart: u64, caller: &mut dyn Caller) -> Result<u64, Error> {
    let hart = index(hart, caller)?;
    caller.harts().status(hart).map(u64::from).ok_or(Error::InvalidParam)
}

/// Types with bit 31 set forget the registers; those from 0x1000_0000 on belong to the platform, which
/// defines none.
fn suspend(kind: u32, resume: Resume, caller: &mut dyn Caller) -> Answer {
    match kind {
        0 => Answer::Suspend(None),
        0x8000_0000 => match check_entry(resume.pc, caller) {
            Ok(()) => Answer::Suspend(Some(resume)),
            Err(error) => Answer::Error(error),
        },
        1..0x1000_0000 | 0x8000_0001..0x9000_0000 => Answer::Error(Error::InvalidParam),
        _ => Answer::Error(Error::NotSupported),
    }
}

fn index(hart: u64, caller: &dyn Caller) -> Result<usize, Error> {
    usize::try_from(hart).ok().filter(|&hart| hart < caller.hart_count()).ok_or(Error::InvalidParam)
}

/// A hart can only go on at an instruction in RAM.
pub(super) fn check_entry(pc: u64, caller: &dyn Caller) -> Result<(), Error> {
    if pc.is_multiple_of(2) && caller.is_ram(pc, 2) { Ok(()) } else { Err(Error::InvalidAddress) }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Effect, Fake, RAM};
    use super::*;
    use crate::sbi::answer;

    const HSM: u32 = 0x0048_534d;

    #[test]
    fn a_hart_starts_once_and_stops() {
        let mut fake = Fake::new(2);
        let start = Fake::call(HSM, 0, &[1, RAM.start, 42]);
        let status = Fake::call(HSM, 2, &[1]);
        assert_eq!(answer(&status, &mut fake), Answer::Value(1));
        assert_eq!(answer(&start, &mut fake), Answer::Value(0));
        assert_eq!(fake.effects, [Effect::Wake(1)]);
        assert_eq!(answer(&status, &mut fake), Answer::Value(2));
        assert_eq!(answer(&start, &mut fake), Answer::Error(Error::AlreadyAvailable));
        assert_eq!(fake.states.take_start(1), Some(Resume { pc: RAM.start, opaque: 42 }));
        fake.states.begin(1);
        assert_eq!(answer(&status, &mut fake), Answer::Value(0));
        fake.hart = 1;
        assert_eq!(answer(&Fake::call(HSM, 1, &[]), &mut fake), Answer::Stop);
        assert_eq!(answer(&status, &mut fake), Answer::Value(3));
        fake.states.end(1);
        assert_eq!(answer(&start, &mut fake), Answer::Value(0));
    }

    #[test]
    fn bad_harts_and_addresses_are_refused() {
        let mut fake = Fake::new(2);
        for (args, error) in [
            ([2, RAM.start, 0], Error::InvalidParam),
            ([u64::MAX, RAM.start, 0], Error::InvalidParam),
            ([1, 0x1000_0000, 0], Error::InvalidAddress),
            ([1, RAM.end, 0], Error::InvalidAddress),
            ([1, RAM.start + 1, 0], Error::InvalidAddress),
        ] {
            assert_eq!(answer(&Fake::call(HSM, 0, &args), &mut fake), Answer::Error(error));
        }
        assert_eq!(answer(&Fake::call(HSM, 2, &[2]), &mut fake), Answer::Error(Error::InvalidParam));
    }

    #[test]
    fn kinds_of_suspension() {
        let mut fake = Fake::new(1);
        let resume = Resume { pc: RAM.start, opaque: 9 };
        for (kind, pc, expected) in [
            (0, 0, Answer::Suspend(None)),
            (0x8000_0000, RAM.start, Answer::Suspend(Some(resume))),
            (0x8000_0000, 0, Answer::Error(Error::InvalidAddress)),
            (1, 0, Answer::Error(Error::InvalidParam)),
            (0x8000_0001, 0, Answer::Error(Error::InvalidParam)),
            (0x1000_0000, 0, Answer::Error(Error::NotSupported)),
            (0x9000_0000, 0, Answer::Error(Error::NotSupported)),
        ] {
            assert_eq!(answer(&Fake::call(HSM, 3, &[kind, pc, 9]), &mut fake), expected, "{kind:#x}");
        }
    }
}
