//! Timer extension (SBI 3.0, chapter 6).

use super::{Answer, Call, Caller, Error};

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    match call.function {
        0 => {
            caller.set_timer(call.args[0]);
            Answer::Value(0)
        }
        _ => Answer::Error(Error::NotSupported),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Effect, Fake};
    use super::super::{Answer, answer};

    #[test]
    fn timer_is_set() {
        let mut fake = Fake::new(1);
        assert_eq!(answer(&Fake::call(0x5449_4d45, 0, &[77]), &mut fake), Answer::Value(0));
        assert_eq!(fake.effects, [Effect::Timer(77)]);
    }
}
