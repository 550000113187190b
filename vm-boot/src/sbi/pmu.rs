//! Performance counters (SBI 3.0, chapter 11): the two fixed ones, cycles and retired instructions.
//!
//! Counter numbers are offsets from the `cycle` CSR, so 1 is a hole where `time` sits. There are no
//! firmware counters and no snapshots; both are answered as the specification says.

use serde::{Deserialize, Serialize};

use super::{Answer, Call, Caller, Error};

const COUNTERS: u64 = 3;
/// Counter, its event (type 0: general hardware), its M-mode CSR.
const FIXED: [Fixed; 2] =
    [Fixed { index: 0, event: 1, csr: 0xb00 }, Fixed { index: 2, event: 2, csr: 0xb02 }];
const CYCLE: u64 = 0xc00;
const MCOUNTINHIBIT: u16 = 0x320;

const CONFIG_SKIP_MATCH: u64 = 1 << 0;
const CONFIG_CLEAR_VALUE: u64 = 1 << 1;
const CONFIG_AUTO_START: u64 = 1 << 2;
const START_SET_VALUE: u64 = 1 << 0;
const START_FLAGS: u64 = 0b11;
const START_FROM_SNAPSHOT: u64 = 1 << 1;
const STOP_RESET: u64 = 1 << 0;
const STOP_FLAGS: u64 = 0b11;
const STOP_TO_SNAPSHOT: u64 = 1 << 1;

struct Fixed {
    index: u64,
    event: u64,
    csr: u16,
}

/// Which counters of a hart supervisor software has started, by bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    started: u64,
}

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [first, second, third, fourth, ..] = call.args;
    let result = match call.function {
        0 => Ok(COUNTERS),
        1 => info(first),
        2 => configure(first, second, third, fourth, caller),
        3 => start(first, second, third, fourth, caller),
        4 => stop(first, second, third, caller),
        // No counter is a firmware counter.
        5 | 6 => Err(Error::InvalidParam),
        8 => event_info(call.args, caller),
        _ => Err(Error::NotSupported),
    };
    result.into()
}

/// CSR number in bits 11:0, width less one in bits 17:12, type in the top bit (0: hardware).
fn info(index: u64) -> Result<u64, Error> {
    let counter = FIXED.iter().find(|counter| counter.index == index).ok_or(Error::InvalidParam)?;
    Ok((CYCLE + counter.index) | 63 << 12)
}

/// The counters that a mask names.
fn selected(base: u64, mask: u64) -> Result<Vec<&'static Fixed>, Error> {
    let mut set = Vec::new();
    for bit in (0..64).filter(|bit| mask >> bit & 1 == 1) {
        let index = base.checked_add(bit).ok_or(Error::InvalidParam)?;
        if index >= COUNTERS {
            return Err(Error::InvalidParam);
        }
        set.extend(FIXED.iter().find(|counter| counter.index == index));
    }
    if set.is_empty() { Err(Error::InvalidParam) } else { Ok(set) }
}

/// Filters by mode are hints, which a fixed counter ignores.
fn configure(base: u64, mask: u64, flags: u64, event: u64, caller: &mut dyn Caller) -> Result<u64, Error> {
    let set = selected(base, mask)?;
    let skip = flags & CONFIG_SKIP_MATCH != 0;
    let counter =
        set.into_iter().find(|counter| skip || counter.event == event).ok_or(Error::NotSupported)?;
    if flags & CONFIG_CLEAR_VALUE != 0 {
        caller.write_csr(counter.csr, 0);
    }
    if flags & CONFIG_AUTO_START != 0 {
        run(counter, caller);
    }
    Ok(counter.index)
}

fn start(base: u64, mask: u64, flags: u64, value: u64, caller: &mut dyn Caller) -> Result<u64, Error> {
    let set = selected(base, mask)?;
    if flags & !START_FLAGS != 0 {
        return Err(Error::InvalidParam);
    }
    if flags & START_FROM_SNAPSHOT != 0 {
        return Err(Error::NoShmem);
    }
    let mut result = Ok(0);
    for counter in set {
        if caller.state().counters.started >> counter.index & 1 == 1 {
            result = Err(Error::AlreadyStarted);
            continue;
        }
        if flags & START_SET_VALUE != 0 {
            caller.write_csr(counter.csr, value);
        }
        run(counter, caller);
    }
    result
}

fn stop(base: u64, mask: u64, flags: u64, caller: &mut dyn Caller) -> Result<u64, Error> {
    let set = selected(base, mask)?;
    if flags & !STOP_FLAGS != 0 {
        return Err(Error::InvalidParam);
    }
    if flags & STOP_TO_SNAPSHOT != 0 {
        return Err(Error::NoShmem);
    }
    let mut result = Ok(0);
    for counter in set {
        if caller.state().counters.started >> counter.index & 1 == 0 {
            result = Err(Error::AlreadyStopped);
        }
        halt(counter, caller);
        if flags & STOP_RESET != 0 {
            caller.write_csr(counter.csr, 0);
        }
    }
    result
}

fn run(counter: &Fixed, caller: &mut dyn Caller) {
    caller.state().counters.started |= 1 << counter.index;
    inhibit(caller, |bits| bits & !(1 << counter.index));
}

