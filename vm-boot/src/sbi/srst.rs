//! System reset (SBI 3.0, chapter 10).

use super::{Answer, Call, Caller, Error, Reset};

pub(super) fn handle(call: &Call, _: &mut dyn Caller) -> Answer {
    match call.function {
        0 => reset(call.args[0] as u32, call.args[1] as u32).map_or_else(Answer::Error, Answer::Reset),
        _ => Answer::Error(Error::NotSupported),
    }
}

/// The ranges above 0xf000_0000 are for vendors, of which this platform has none.
fn reset(kind: u32, reason: u32) -> Result<Reset, Error> {
    let failed = match reason {
        0 => false,
        1 => true,
        2..0xe000_0000 => return Err(Error::InvalidParam),
        0xe000_0000..0xf000_0000 => false,
        0xf000_0000.. => return Err(Error::NotSupported),
    };
    match kind {
        0 => Ok(Reset::Shutdown { failed }),
        1 | 2 => Ok(Reset::Reboot),
        3..0xf000_0000 => Err(Error::InvalidParam),
        0xf000_0000.. => Err(Error::NotSupported),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::{Answer, Error, Reset, answer};

    #[test]
    fn types_and_reasons() {
        let invalid = Answer::Error(Error::InvalidParam);
        let unsupported = Answer::Error(Error::NotSupported);
        for (kind, reason, expected) in [
            (0, 0, Answer::Reset(Reset::Shutdown { failed: false })),
            (0, 1, Answer::Reset(Reset::Shutdown { failed: true })),
            (1, 0, Answer::Reset(Reset::Reboot)),
            (2, 1, Answer::Reset(Reset::Reboot)),
            (0, 0xe000_0001, Answer::Reset(Reset::Shutdown { failed: false })),
            (3, 0, invalid),
            (0xefff_ffff, 0, invalid),
            (0xf000_0000, 0, unsupported),
            (0, 2, invalid),
            (0, 0xffff_ffff, unsupported),
        ] {
            let call = Fake::call(0x5352_5354, 0, &[kind, reason]);
            assert_eq!(answer(&call, &mut Fake::new(1)), expected, "{kind:#x} {reason:#x}");
        }
    }
}
