//! Loops of floating point in which images, results and dead results meet on many ways: regions end as the
//! interpreter does, to the bit of every NaN and flag.
//!
//! `FLOAT_LOOPS=n` runs so many random loops, `FLOAT_SEED=n` from that seed instead of a new one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use tests::bare::{Bare, Engine, RAM, Stopped};
use tests::random::Random;
use vm_cpu::isa::asm::assemble;
use vm_cpu::{CpuConfig, Priv};

const LOOPS: usize = 600;
const PAGE: u64 = 4096;
/// Where images are read from, and where they are written.
const SOURCE: u64 = RAM + PAGE;
const SINK: u64 = RAM + 2 * PAGE;

/// Images of which some are NaNs that arithmetic would not leave as they are.
const IMAGES: &[u64] = &[
    0x3ff8_0000_0000_0000,
    0xffff_ffff_3fc0_0000,
    0xffff_ffff_7fc0_1234,
    0x7ff8_0000_0000_0042,
    0xfff8_0000_0000_0001,
    0x7ff0_0000_0000_0001,
    0x7ff0_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x1234_5678_9abc_def0,
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// An instruction of a loop's body.
fn step(random: &mut Random) -> String {
    let mut f = || format!("f{}", random.below(4));
    let (d, a, b, c) = (f(), f(), f(), f());
    let offset = 8 * random.below(IMAGES.len());
    let name = random.pick(&[
        "fadd.d", "fmul.d", "fdiv.d", "fsub.d", "fmin.d", "fadd.s", "fdiv.s", "fmul.s", "fsgnj.d",
        "fsgnjn.d", "fsgnj.s", "fmv.d", "fmv.d", "fld", "fld", "flw", "fsd", "fsd", "fsw", "fmv.x.d",
        "fmv.d.x", "feq.d", "flt.d", "fcvt.s.d", "fcvt.d.s", "fcvt.d.l", "fcvt.l.d", "fmadd.d", "fsqrt.d",
        "ld",
    ]);
    match name {
        "fmv.d" => format!("fsgnj.d {d}, {a}, {a}"),
        "fld" | "flw" => format!("{name} {d}, {offset}(a2)"),
        "fsd" | "fsw" => format!("{name} {a}, {offset}(a4)"),
        // What only a trap would show is behind every access.
        "ld" => format!("ld a5, {offset}(a2)"),
        "fmv.x.d" => format!("fmv.x.d a5, {a}; xor a6, a6, a5"),
        "fmv.d.x" => format!("fmv.d.x {d}, a6"),
        "feq.d" | "flt.d" => format!("{name} a5, {a}, {b}; add a6, a6, a5"),
        "fcvt.l.d" => format!("fcvt.l.d a5, {a}, rtz"),
        "fcvt.d.l" => format!("fcvt.d.l {d}, a1"),
        "fcvt.s.d" | "fcvt.d.s" | "fsqrt.d" => format!("{name} {d}, {a}"),
        "fmadd.d" => format!("fmadd.d {d}, {a}, {b}, {c}"),
        _ => format!("{name} {d}, {a}, {b}"),
    }
}

/// A loop of pieces, some of which are passed over by turns, and some of which are loops of their own.
fn program(random: &mut Random) -> String {
    let mut text = String::from("li a1, 40; j again; again: ");
    let pieces = 2 + random.below(5);
    for piece in 0..pieces {
        let inner = random.chance(1, 4);
        if inner {
            text += &format!("li a0, {}; inner{piece}: ", 1 + random.below(3));
        } else if random.chance(1, 2) {
            text += &format!("andi a3, a1, {}; beqz a3, past{piece}; ", 1 + random.below(15));
        }
        for _ in 0..1 + random.below(4) {
            text += &format!("{}; ", step(random));
        }
        if inner {
            text += &format!("addi a0, a0, -1; bnez a0, inner{piece}; ");
        }
        text += &format!("past{piece}: ");
    }
    text + "addi a1, a1, -1; bnez a1, again; sd x0, 0(x0); j ."
}

/// What is left at the end.
#[derive(Debug, PartialEq)]
struct End {
    x: Vec<u64>,
    f: Vec<u64>,
    flags: u8,
    stored: Vec<u64>,
}

fn run(engine: Engine, program: &str, seed: u64) -> End {
    let mut bare = Bare::new(engine, &CpuConfig::default(), 1, 16 * PAGE);
    bare.load(RAM, &assemble(RAM, program).unwrap_or_else(|e| panic!("{e}: {program}")).bytes);
    let images: Vec<u8> = IMAGES.iter().flat_map(|image| image.to_le_bytes()).collect();
    bare.load(SOURCE, &images);
    bare.start(0, RAM, Priv::Machine);
    let core = bare.harts[0].core_mut();
    core.set_x(12, SOURCE);
    core.set_x(14, SINK);
    let mut random = Random::new(seed);
    (0..4).for_each(|f| core.set_f(f, random.pick(IMAGES)));
    assert_eq!(bare.run(0), Stopped::Done, "{program}");
    let core = bare.harts[0].core();
    let mut stored = vec![0; images.len()];
    bare.memory.read(SINK, &mut stored).expect("RAM");
    End {
        x: (0..32).map(|r| core.x(r)).collect(),
        f: (0..4).map(|r| core.f(r)).collect(),
        flags: core.csr().fflags,
        stored: stored.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect(),
    }
}

#[test]
fn regions_end_as_the_interpreter_does() {
    let seed = number("FLOAT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FLOAT_SEED={seed}");
    let mut seeds = Random::new(seed);
    for _ in 0..number("FLOAT_LOOPS").map_or(LOOPS, |n| n as usize) {
        let seed = seeds.word();
        let program = program(&mut Random::new(seed));
        if differ(&program, seed).is_some() {
            let small = shrink(program, seed);
            let (found, expected) = differ(&small, seed).expect("a difference");
            panic!(
                "seed {seed}: {}\nregions: {found:x?}\ninterpreter: {expected:x?}",
                small.replace("; ", "\n")
            );
        }
    }
}

/// What regions and the interpreter end with, if that differs.
fn differ(program: &str, seed: u64) -> Option<(End, End)> {
    let (found, expected) = (run(Engine::Regions, program, seed), run(Engine::Interpreter, program, seed));
    (found != expected).then_some((found, expected))
}

/// Takes out whatever instruction is not needed for a difference.
fn shrink(program: String, seed: u64) -> String {
    let mut lines: Vec<&str> = program.split("; ").collect();
    let mut at = 0;
    while at < lines.len() {
        let kept =
            [":", " past", " inner", " again", "a0", "a1", "x0"].iter().any(|part| lines[at].contains(part));
        let rest = [&lines[..at], &lines[at + 1..]].concat();
        match !kept && differ(&rest.join("; "), seed).is_some() {
            true => lines = rest,
            false => at += 1,
        }
    }
    lines.join("; ")
}

/// A division by zero whose result only an access that traps would show.
#[test]
fn an_operation_raises_its_flag_though_only_a_trap_would_show_its_result() {
    let program =
        "li a1, 100; j again; again: addi a3, a1, -50; fcvt.d.l f2, a1; fcvt.d.l f3, a3; fdiv.d f1, f2, f3;
        beqz a6, over; addi a5, a5, 1; over: ld a3, 0(a2); fmv.d f1, f0; addi a1, a1, -1; bnez a1, again;
        sd x0, 0(x0); j .";
    for &engine in Engine::ALL {
        assert_eq!(run(engine, program, 0).flags & 1 << 3, 1 << 3, "{engine:?}: DZ");
    }
}

#[test]
fn an_operation_on_what_a_loop_only_copies_is_not_done_before_its_guard() {
    let program = "fld f1, 0(a2); fld f2, 24(a2); li a1, 100; j again; again: fmv.d f2, f2; fmv.d f1, f1;
        andi a3, a1, 8; beqz a3, over; fmin.d f3, f2, f1; over: addi a1, a1, -1; bnez a1, again;
        sd x0, 0(x0); j .";
    for &engine in Engine::ALL {
        assert_eq!(run(engine, program, 0).flags, 0, "{engine:?}: a quiet NaN is no invalid operand of fmin");
    }
}
