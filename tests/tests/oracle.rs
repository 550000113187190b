//! Random programs end here as they end under QEMU, bit by bit.
//!
//! `ORACLE_PROGRAMS=n` runs so many of them for each seed, `ORACLE_SEED=n` that seed instead of a new one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use tests::bare::Engine;
use tests::oracle::{Comparison, Machine, Program, Qemu, generate};
use tests::random::Random;

/// Programs of these seeds run every time; then those of one more.
const SEEDS: &[u64] = &[1, 2, 3];
/// Programs a seed.
const PROGRAMS: usize = 2000;
/// Programs in one executable.
const BATCH: usize = 250;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, found {text:?}")))
}

fn programs(seed: u64, qemu: &Qemu, count: usize) -> Vec<Program> {
    let mut seeds = Random::new(seed);
    (0..count).map(|_| generate(seeds.word(), qemu.repertoire())).collect()
}

#[test]
fn random_programs_end_as_they_do_under_qemu() {
    let mut qemu = Qemu::find();
    println!("{}: {:?}", qemu.version, qemu.extensions);
    println!(
        "not tested, since it lacks them: {:?}; since it has them wrong: {:?}",
        qemu.lacks(),
        qemu.defects
    );
    let count = number("ORACLE_PROGRAMS").map_or(PROGRAMS, |n| n as usize);
    let new = number("ORACLE_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    for &engine in Engine::ALL {
        let mut machine = Machine::new(engine, qemu.extensions);
        for seed in SEEDS.iter().copied().chain([new]) {
            println!("{engine:?}: {count} programs, ORACLE_SEED={seed}");
            for batch in programs(seed, &qemu, count).chunks(BATCH) {
                let report = Comparison { oracle: &mut qemu, subject: &mut machine }.check(batch);
                assert!(report.is_none(), "ORACLE_SEED={seed}\n{}", report.unwrap_or_default());
            }
        }
    }
}

/// An engine that takes an `add` for a `sub` is found out, and the report shows little more than that.
#[test]
fn a_wrong_instruction_is_found_and_the_program_made_small() {
    let mut qemu = Qemu::find();
    let mut machine = Machine::new(Engine::Interpreter, qemu.extensions);
    machine.tamper = |code| {
        const MASK: u32 = 0xfe00_707f;
        const ADD: u32 = 0x0000_0033;
        const SUB_BIT: u8 = 0x40;
        // Code is found at multiples of 2; what is no add is left alone, but for a chance look-alike.
        for at in (0..code.len() - 3).step_by(2) {
            let word = u32::from_le_bytes(code[at..at + 4].try_into().expect("four bytes"));
            if word & MASK == ADD {
                code[at + 3] |= SUB_BIT;
            }
        }
    };
    let programs = programs(1, &qemu, 100);
    let report = Comparison { oracle: &mut qemu, subject: &mut machine }.check(&programs);
    let report = report.expect("a difference");
    let instructions = report.lines().filter(|line| line.starts_with("  8000")).count();
    assert!(instructions <= 3 && report.contains("  add "), "{report}");
}
