//! Any block of instructions, in every engine: all end alike, to the bit and to the instruction.
//!
//! ```text
//!  0..8 seed of registers and memory   8 mode and paging   then 6 bytes an instruction: row, operands
//!  turn: state as the seed says ─► body ─► ebreak          traps on the way are noted and stepped over
//! ```
//! Operands are as they come, so that accesses hit, miss, cross pages and fault. Branches lead forwards, but for
//! loops that share one count of turns, so every body ends. Left out is what would end or change the world around
//! it: returns from traps, waits, and jumps through a register.

use std::cell::RefCell;

use vm_cpu::csr::CsrFile;
use vm_cpu::csr::fields::{envcfg, status};
use vm_cpu::isa::effects::Effects;
use vm_cpu::isa::operand::Operand;
use vm_cpu::isa::row::Operands;
use vm_cpu::isa::{Extensions, Insn, Op, decode, disassemble, encode, rvc};
use vm_cpu::{CpuConfig, Priv};
use vm_mmu::PAGE;

use super::Input;
use crate::bare::{Bare, Engine, RAM, Stopped};
use crate::oracle::{float, integer};
use crate::random::Random;

/// Instructions of a body at most.
const LONGEST: usize = 64;
/// Runs of a body: enough for every engine to compile it.
const TURNS: usize = 4;
/// Traps that are stepped over in one run.
const TRAPS: usize = 24;
/// Backward jumps of one run.
const LOOPS: u64 = 12;
/// The register that counts them, which bodies do not write.
const COUNT: u8 = 31;
/// Bytes of an instruction in the input, and before the first.
const STEP: usize = 6;
const HEADER: usize = 9;
/// How many rows' worth of backward jumps there are.
const BACKS: usize = 8;
/// CSRs that can be accessed without the world around the body changing.
const CSRS: [u32; 16] = [
    0x001, 0x002, 0x003, 0x003, 0xc00, 0xc01, 0xc02, 0xc02, 0x100, 0x100, 0x105, 0x140, 0x141, 0x142, 0x143,
    0x7c0,
];
/// Cache-block operations are permitted.
const CACHE: u64 = envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE;

/// Pages from [`RAM`] on: code, what data may be in, page tables.
const DATA: u64 = 2;
const DATA_END: u64 = 8;
const TABLES: u64 = 12;
const PAGES: u64 = 20;

/// What a run ended with.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// How it stopped each time: cause, pc and value of the traps.
    stops: Vec<(Stopped, u64, u64, u64)>,
    x: Vec<u64>,
    f: Vec<u64>,
    csr: CsrFile,
    memory: Vec<u8>,
}

/// The target.
pub fn run(data: &[u8]) {
    if let Err(report) = check(data) {
        let (small, report) = shrink(data.to_vec(), report);
        panic!("{report}input: {small:02x?}");
    }
}

fn check(data: &[u8]) -> Result<(), String> {
    compare(&Body::read(Input(data)))
}

/// Takes out whatever instruction is not needed for a difference.
fn shrink(mut data: Vec<u8>, mut report: String) -> (Vec<u8>, String) {
    let mut at = HEADER;
    while at + STEP <= data.len() {
        let smaller = [&data[..at], &data[at + STEP..]].concat();
        match check(&smaller) {
            Err(found) => (data, report) = (smaller, found),
            Ok(()) => at += STEP,
        }
    }
    (data, report)
}

/// Runs a body in all engines; the first difference as a report.
fn compare(body: &Body) -> Result<(), String> {
    thread_local! {
        static MACHINES: RefCell<Vec<(Engine, Bare)>> = RefCell::new(
            Engine::ALL.iter().map(|&engine| (engine, machine(engine))).collect(),
        );
    }
    MACHINES.with_borrow_mut(|machines| {
        let mut all = machines.iter_mut().map(|(engine, bare)| (*engine, body.run(bare)));
        let Some((_, expected)) = all.next() else { return Ok(()) };
        for (engine, found) in all {
            let turns = found.iter().zip(&expected).enumerate();
            if let Some((turn, (found, expected))) = turns.into_iter().find(|(_, (a, b))| a != b) {
                return Err(body.report(engine, turn, expected, found));
            }
        }
        Ok(())
    })
}

