//! Base extension: what this SBI is (SBI 3.0, chapter 4).

use super::{Answer, Call, Caller, Error, present};

/// Version 3.0: major in bits 30:24, minor in bits 23:0.
const SPEC_VERSION: u64 = 3 << 24;
/// Not one of the registered implementations: the letters "vm".
const IMPLEMENTATION: u64 = 0x766d;
/// Of the built-in SBI itself, 0.1.
const IMPLEMENTATION_VERSION: u64 = 1;

const MVENDORID: u16 = 0xf11;
const MARCHID: u16 = 0xf12;
const MIMPID: u16 = 0xf13;

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let mut csr = |number| caller.read_csr(number).ok_or(Error::Failed);
    let result = match call.function {
        0 => Ok(SPEC_VERSION),
        1 => Ok(IMPLEMENTATION),
        2 => Ok(IMPLEMENTATION_VERSION),
        3 => Ok(u64::from(present(call.args[0] as u32))),
        4 => csr(MVENDORID),
        5 => csr(MARCHID),
        6 => csr(MIMPID),
        _ => Err(Error::NotSupported),
    };
    result.into()
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::{Answer, answer};

    #[test]
    fn probe_tells_what_is_there() {
        let mut fake = Fake::new(1);
        for (id, there) in
            [(0x10, 1), (0x4442_434e, 1), (8, 1), (9, 0), (0x4350_5043, 0), (0x534d, 0), (0xffff_ffff, 0)]
        {
            assert_eq!(answer(&Fake::call(0x10, 3, &[id]), &mut fake), Answer::Value(there), "{id:#x}");
        }
    }

    #[test]
    fn version_is_3_0_and_ids_come_from_the_hart() {
        let mut fake = Fake::new(1);
        assert_eq!(answer(&Fake::call(0x10, 0, &[]), &mut fake), Answer::Value(0x0300_0000));
        fake.csrs.insert(0xf12, 0x2a);
        assert_eq!(answer(&Fake::call(0x10, 5, &[]), &mut fake), Answer::Value(0x2a));
    }
}
