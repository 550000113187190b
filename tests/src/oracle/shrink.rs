//! Makes a program that shows a difference as small as it goes: fewer instructions, then a simpler start.

use super::program::Program;

/// The smallest program found for which `differs` still holds. It holds for `program`.
pub fn shrink(mut program: Program, mut differs: impl FnMut(&Program) -> bool) -> Program {
    while let Some(smaller) = fewer(&program, &mut differs) {
        program = smaller;
    }
    simplify(program, &mut differs)
}

/// The program without some of its groups; half of them at first, then fewer at a time.
fn fewer(program: &Program, differs: &mut impl FnMut(&Program) -> bool) -> Option<Program> {
    let groups = program.groups();
    let mut size = groups.len().div_ceil(2);
    while size > 0 {
        for some in groups.chunks(size) {
            let smaller = some.iter().fold(program.clone(), |program, &group| program.without(group));
            if differs(&smaller) {
                return Some(smaller);
            }
        }
        size /= 2;
    }
    None
}

/// Zeros wherever the start does not matter.
fn simplify(mut program: Program, differs: &mut impl FnMut(&Program) -> bool) -> Program {
    let mut attempt = |program: &mut Program, change: &dyn Fn(&mut Program)| {
        let mut simpler = program.clone();
        change(&mut simpler);
        if simpler != *program && differs(&simpler) {
            *program = simpler;
        }
    };
    for r in 0..32 {
        attempt(&mut program, &|p| p.start.x[r] = 0);
        attempt(&mut program, &|p| p.start.f[r] = 0);
    }
    attempt(&mut program, &|p| p.start.fcsr = 0);
    attempt(&mut program, &|p| p.start.scratch.fill(0));
    program
}