fn machine(engine: Engine) -> Bare {
    Bare::new(engine, &CpuConfig::default(), 1, PAGES * PAGE)
}

/// A body, laid out.
struct Body {
    code: Vec<u8>,
    /// Where its instructions begin, and how long they are.
    insns: Vec<(u64, u8)>,
    seed: u64,
    mode: Priv,
    paging: bool,
}

/// An instruction before it has a place.
enum Piece {
    Fixed(u32, u8),
    /// Goes on that many pieces further.
    Branch(Op, Operands, usize),
    Short(&'static str, u8, usize),
    /// Goes back that many pieces while the count lasts.
    Back(usize),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Fixed(_, len) => u64::from(*len),
            Piece::Branch(..) => 4,
            Piece::Short(..) => 2,
            Piece::Back(_) => 12,
        }
    }
}

impl Body {
    fn read(mut input: Input) -> Body {
        let (seed, flags) = (input.number::<8>(), input.byte());
        let mut pieces = Vec::new();
        while input.0.len() >= STEP && pieces.len() < LONGEST {
            let (row, bits) = (input.number::<2>() as usize, input.number::<4>() as u32);
            pieces.extend(piece(row, bits));
        }
        let mut starts = vec![RAM];
        starts.extend(pieces.iter().scan(RAM, |at, piece| {
            *at += piece.len();
            Some(*at)
        }));
        let mut body = Body {
            code: Vec::new(),
            insns: Vec::new(),
            seed,
            mode: if flags & 1 == 0 { Priv::User } else { Priv::Supervisor },
            paging: flags & 2 != 0,
        };
        for (at, piece) in pieces.iter().enumerate() {
            body.place(at, piece, &starts);
        }
        body.put(encode(Op::ebreak, &Operands::default(), 0).expect("no operands"), 4);
        body
    }

    fn put(&mut self, word: u32, len: u8) {
        self.insns.push((RAM + self.code.len() as u64, len));
        self.code.extend(&word.to_le_bytes()[..len.into()]);
    }

    fn place(&mut self, at: usize, piece: &Piece, starts: &[u64]) {
        let none = Operands::default();
        let reach = |forward: usize, from: u64| {
            let to = starts[(at + 1 + forward).min(starts.len() - 1)];
            to.wrapping_sub(from) as i32
        };
        let word = |op, operands: &Operands| encode(op, operands, 0).expect("operands that fit");
        match *piece {
            Piece::Fixed(bits, len) => self.put(bits, len),
            Piece::Branch(op, operands, forward) => {
                self.put(word(op, &Operands { imm: reach(forward, starts[at]), ..operands }), 4);
            }
            Piece::Short(name, rs1, forward) => {
                let row = rvc::ROWS.iter().find(|row| row.name == name).expect("a row of the table");
                let operands = Operands { rs1, imm: reach(forward, starts[at]), ..none };
                self.put(row.encode(&operands, 0).expect("operands that fit").into(), 2);
            }
            Piece::Back(back) => {
                let to = starts[at.saturating_sub(back)];
                self.put(word(Op::beq, &Operands { rs1: COUNT, imm: 12, ..none }), 4);
                self.put(word(Op::addi, &Operands { rd: COUNT, rs1: COUNT, imm: -1, ..none }), 4);
                let imm = to.wrapping_sub(starts[at] + 8) as i32;
                self.put(word(Op::jal, &Operands { imm, ..none }), 4);
            }
        }
    }

    /// Runs it a few times from the same state.
    fn run(&self, bare: &mut Bare) -> Vec<Outcome> {
        put(bare, RAM + TABLES * PAGE, &tables(self.mode == Priv::User));
        bare.start(0, RAM, self.mode);
        let csr = bare.harts[0].core().csr().clone();
        (0..TURNS).map(|_| self.turn(bare, &csr)).collect()
    }

