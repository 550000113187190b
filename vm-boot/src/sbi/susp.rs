//! System suspend (SBI 3.0, chapter 13): suspend to RAM parks the last running hart until an interrupt.

use super::{Answer, Call, Caller, Error, Resume, hsm};

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [kind, pc, opaque, ..] = call.args;
    let result = match (call.function, kind as u32) {
        (0, 0) => suspend(Resume { pc, opaque }, caller),
        (0, 1..0x8000_0000) => Err(Error::InvalidParam),
        _ => Err(Error::NotSupported),
    };
    result.map_or_else(Answer::Error, |resume| Answer::Suspend(Some(resume)))
}

/// Only when every other hart is stopped, as the specification demands.
fn suspend(resume: Resume, caller: &mut dyn Caller) -> Result<Resume, Error> {
    hsm::check_entry(resume.pc, caller)?;
    let me = caller.hart();
    let others_stopped =
        (0..caller.hart_count()).filter(|&hart| hart != me).all(|hart| caller.harts().is_stopped(hart));
    if !others_stopped {
        return Err(Error::Denied);
    }
    Ok(resume)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, RAM};
    use super::super::{Answer, Error, Resume, answer};

    const SUSP: u32 = 0x5355_5350;

    #[test]
    fn suspends_when_alone() {
        let mut fake = Fake::new(2);
        let call = Fake::call(SUSP, 0, &[0, RAM.start, 5]);
        assert_eq!(answer(&call, &mut fake), Answer::Suspend(Some(Resume { pc: RAM.start, opaque: 5 })));
    }

    #[test]
    fn refuses_while_others_run_and_bad_arguments() {
        let mut fake = Fake::new(2);
        for (args, error) in [
            ([0, 0x10, 0], Error::InvalidAddress),
            ([1, RAM.start, 0], Error::InvalidParam),
            ([0x8000_0000, RAM.start, 0], Error::NotSupported),
        ] {
            assert_eq!(answer(&Fake::call(SUSP, 0, &args), &mut fake), Answer::Error(error));
        }
        fake.states.begin(1);
        let call = Fake::call(SUSP, 0, &[0, RAM.start, 5]);
        assert_eq!(answer(&call, &mut fake), Answer::Error(Error::Denied));
    }
}
