//! What a person needs to see of a difference.

use std::fmt::Write;

use super::shadow::Word;
use super::state::State;
use crate::isa::effects::Effects;
use crate::isa::{Insn, disassemble};

/// Instructions shown before the end of the step.
const SHOWN: usize = 40;
/// Differing doublewords shown.
const WORDS: usize = 8;

/// One instruction of the replay.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where it is.
    pub pc: u64,
    /// What it is.
    pub insn: Insn,
    /// It changed the first doubleword that differs.
    pub stored: bool,
}

/// The report on a step from `before` that ended otherwise in a unit than in the interpreter. `steps` are the
/// instructions as the interpreter executed them.
pub fn report(
    before: &State,
    unit: &State,
    interpreter: &State,
    memory: &[Word],
    lost: Option<&str>,
    steps: &[Step],
) -> String {
    let mut text = format!("lock-step: the unit at {:#x} and the interpreter differ\n", before.pc);
    // A string takes all.
    let _ = writeln!(
        text,
        "the unit retired {} instructions and ended at {:#x}",
        unit.retired.wrapping_sub(before.retired),
        unit.pc
    );
    if let Some(lost) = lost {
        let _ = writeln!(text, "the interpreter {lost} before that");
    }
    text += &interpreter.differences(unit);
    for Word { gpa, unit, interpreter } in memory.iter().take(WORDS) {
        let _ = writeln!(text, "memory at {gpa:#x}: interpreter {interpreter:#x}, unit {unit:#x}");
    }
    if memory.len() > WORDS {
        let _ = writeln!(text, "and {} more doublewords", memory.len() - WORDS);
    }
    let wrote = |r: usize, float: bool| {
        move |step: &&Step| {
            let effects = Effects::of(&step.insn);
            (if float { effects.f_written } else { effects.x_written }) >> r & 1 != 0
        }
    };
    let differing = |(r, (a, b)): (usize, (&u64, &u64))| (a != b).then_some(r);
    let x = interpreter.x.iter().zip(&unit.x).enumerate().filter_map(differing);
    let f = interpreter.f.iter().zip(&unit.f).enumerate().filter_map(differing);
    let written = |step: Option<&Step>, name: String, text: &mut String| {
        let _ = match step {
            Some(Step { pc, insn, .. }) => {
                writeln!(text, "{name} was last written at {pc:#x}: {}", disassemble(insn, *pc))
            }
            None => writeln!(text, "{name} was written by the unit alone"),
        };
    };
    x.for_each(|r| written(steps.iter().rev().find(wrote(r, false)), format!("x{r}"), &mut text));
    f.for_each(|r| written(steps.iter().rev().find(wrote(r, true)), format!("f{r}"), &mut text));
    if let Some(word) = memory.first() {
        let name = format!("memory at {:#x}", word.gpa);
        written(steps.iter().rev().find(|step| step.stored), name, &mut text);
    }
    let shown = &steps[steps.len().saturating_sub(SHOWN)..];
    let read = shown
        .iter()
        .map(|step| Effects::of(&step.insn))
        .fold((0, 0), |(x, f), effects| (x | effects.x_read, f | effects.f_read));
    text += "the step began with\n";
    for r in 0..32 {
        for (name, values, read) in [("x", &before.x, read.0), ("f", &before.f, read.1)] {
            if read >> r & 1 != 0 {
                let _ = writeln!(text, "  {name}{r} {:#x}", values[r]);
            }
        }
    }
    text += "the last instructions were\n";
    for Step { pc, insn, .. } in shown {
        let _ = writeln!(text, "  {pc:#x}: {}", disassemble(insn, *pc));
    }
    text
}