    fn turn(&self, bare: &mut Bare, reset: &CsrFile) -> Outcome {
        self.begin(bare, reset);
        let mut stops = Vec::new();
        loop {
            let stopped = bare.run(0);
            let csr = bare.harts[0].core().csr();
            let pc = csr.mepc;
            stops.push((stopped, csr.mcause, pc, csr.mtval));
            let next = self.insns.iter().find(|(at, _)| *at == pc).map(|(at, len)| at + u64::from(*len));
            let Some(next) = next.filter(|_| stopped == Stopped::Trapped && stops.len() < TRAPS) else {
                break;
            };
            if next == RAM + self.code.len() as u64 {
                break;
            }
            bare.resume(0, next, self.mode);
        }
        outcome(bare, stops)
    }

    fn begin(&self, bare: &mut Bare, reset: &CsrFile) {
        let mut random = Random::new(self.seed);
        let words = (DATA_END - DATA) * PAGE / 8;
        let data: Vec<u8> = (0..words).flat_map(|_| random.word().to_le_bytes()).collect();
        put(bare, RAM + DATA * PAGE, &data);
        let mut code = self.code.clone();
        code.resize((DATA * PAGE) as usize, 0);
        put(bare, RAM, &code);
        put(bare, RAM + TABLES * PAGE, &tables(self.mode == Priv::User));
        let core = bare.harts[0].core_mut();
        (1..32).for_each(|r| core.set_x(r, number(&mut random)));
        core.set_x(COUNT.into(), LOOPS);
        (0..32).for_each(|r| core.set_f(r, float(&mut random)));
        let bits = random.word();
        core.with_csr(|csr| {
            csr.clone_from(reset);
            (csr.fflags, csr.frm) =
                (bits as u8 & 31, if bits >> 8 & 3 == 0 { (bits >> 10) as u8 & 7 } else { 0 });
            (csr.mcounteren, csr.scounteren) = (7, 7);
            (csr.menvcfg, csr.senvcfg) = (CACHE, CACHE);
            csr.mstatus |= if bits >> 16 & 1 == 0 { 0 } else { status::SUM };
            csr.satp = if self.paging { 8 << 60 | (RAM / PAGE + TABLES) } else { 0 };
        });
        bare.resume(0, RAM, self.mode);
    }

    /// What a person needs to see of a difference.
    fn report(&self, engine: Engine, turn: usize, expected: &Outcome, found: &Outcome) -> String {
        let mut text = format!("{engine:?} differs from the interpreter in turn {turn}; ");
        text += &format!("seed {:#x}, {:?}, paging {}\n", self.seed, self.mode, self.paging);
        for &(at, len) in &self.insns {
            let from = (at - RAM) as usize;
            let bytes = &self.code[from..from + usize::from(len)];
            let bits = bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u32::from(byte));
            let insn = decode(bits, Extensions::all()).map(|insn| disassemble(&insn, at));
            text += &format!("  {at:x}: {}\n", insn.unwrap_or_default());
        }
        let (expected, found) = (expected.lines(), found.lines());
        for (expected, found) in expected.lines().zip(found.lines()).filter(|(a, b)| a != b) {
            text += &format!("expected {}, found {}\n", expected.trim(), found.trim());
        }
        text
    }
}

impl Outcome {
    fn lines(&self) -> String {
        let mut text = String::new();
        self.stops.iter().for_each(|stop| text += &format!("stop {stop:x?}\n"));
        text += &"-\n".repeat(TRAPS - self.stops.len().min(TRAPS));
        for r in 0..32 {
            text += &format!("x{r} {:#x}\nf{r} {:#x}\n", self.x[r], self.f[r]);
        }
        text += &format!("{:#x?}\n", self.csr);
        for (at, word) in self.memory.chunks(8).enumerate() {
            text += &format!("{:#x}: {word:02x?}\n", RAM + at as u64 * 8);
        }
        text
    }
}

fn outcome(bare: &Bare, stops: Vec<(Stopped, u64, u64, u64)>) -> Outcome {
    let mut memory = vec![0; (DATA_END * PAGE) as usize];
    bare.memory.read(RAM, &mut memory).expect("RAM");
    let core = bare.harts[0].core();
    let (x, f) = ((0..32).map(|r| core.x(r)).collect(), (0..32).map(|r| core.f(r)).collect());
    Outcome { stops, x, f, csr: core.csr().clone(), memory }
}

