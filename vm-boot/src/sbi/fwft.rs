//! Firmware features (SBI 3.0, chapter 18): hardware updating of A and D bits, off until asked for.

use serde::{Deserialize, Serialize};

use super::{Answer, Call, Caller, Error};

/// PTE_AD_HW_UPDATING.
const AD_UPDATING: u32 = 4;
const FLAG_LOCK: u64 = 1;

const MENVCFG: u16 = 0x30a;
const MENVCFG_ADUE: u64 = 1 << 61;

/// Which features of a hart may no longer change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    locked: bool,
}

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [feature, value, flags, ..] = call.args;
    let result = match (call.function, feature as u32) {
        (0, AD_UPDATING) => set(value, flags, caller),
        (1, AD_UPDATING) => get(caller),
        // Reserved ranges: global features from 0x8000_0000, local ones from 6, platform's with bit 30.
        (0 | 1, 6..0x4000_0000 | 0x8000_0000..0xc000_0000) => Err(Error::Denied),
        _ => Err(Error::NotSupported),
    };
    result.into()
}

fn set(value: u64, flags: u64, caller: &mut dyn Caller) -> Result<u64, Error> {
    if value > 1 || flags & !FLAG_LOCK != 0 {
        return Err(Error::InvalidParam);
    }
    if caller.state().features.locked {
        return Err(Error::DeniedLocked);
    }
    let old = caller.read_csr(MENVCFG).ok_or(Error::NotSupported)?;
    let new = if value == 1 { old | MENVCFG_ADUE } else { old & !MENVCFG_ADUE };
    caller.write_csr(MENVCFG, new);
    // A hart without Svadu keeps the bit at 0.
    if caller.read_csr(MENVCFG) != Some(new) {
        return Err(Error::NotSupported);
    }
    caller.state().features.locked = flags & FLAG_LOCK != 0;
    Ok(0)
}

fn get(caller: &mut dyn Caller) -> Result<u64, Error> {
    let menvcfg = caller.read_csr(MENVCFG).ok_or(Error::NotSupported)?;
    Ok(u64::from(menvcfg & MENVCFG_ADUE != 0))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::{Answer, Error, answer};
    use super::*;

    const FWFT: u32 = 0x4657_4654;

    #[test]
    fn ad_updating_is_set_read_and_locked() {
        let mut fake = Fake::new(1);
        fake.csrs.insert(MENVCFG, 0xf0);
        let get = Fake::call(FWFT, 1, &[4]);
        assert_eq!(answer(&get, &mut fake), Answer::Value(0));
        assert_eq!(answer(&Fake::call(FWFT, 0, &[4, 1, 1]), &mut fake), Answer::Value(0));
        assert_eq!(answer(&get, &mut fake), Answer::Value(1));
        assert_eq!(fake.csrs[&MENVCFG], 0xf0 | MENVCFG_ADUE);
        assert_eq!(answer(&Fake::call(FWFT, 0, &[4, 0, 0]), &mut fake), Answer::Error(Error::DeniedLocked));
    }

    #[test]
    fn other_features_and_values_are_refused() {
        let mut fake = Fake::new(1);
        fake.csrs.insert(MENVCFG, 0);
        for (args, error) in [
            ([0, 1, 0], Error::NotSupported),
            ([5, 1, 0], Error::NotSupported),
            ([6, 1, 0], Error::Denied),
            ([0x8000_0000, 1, 0], Error::Denied),
            ([0x4000_0000, 1, 0], Error::NotSupported),
            ([4, 2, 0], Error::InvalidParam),
            ([4, 1, 2], Error::InvalidParam),
        ] {
            assert_eq!(answer(&Fake::call(FWFT, 0, &args), &mut fake), Answer::Error(error), "{args:x?}");
        }
    }
}
