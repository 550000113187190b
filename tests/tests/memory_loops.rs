//! Short loops that move over memory: several rounds made one end as the interpreter's single ones do, at every
//! page's end, beside code, and where an access in the middle traps.
//!
//! `MEMORY_LOOPS=n` runs so many random loops, `MEMORY_SEED=n` from that seed instead of a new one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use tests::bare::{Bare, Engine, RAM, Stopped};
use tests::random::Random;
use vm_cpu::isa::asm::assemble;
use vm_cpu::{CpuConfig, Lockstep, Priv};

const LOOPS: usize = 600;
const PAGE: u64 = 4096;
/// Below it is memory to work on, and below that nothing.
const CODE: u64 = RAM + 8 * PAGE;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Where a pointer begins, and what a round adds to it.
fn pointer(random: &mut Random) -> (u64, i32) {
    let size = random.pick(&[1, 2, 4, 8, 16, 24, 40, 100]);
    let near = random.within(-64..=64) as u64;
    match random.below(4) {
        // Over the end of RAM.
        0 => (RAM + 8 * size as u64 * random.below(20) as u64 + near % 8, -size),
        // Beside the code.
        1 => (CODE + 2048 + random.below(512) as u64, random.pick(&[0, size.min(16)])),
        _ => {
            let start = RAM + (2 + random.below(4) as u64) * PAGE;
            (start.wrapping_add(near), random.pick(&[size, -size, 0]))
        }
    }
}

/// An instruction of a loop's body; pointers are a2 to a4.
fn step(random: &mut Random) -> String {
    let value = random.pick(&["a5", "a6", "a7", "t0"]);
    let other = random.pick(&["a5", "a6", "a7", "t0"]);
    let pointer = random.pick(&["a2", "a3", "a4"]);
    let offset = random.within(-24..=24);
    match random.below(10) {
        0..4 => {
            let name = random.pick(&["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld"]);
            format!("{name} {value}, {offset}({pointer})")
        }
        4..7 => format!("{} {value}, {offset}({pointer})", random.pick(&["sb", "sh", "sw", "sd"])),
        7 => format!("mv t1, {pointer}; ld {value}, {offset}(t1)"),
        8 => format!("fld f1, {offset}({pointer}); fadd.d f0, f0, f1; fsd f0, {}({pointer})", offset + 8),
        _ => format!("{} {value}, {value}, {other}", random.pick(&["add", "xor", "mul", "sub"])),
    }
}

fn program(random: &mut Random) -> String {
    let mut text = format!("li a1, {}; ", 1 + random.below(400));
    let mut moves = Vec::new();
    for name in ["a2", "a3", "a4"] {
        let (start, step) = pointer(random);
        text += &format!("li {name}, {start}; ");
        moves.push(format!("addi {name}, {name}, {step}"));
    }
    text += "j again; again: ";
    let mut body: Vec<String> = (0..1 + random.below(5)).map(|_| step(random)).collect();
    for moved in moves {
        body.insert(random.below(body.len() + 1), moved);
    }
    text += &body.join("; ");
    // Some end by what they read.
    let end = random.pick(&["bnez a1, again", "bnez a1, again", "bltu t0, a1, again", "bltu a6, a1, again"]);
    text + "; addi a1, a1, -1; " + end + "; sd x0, 0(x0); wfi; j ."
}

/// What is left at the end.
#[derive(Debug, PartialEq)]
struct End {
    stopped: Stopped,
    trap: [u64; 3],
    retired: u64,
    x: Vec<u64>,
    f: Vec<u64>,
    memory: Vec<u8>,
}

/// Page tables that lead to the pages of data in another order, and to one of them not at all. Gives `satp`.
fn map(bare: &Bare) -> u64 {
    let table = |at: u64| CODE + (2 + at) * PAGE;
    let entry = |gpa: u64, bits: u64| gpa >> 12 << 10 | bits | 1;
    let set = |of: u64, index: u64, entry: u64| bare.load(of + 8 * index, &entry.to_le_bytes());
    set(table(0), 0, entry(table(1), 0));
    set(table(0), RAM >> 30, entry(table(2), 0));
    set(table(1), 0, entry(table(3), 0));
    set(table(2), 0, entry(table(4), 0));
    // The exit words, data, code.
    set(table(3), 0, entry(0, 0xc6));
    for page in 0..8 {
        let gpa = RAM + (page * 3 + 1) % 8 * PAGE;
        set(table(4), page, if page == 3 { 0 } else { entry(gpa, 0xc6) });
    }
    set(table(4), 8, entry(CODE, 0xce));
    8 << 60 | table(0) >> 12
}

fn run(engine: Engine, program: &str, paged: bool) -> End {
    let mut bare = Bare::new(engine, &CpuConfig::default(), 1, 16 * PAGE);
    let mut filled = Random::new(7);
    let data: Vec<u8> = (0..CODE - RAM).map(|_| filled.word() as u8).collect();
    bare.load(RAM, &data);
    bare.load(CODE, &assemble(CODE, program).unwrap_or_else(|e| panic!("{e}: {program}")).bytes);
    bare.start(0, CODE, if paged { Priv::Supervisor } else { Priv::Machine });
    if paged {
        let satp = map(&bare);
        bare.harts[0].core_mut().with_csr(|csr| csr.satp = satp);
    }
    let stopped = bare.run(0);
    let mut memory = vec![0; (CODE + PAGE - RAM) as usize];
    bare.memory.read(RAM, &mut memory).expect("RAM");
    let core = bare.harts[0].core();
    let csr = core.csr();
    End {
        stopped,
        trap: [csr.mcause, csr.mepc, csr.mtval],
        retired: core.retired(),
        x: (0..32).map(|r| core.x(r)).collect(),
        f: (0..2).map(|r| core.f(r)).collect(),
        memory,
    }
}

#[test]
fn loops_end_as_the_interpreter_does() {
    let seed = number("MEMORY_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("MEMORY_SEED={seed}");
    let mut seeds = Random::new(seed);
    let (mut done, mut trapped) = (0, 0);
    for _ in 0..number("MEMORY_LOOPS").map_or(LOOPS, |n| n as usize) {
        let program = program(&mut Random::new(seeds.word()));
        let paged = seeds.chance(1, 2);
        let expected = run(Engine::Interpreter, &program, paged);
        match expected.stopped {
            Stopped::Done => done += 1,
            Stopped::Trapped => trapped += 1,
            other => panic!("{other:?}: {}", program.replace("; ", "\n")),
        }
        for engine in [Engine::Blocks, Engine::Regions] {
            let found = run(engine, &program, paged);
            let text = program.replace("; ", "\n");
            let changed =
                found.memory.iter().zip(&expected.memory).position(|(found, expected)| found != expected);
            assert_eq!(changed, None, "{engine:?}: a byte of RAM of\n{text}");
            assert!(
                found == expected,
                "{engine:?}: {:x?}\ninterpreter: {:x?}\n{text}",
                found.registers(),
                expected.registers()
            );
        }
        let lockstep = run(Engine::Lockstep(Lockstep::Chains), &program, paged);
        assert_eq!(lockstep.stopped, expected.stopped, "{}", program.replace("; ", "\n"));
    }
    assert!(done > 0 && trapped > 0, "{done} loops ended, {trapped} trapped");
}

impl End {
    /// All but memory, for a message.
    fn registers(&self) -> (Stopped, [u64; 3], u64, &[u64], &[u64]) {
        (self.stopped, self.trap, self.retired, &self.x, &self.f)
    }
}