/// Writes pages that are not so already: what was made from code that is still there stays.
fn put(bare: &Bare, gpa: u64, bytes: &[u8]) {
    let mut held = vec![0; PAGE as usize];
    for (at, page) in (gpa..).step_by(PAGE as usize).zip(bytes.chunks(PAGE as usize)) {
        bare.memory.read(at, &mut held[..page.len()]).expect("RAM");
        if held[..page.len()] != *page {
            bare.load(at, page);
        }
    }
}

/// An instruction of the row and with the operands that the input asks for, if it may be in a body.
fn piece(row: usize, bits: u32) -> Option<Piece> {
    let (words, halves) = (Op::ALL.len(), rvc::ROWS.len());
    let forward = (bits >> 24 & 7) as usize;
    let may = |insn: &Insn| Effects::of(insn).x_written >> COUNT & 1 == 0;
    match row % (words + halves + BACKS) {
        row if row < words => {
            let op = Op::ALL[row];
            let pattern = op.row().pattern;
            let insn = decode(pattern.value | bits & pattern.open, Extensions::all()).filter(may)?;
            let operands = Operands::from(&insn);
            match insn.op {
                Op::jalr | Op::mret | Op::sret | Op::wfi => None,
                Op::jal => Some(Piece::Branch(Op::jal, Operands { imm: 0, ..operands }, forward)),
                op if op.row().format.contains(&Operand::Branch) => {
                    Some(Piece::Branch(op, Operands { imm: 0, ..operands }, forward))
                }
                op if op.row().format.contains(&Operand::Csr) => {
                    let csr = CSRS[bits as usize >> 20 & 15];
                    Some(Piece::Fixed(insn.full & 0xf_ffff | csr << 20, 4))
                }
                _ => Some(Piece::Fixed(insn.full, 4)),
            }
        }
        row if row < words + halves => {
            let pattern = rvc::ROWS[row - words].pattern;
            let half = pattern.value | bits & pattern.open & 0xffff;
            let insn = decode(half, Extensions::all()).filter(may)?;
            match insn.op {
                Op::jalr => None,
                Op::jal => Some(Piece::Short("c.j", 0, forward)),
                Op::beq => Some(Piece::Short("c.beqz", insn.rs1, forward)),
                Op::bne => Some(Piece::Short("c.bnez", insn.rs1, forward)),
                _ => Some(Piece::Fixed(half, 2)),
            }
        }
        _ => Some(Piece::Back((bits & 15) as usize)),
    }
}

/// Page tables of three levels over the pages from [`RAM`] on: plain ones, swapped ones, an alias, a page that
/// is read only, one never accessed, one never written, one of the other mode.
fn tables(user: bool) -> Vec<u8> {
    const VALID: u64 = 1;
    const R: u64 = 2;
    const W: u64 = 4;
    const X: u64 = 8;
    const U: u64 = 16;
    const A: u64 = 64;
    const D: u64 = 128;
    let mode = if user { U } else { 0 };
    let entry = |page: u64, flags: u64| (RAM / PAGE + page) << 10 | flags | VALID;
    let mut words = vec![0; 3 * 512];
    words[(RAM >> 30 & 511) as usize] = entry(TABLES + 1, 0);
    words[512] = entry(TABLES + 2, 0);
    let (rw, rx) = (R | W | A | D, R | X | A | D);
    let leaves = [
        entry(0, rx | mode),
        entry(1, rx | mode),
        entry(2, rw | mode),
        entry(4, rw | mode),
        entry(3, rw | mode),
        entry(5, R | A | D | mode),
        entry(2, rw | mode),
        entry(6, R | W | mode),
        entry(7, R | W | A | mode),
        entry(6, rw | mode ^ U),
    ];
    words[1024..1024 + leaves.len()].copy_from_slice(&leaves);
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// A register's value: an address as often as not.
fn number(random: &mut Random) -> u64 {
    if random.chance(1, 2) {
        return integer(random);
    }
    let page = RAM + (DATA + random.below(8) as u64) * PAGE;
    page + match random.below(4) {
        0 => PAGE - 1 - random.below(24) as u64,
        1 => random.below(PAGE as usize) as u64,
        _ => random.below(PAGE as usize / 64) as u64 * 64 + random.pick(&[0, 0, 8, 16, 32, 4]),
    }
}
