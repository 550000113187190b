//! Inter-processor interrupts (SBI 3.0, chapter 7).

use super::{Answer, Call, Caller, Error, harts};

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    if call.function != 0 {
        return Answer::Error(Error::NotSupported);
    }
    let sent = harts(call.args[0], call.args[1], caller.hart_count()).map(|set| {
        caller.send_ipi(set);
        0
    });
    sent.into()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Effect, Fake};
    use super::super::{Answer, Error, answer};

    const IPI: u32 = 0x0073_5049;

    #[test]
    fn one_call_reaches_the_whole_set() {
        let mut fake = Fake::new(4);
        assert_eq!(answer(&Fake::call(IPI, 0, &[0, u64::MAX]), &mut fake), Answer::Value(0));
        assert_eq!(answer(&Fake::call(IPI, 0, &[0b11, 1]), &mut fake), Answer::Value(0));
        assert_eq!(fake.effects, [Effect::Ipi(0b1111), Effect::Ipi(0b110)]);
    }

    #[test]
    fn a_hart_that_is_not_there_is_refused() {
        let mut fake = Fake::new(4);
        assert_eq!(answer(&Fake::call(IPI, 0, &[0b11, 3]), &mut fake), Answer::Error(Error::InvalidParam));
        assert_eq!(fake.effects, []);
    }
}
