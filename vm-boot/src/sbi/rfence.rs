//! Remote fences (SBI 3.0, chapter 8). The `hfence` functions need the hypervisor extension, which
//! the harts do not have.

use super::{Answer, Call, Caller, Error, Fence, harts};

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [mask, base, start, size, asid, _] = call.args;
    let fence = match call.function {
        0 => Ok(Fence::Instruction),
        1 => range(start, size).map(|range| Fence::Address { range, asid: None }),
        2 => range(start, size).map(|range| Fence::Address { range, asid: Some(asid as u16) }),
        _ => Err(Error::NotSupported),
    };
    let done = fence.and_then(|fence| {
        let set = harts(mask, base, caller.hart_count())?;
        caller.fence(set, fence);
        Ok(0)
    });
    done.into()
}

/// `None` is all addresses: 0 and 0, or a size of all ones.
pub(super) fn range(start: u64, size: u64) -> Result<Option<(u64, u64)>, Error> {
    if (start == 0 && size == 0) || size == u64::MAX {
        return Ok(None);
    }
    match start.checked_add(size) {
        Some(_) => Ok(Some((start, size))),
        None => Err(Error::InvalidAddress),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Effect, Fake};
    use super::super::{Answer, Error, Fence, answer};

    const RFENCE: u32 = 0x5246_4e43;

    #[test]
    fn each_kind_of_fence() {
        let mut fake = Fake::new(2);
        for (function, fence) in [
            (0, Fence::Instruction),
            (1, Fence::Address { range: Some((0x1000, 0x2000)), asid: None }),
            (2, Fence::Address { range: Some((0x1000, 0x2000)), asid: Some(7) }),
        ] {
            fake.effects.clear();
            let call = Fake::call(RFENCE, function, &[1, 1, 0x1000, 0x2000, 7]);
            assert_eq!(answer(&call, &mut fake), Answer::Value(0));
            assert_eq!(fake.effects, [Effect::Fence(0b10, fence)]);
        }
    }

    #[test]
    fn all_addresses_by_zero_or_by_all_ones() {
        let mut fake = Fake::new(2);
        for (start, size) in [(0, 0), (0, u64::MAX), (0x5000, u64::MAX)] {
            answer(&Fake::call(RFENCE, 1, &[0, u64::MAX, start, size]), &mut fake);
        }
        let all = Effect::Fence(0b11, Fence::Address { range: None, asid: None });
        assert_eq!(fake.effects, [all.clone(), all.clone(), all]);
    }

    #[test]
    fn hypervisor_fences_and_wrapping_ranges_are_refused() {
        let mut fake = Fake::new(2);
        for function in 3..=6 {
            let call = Fake::call(RFENCE, function, &[0, u64::MAX]);
            assert_eq!(answer(&call, &mut fake), Answer::Error(Error::NotSupported));
        }
        let call = Fake::call(RFENCE, 1, &[1, 0, u64::MAX - 1, 0x1000]);
        assert_eq!(answer(&call, &mut fake), Answer::Error(Error::InvalidAddress));
        assert_eq!(fake.effects, []);
    }
}
