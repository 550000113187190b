//! Legacy calls 0 to 8 (SBI 3.0, chapter 5): each number is an extension of its own, the function is
//! ignored and only a0 comes back. Hart masks are passed by *virtual* address; address 0 means all.

use std::ops::RangeInclusive;

use super::{Answer, Call, Caller, Error, Fence, Reset, all_harts, rfence};

/// The extension numbers.
pub(super) const RANGE: RangeInclusive<u32> = 0..=8;

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [first, start, size, asid, ..] = call.args;
    let result = match call.extension {
        0 => {
            caller.set_timer(first);
            Ok(0)
        }
        1 => {
            caller.console_write(&[first as u8]);
            Ok(0)
        }
        2 => Ok(getchar(caller)),
        3 => {
            caller.clear_ipi();
            Ok(0)
        }
        4 => mask(first, caller).map(|set| {
            caller.send_ipi(set);
            0
        }),
        5 => fence(first, Ok(Fence::Instruction), caller),
        6 => fence(first, address(start, size, None), caller),
        7 => fence(first, address(start, size, Some(asid as u16)), caller),
        8 => return Answer::Reset(Reset::Shutdown { failed: false }),
        _ => Err(Error::NotSupported),
    };
    Answer::Legacy(result.unwrap_or_else(|error| error as i64))
}

/// The next character typed, or -1.
fn getchar(caller: &mut dyn Caller) -> i64 {
    let mut byte = [0];
    match caller.console_read(&mut byte) {
        0 => -1,
        _ => i64::from(byte[0]),
    }
}

/// Harts that the machine does not have are left out, as the legacy calls define no error for them.
fn mask(va: u64, caller: &mut dyn Caller) -> Result<u64, Error> {
    let all = all_harts(caller.hart_count());
    match va {
        0 => Ok(all),
        _ => caller.read_virtual(va).map(|mask| mask & all).ok_or(Error::InvalidAddress),
    }
}

fn address(start: u64, size: u64, asid: Option<u16>) -> Result<Fence, Error> {
    rfence::range(start, size).map(|range| Fence::Address { range, asid })
}

fn fence(mask_va: u64, fence: Result<Fence, Error>, caller: &mut dyn Caller) -> Result<i64, Error> {
    let set = mask(mask_va, caller)?;
    caller.fence(set, fence?);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::super::fake::{Effect, Fake};
    use super::*;

    fn ask(fake: &mut Fake, extension: u32, args: &[u64]) -> Answer {
        answer(&Fake::call(extension, 0x1234, args), fake)
    }

    #[test]
    fn console_by_characters() {
        let mut fake = Fake::new(1);
        assert_eq!(ask(&mut fake, 1, &[u64::from(b'x')]), Answer::Legacy(0));
        assert_eq!(fake.printed, b"x");
        assert_eq!(ask(&mut fake, 2, &[]), Answer::Legacy(-1));
        fake.typed.push_back(b'y');
        assert_eq!(ask(&mut fake, 2, &[]), Answer::Legacy(i64::from(b'y')));
    }

    #[test]
    fn masks_come_from_virtual_memory() {
        let mut fake = Fake::new(4);
        fake.virtual_words.insert(0xffff_ffc0_0000_1000, 0b1010);
        assert_eq!(ask(&mut fake, 4, &[0xffff_ffc0_0000_1000]), Answer::Legacy(0));
        assert_eq!(ask(&mut fake, 5, &[0]), Answer::Legacy(0));
        assert_eq!(ask(&mut fake, 7, &[0, 0x1000, 0x1000, 3]), Answer::Legacy(0));
        assert_eq!(
            fake.effects,
            [
                Effect::Ipi(0b1010),
                Effect::Fence(0b1111, Fence::Instruction),
                Effect::Fence(0b1111, Fence::Address { range: Some((0x1000, 0x1000)), asid: Some(3) }),
            ]
        );
        assert_eq!(ask(&mut fake, 4, &[0x10]), Answer::Legacy(Error::InvalidAddress as i64));
    }

    #[test]
    fn timer_ipi_clear_and_shutdown() {
        let mut fake = Fake::new(1);
        ask(&mut fake, 0, &[5]);
        ask(&mut fake, 3, &[]);
        assert_eq!(fake.effects, [Effect::Timer(5), Effect::ClearIpi]);
        assert_eq!(ask(&mut fake, 8, &[]), Answer::Reset(Reset::Shutdown { failed: false }));
    }
}
