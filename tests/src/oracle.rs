//! QEMU's user-mode emulator as an outside oracle: random programs run there and here, and end alike to the bit.
//!
//! ```text
//!  seed ─► generate ─► Program … ─► image (an ELF of ours) ─┬─► qemu-riscv64 ─► records ─┐
//!                                                           └─► a hart in U-mode ─► … ───┴─► compare
//!                                                                          a difference ─► shrink ─► listing
//! ```
//! A program is a body of legal instructions, with a scratch buffer, over registers that a record in memory
//! gives; when it ends, its registers go back to the record. Nothing of a program depends on an address that
//! is not the same on both sides, on time, or on a choice that the manual leaves to the machine.

mod elf;
mod generate;
mod image;
mod machine;
mod program;
mod qemu;
mod shrink;

pub use generate::{Repertoire, generate};
pub(crate) use generate::{float, integer};
pub use image::Record;
pub use machine::Machine;
pub use program::Program;
pub use qemu::Qemu;

/// How a batch of programs ended: the record of each, or what went wrong with the whole.
pub type Outcome = Result<Vec<Record>, String>;

/// Something that runs an image.
pub trait Runner {
    /// Runs all of the programs.
    fn run(&mut self, programs: &[Program]) -> Outcome;
}

/// Two runners that must agree.
pub struct Comparison<'a> {
    /// The one that is right.
    pub oracle: &'a mut dyn Runner,
    /// The one in question.
    pub subject: &'a mut dyn Runner,
}

impl Comparison<'_> {
    /// Runs the programs on both sides; none if they end alike, else a report on the first that does not,
    /// made small.
    pub fn check(&mut self, programs: &[Program]) -> Option<String> {
        let (expected, found) = (self.oracle.run(programs), self.subject.run(programs));
        if expected.is_ok() && expected == found {
            return None;
        }
        // If the whole batch ended badly, the program to blame has to be looked for.
        let culprit = programs.iter().find(|program| self.differs(program));
        let Some(culprit) = culprit else {
            let ends = [expected.err(), found.err()];
            return Some(format!("the programs differ together but not alone: {ends:?}"));
        };
        // A part of a program may jump anywhere. So a part shows a difference only if the oracle runs it,
        // and a program that the oracle does not run is shown whole.
        let runs = self.one(culprit, true).is_ok();
        let same = |program: &Program| self.one(program, true).is_ok() && self.differs(program);
        let small = if runs { shrink::shrink(culprit.clone(), same) } else { culprit.clone() };
        let (expected, found) = (self.one(&small, true), self.one(&small, false));
        Some(small.report(&expected, &found))
    }

    fn one(&mut self, program: &Program, oracle: bool) -> Result<Record, String> {
        let runner = if oracle { &mut self.oracle } else { &mut self.subject };
        runner.run(std::slice::from_ref(program)).map(|mut records| records.remove(0))
    }

    fn differs(&mut self, program: &Program) -> bool {
        let (expected, found) = (self.one(program, true), self.one(program, false));
        expected.is_err() || expected != found
    }
}
