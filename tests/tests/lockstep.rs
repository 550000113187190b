//! Generated code in lock-step with the interpreter: random programs, the facts about every instruction, a boot of
//! Linux; and a wrong translation, which has to be found.
//!
//! `LOCKSTEP_PROGRAMS=n` runs so many random programs, `LOCKSTEP_SEED=n` from that seed instead of a new one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::Command;
use std::time::Duration;

use tests::bare::{Bare, Engine, RAM, Stopped};
use tests::facts::Facts;
use tests::host::{linux_busybox, repository, vm_boot};
use tests::oracle::{Machine, Program, Repertoire, Runner, generate};
use tests::random::Random;
use tests::session::Session;
use vm_cpu::isa::Extensions;
use vm_cpu::isa::asm::assemble;
use vm_cpu::{CpuConfig, Priv};

/// Random programs a run, and in one image.
const PROGRAMS: usize = 1000;
const BATCH: usize = 250;
/// Instructions of a program that are compared at the least, on average.
const LEAST: u64 = 20;
/// A boot of Linux with every page compared takes about two minutes of a slow machine.
const LIMIT: Duration = Duration::from_secs(900);

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, found {text:?}")))
}

#[test]
fn random_programs_keep_step() {
    let count = number("LOCKSTEP_PROGRAMS").map_or(PROGRAMS, |n| n as usize);
    let seed = number("LOCKSTEP_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let all = CpuConfig::default().extensions;
    let float = [Extensions::F, Extensions::D, Extensions::Zfa, Extensions::Zfhmin];
    // Units leave what rounds in another mode to the interpreter: half of the programs have no floats.
    let integer = float.iter().fold(all, |all, &some| all.without(some));
    let engines = Engine::LOCKSTEP.iter().flat_map(|&engine| [(engine, all), (engine, integer)]);
    for (engine, extensions) in engines {
        println!("{engine:?}: {count} programs, LOCKSTEP_SEED={seed}");
        let repertoire = Repertoire { extensions, without: &[] };
        let mut machine = Machine::new(engine, all);
        let mut seeds = Random::new(seed);
        let mut left = count;
        while left > 0 {
            let some = left.min(BATCH);
            left -= some;
            let programs: Vec<Program> = (0..some).map(|_| generate(seeds.word(), repertoire)).collect();
            if let Err(report) = machine.run(&programs) {
                panic!("LOCKSTEP_SEED={seed}\n{report}");
            }
        }
        let compared = machine.bare().compared();
        assert!(compared > count as u64 * LEAST, "only {compared} instructions were compared");
    }
}

#[test]
fn every_fact_about_an_instruction_keeps_step() {
    let files = std::fs::read_dir(repository("tests/asm")).expect("tests/asm");
    for file in files.map(|file| file.expect("an entry").path()) {
        for &engine in Engine::LOCKSTEP {
            let failures = Facts::read(&file).failures(engine);
            assert!(failures.is_empty(), "{} in {engine:?}:\n{}", file.display(), failures.join("\n"));
        }
    }
}

/// Counts to 1000 and adds up on the way.
const SUM: &str =
    "li a0, 0; li a1, 1000; again: add a0, a0, a1; addi a1, a1, -1; sd a0, 0(a2); bnez a1, again;
    sd x0, 0(x0); j .";

fn sum(engine: Engine) -> (Bare, Stopped) {
    let mut bare = Bare::new(engine, &CpuConfig::default(), 1, 16 * 4096);
    bare.load(RAM, &assemble(RAM, SUM).expect("a good program").bytes);
    bare.start(0, RAM, Priv::Machine);
    bare.harts[0].core_mut().set_x(12, RAM + 4096);
    let stopped = bare.run(0);
    (bare, stopped)
}

#[test]
fn every_instruction_of_a_loop_is_compared() {
    for &engine in Engine::LOCKSTEP {
        let (bare, stopped) = sum(engine);
        assert_eq!((stopped, bare.harts[0].core().x(10)), (Stopped::Done, 500_500));
        assert!(bare.compared() >= 3990, "{engine:?}: {} instructions were compared", bare.compared());
    }
}

/// An operation on registers that a loop does not change, behind a comparison that keeps it from being done.
const UNCHANGED: &str = "fadd.s f1, f2, f3; li a1, 100; j again; again: fmin.s f4, f5, f6; addi a1, a1, -1;
    bnez a1, again; sd x0, 0(x0); j .";

#[test]
fn what_a_loop_does_not_change_raises_no_flag_before_its_time() {
    for &engine in Engine::LOCKSTEP {
        let mut bare = Bare::new(engine, &CpuConfig::default(), 1, 16 * 4096);
        bare.load(RAM, &assemble(RAM, UNCHANGED).expect("a good program").bytes);
        bare.start(0, RAM, Priv::Machine);
        // A quiet NaN, which `fmin` may be told of but may not call invalid.
        (2..7).for_each(|f| bare.harts[0].core_mut().set_f(f, 0xffff_ffff_7fc0_0000));
        assert_eq!(bare.run(0), Stopped::Done, "{}", bare.harts[0].divergence().unwrap_or_default());
        assert_eq!(bare.harts[0].core().csr().fflags, 0);
        assert!(bare.compared() > 290, "{engine:?}: {} instructions were compared", bare.compared());
    }
}

/// A loop around an instruction that lies in two pages, 14 bytes from its start.
const CROSSING: &str =
    "li a1, 20000; j again; again: add a0, a0, a1; addi a1, a1, -1; bnez a1, again; sd x0, 0(x0); j .";

#[test]
fn an_instruction_in_two_pages_is_translated() {
    let start = RAM + 4096 - 14;
    for &engine in Engine::ALL.iter().chain(Engine::LOCKSTEP) {
        let mut bare = Bare::new(engine, &CpuConfig::default(), 1, 16 * 4096);
        bare.load(start, &assemble(start, CROSSING).expect("a good program").bytes);
        bare.start(0, start, Priv::Machine);
        assert_eq!(bare.run(0), Stopped::Done, "{}", bare.harts[0].divergence().unwrap_or_default());
        assert_eq!(bare.harts[0].core().x(10), 200_010_000, "{engine:?}");
        let tally = bare.cluster.port(0).tally();
        let by_interpreter = tally.retired - tally.compiled;
        assert!(engine != Engine::Quick || by_interpreter < 100, "{by_interpreter} by the interpreter");
    }
}

/// A frame across two pages.
const FRAME: &str =
    "li a1, 20000; j again; again: sd a0, -16(a2); sd a1, 8(a2); ld a3, -16(a2); ld a4, 8(a2);
    add a0, a3, a4; addi a1, a1, -1; bnez a1, again; sd x0, 0(x0); j .";

#[test]
fn what_is_checked_at_once_and_lies_across_pages_is_soon_taken_apart() {
    for &engine in Engine::ALL.iter().chain(Engine::LOCKSTEP) {
        let mut bare = Bare::new(engine, &CpuConfig::default(), 1, 16 * 4096);
        bare.load(RAM, &assemble(RAM, FRAME).expect("a good program").bytes);
        bare.start(0, RAM, Priv::Machine);
        bare.harts[0].core_mut().set_x(12, RAM + 2 * 4096);
        assert_eq!(bare.run(0), Stopped::Done, "{}", bare.harts[0].divergence().unwrap_or_default());
        assert_eq!(bare.harts[0].core().x(10), 200_010_000, "{engine:?}");
        let tally = bare.cluster.port(0).tally();
        let by_interpreter = tally.retired - tally.compiled;
        let compiles = engine != Engine::Interpreter && !Engine::LOCKSTEP.contains(&engine);
        assert!(!compiles || by_interpreter < 10_000, "{engine:?}: {by_interpreter} by the interpreter");
    }
}

#[test]
fn a_wrong_translation_is_found_and_named() {
    let (bare, stopped) = sum(Engine::Mistaken);
    assert_eq!(stopped, Stopped::Diverged);
    let report = bare.harts[0].divergence().expect("a report");
    let named = format!("x10 was last written at {:#x}: add", RAM + 8);
    for part in [&named, "x10: interpreter 0x", "memory at 0x80001000: interpreter 0x"] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn a_wrong_translation_is_found_in_random_programs() {
    let repertoire = Repertoire { extensions: Extensions::all(), without: &[] };
    let mut machine = Machine::new(Engine::Mistaken, repertoire.extensions);
    let programs: Vec<Program> = (0..100).map(|seed| generate(seed, repertoire)).collect();
    let report = machine.run(&programs).expect_err("a difference");
    assert!(report.starts_with("lock-step: ") && report.contains("add"), "{report}");
}

#[test]
fn a_boot_of_linux_keeps_step() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stats = directory.path().join("stats");
    let mut command = Command::new(vm_boot());
    command.args(["run", "--memory", "256M", "--append", "console=ttyS0"]);
    command.args(["--jit", "on,quick=off,threshold=8,wait=on,lockstep=chains", "--stats-file"]).arg(&stats);
    command.arg("--kernel").arg(linux_busybox("Image")).arg("--initrd").arg(linux_busybox("initramfs.cpio"));
    let mut session = Session::start(&mut command);
    session.expect("~ # ", LIMIT);
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");
    let stats = std::fs::read(stats).expect("statistics");
    let stats: serde_json::Value = serde_json::from_slice(&stats).expect("JSON");
    let compared = stats["harts"][0]["lockstep_instructions"].as_u64().expect("a count");
    assert!(compared > 1_000_000_000, "only {compared} instructions were compared");
}