fn halt(counter: &Fixed, caller: &mut dyn Caller) {
    caller.state().counters.started &= !(1 << counter.index);
    inhibit(caller, |bits| bits | 1 << counter.index);
}

fn inhibit(caller: &mut dyn Caller, change: impl Fn(u64) -> u64) {
    if let Some(bits) = caller.read_csr(MCOUNTINHIBIT) {
        caller.write_csr(MCOUNTINHIBIT, change(bits));
    }
}

/// Fills in, entry by entry, whether each event could be counted (11.12).
fn event_info(args: [u64; 6], caller: &mut dyn Caller) -> Result<u64, Error> {
    const ENTRY: u64 = 16;
    let [low, high, entries, flags, ..] = args;
    if flags != 0 || high != 0 || !low.is_multiple_of(ENTRY) || entries == 0 {
        return Err(Error::InvalidParam);
    }
    let bytes = entries.checked_mul(ENTRY).ok_or(Error::InvalidParam)?;
    if !caller.is_ram(low, bytes) {
        return Err(Error::InvalidAddress);
    }
    for at in (low..low + bytes).step_by(ENTRY as usize) {
        let mut event = [0; 4];
        if !caller.read(at, &mut event) {
            return Err(Error::InvalidAddress);
        }
        let event = u64::from(u32::from_le_bytes(event));
        let counted = u32::from(FIXED.iter().any(|counter| counter.event == event));
        caller.write(at + 4, &counted.to_le_bytes());
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, RAM};
    use super::super::{Answer, Error, answer};
    use super::*;

    const PMU: u32 = 0x0050_4d55;

    fn ask(fake: &mut Fake, function: u32, args: &[u64]) -> Answer {
        answer(&Fake::call(PMU, function, args), fake)
    }

    #[test]
    fn fixed_counters_are_described_with_a_hole_at_time() {
        let mut fake = Fake::new(1);
        assert_eq!(ask(&mut fake, 0, &[]), Answer::Value(3));
        assert_eq!(ask(&mut fake, 1, &[0]), Answer::Value(0x3f_c00));
        assert_eq!(ask(&mut fake, 1, &[2]), Answer::Value(0x3f_c02));
        for index in [1, 3, u64::MAX] {
            assert_eq!(ask(&mut fake, 1, &[index]), Answer::Error(Error::InvalidParam));
        }
    }

    #[test]
    fn an_event_is_matched_started_and_stopped() {
        let mut fake = Fake::new(1);
        fake.csrs.insert(MCOUNTINHIBIT, 0b111);
        assert_eq!(ask(&mut fake, 2, &[0, 0b111, 0, 2, 0]), Answer::Value(2));
        assert_eq!(ask(&mut fake, 3, &[2, 1, 1, 1234]), Answer::Value(0));
        assert_eq!(fake.csrs[&0xb02], 1234);
        assert_eq!(fake.csrs[&MCOUNTINHIBIT], 0b011);
        assert_eq!(ask(&mut fake, 3, &[2, 1, 0, 0]), Answer::Error(Error::AlreadyStarted));
        assert_eq!(ask(&mut fake, 4, &[2, 1, 1]), Answer::Value(0));
        assert_eq!(fake.csrs[&MCOUNTINHIBIT], 0b111);
        assert_eq!(fake.csrs[&0xb02], 0);
        assert_eq!(ask(&mut fake, 4, &[2, 1, 0]), Answer::Error(Error::AlreadyStopped));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let mut fake = Fake::new(1);
        assert_eq!(ask(&mut fake, 2, &[0, 0b111, 0, 3, 0]), Answer::Error(Error::NotSupported));
        assert_eq!(ask(&mut fake, 2, &[0, 0b1111, 0, 1, 0]), Answer::Error(Error::InvalidParam));
        assert_eq!(ask(&mut fake, 2, &[0, 0, 0, 1, 0]), Answer::Error(Error::InvalidParam));
        assert_eq!(ask(&mut fake, 3, &[0, 1, 2, 0]), Answer::Error(Error::NoShmem));
        assert_eq!(ask(&mut fake, 5, &[0]), Answer::Error(Error::InvalidParam));
        assert_eq!(ask(&mut fake, 7, &[RAM.start, 0, 0]), Answer::Error(Error::NotSupported));
    }

    #[test]
    fn event_info_fills_in_the_table() {
        let mut fake = Fake::new(1);
        fake.ram[0] = 1;
        fake.ram[16] = 9;
        assert_eq!(ask(&mut fake, 8, &[RAM.start, 0, 2, 0]), Answer::Value(0));
        assert_eq!((fake.ram[4], fake.ram[20]), (1, 0));
        assert_eq!(ask(&mut fake, 8, &[RAM.end, 0, 1, 0]), Answer::Error(Error::InvalidAddress));
        assert_eq!(ask(&mut fake, 8, &[RAM.start + 8, 0, 1, 0]), Answer::Error(Error::InvalidParam));
        assert_eq!(ask(&mut fake, 8, &[RAM.start, 0, u64::MAX, 0]), Answer::Error(Error::InvalidParam));
    }
}
