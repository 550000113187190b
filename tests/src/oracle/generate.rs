//! Random programs.
//!
//! ```text
//!  body := (row | compressed row | access | atomic | csr | branch forwards | loop)*
//! ```
//! Every instruction is legal and every access is inside the scratch buffer, atomics at multiples of their
//! size. Branches go forwards, but for loops that count down a register that nothing else writes.

use vm_cpu::isa::effects::Effects;
use vm_cpu::isa::operand::Operand;
use vm_cpu::isa::row::Operands;
use vm_cpu::isa::{Extensions, Insn, Op, decode, encode, rvc};

use super::image::{Record, SCRATCH};
use super::program::{Code, Item, Program};
use crate::random::Random;

/// Steps of a body outside of loops.
const STEPS: usize = 40;
/// Steps inside a loop, and how often it runs.
const LOOP_STEPS: usize = 6;
const LOOP_TURNS: i32 = 4;
/// How many items a branch may skip; short branches reach that far.
const SKIP: usize = 12;
/// Half of the scratch buffer, on either side of the base register.
const REACH: i32 = SCRATCH as i32 / 2;
/// The longest access.
const LONGEST: i32 = 16;

/// What programs are made of: every instruction of `extensions`, but for those of `without`.
#[derive(Clone, Copy, Debug)]
pub struct Repertoire<'a> {
    /// Extensions.
    pub extensions: Extensions,
    /// Instructions left out.
    pub without: &'a [Op],
}

impl Repertoire<'_> {
    fn has(&self, op: Op) -> bool {
        self.extensions.has(op.row().needs) && !self.without.contains(&op)
    }
}

/// The program of a seed.
pub fn generate(seed: u64, repertoire: Repertoire) -> Program {
    let mut random = Random::new(seed);
    let base = random.pick(&[2, 2, 8, 9, 11, 15, 1, 5, 20, 31]);
    let start = start(&mut random);
    let rows = Rows::of(repertoire);
    let mut body = Body {
        random,
        rows: &rows,
        repertoire,
        base,
        kept: 1 << base,
        items: Vec::new(),
        groups: 0,
        landings: Vec::new(),
        branches: Vec::new(),
    };
    for _ in 0..STEPS {
        body.step(true);
    }
    Program { base, start, body: body.finish() }
}

const CORNERS: &[u64] = &[
    0,
    1,
    2,
    u64::MAX,
    u64::MAX - 1,
    1 << 63,
    (1 << 63) - 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0xffff_ffff_8000_0000,
    63,
    64,
    0x7f,
    0x80,
    0x8000,
    0x0101_0101_0101_0101,
];

const SINGLES: &[u32] = &[
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7f80_0001,
    0xffc0_1234,
    0x4f00_0000,
    0xcf00_0000,
    0x5f00_0000,
    0x3f00_0000,
    0x4b00_0001,
];

const DOUBLES: &[u64] = &[
    0,
    1 << 63,
    1,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0xfff8_0000_0000_1234,
    0x41e0_0000_0000_0000,
    0x43e0_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0x36a0_0000_0000_0000,
];

fn start(random: &mut Random) -> Record {
    let mut start = Record::zero();
    (1..32).for_each(|r| start.x[r] = integer(random));
    (0..32).for_each(|r| start.f[r] = float(random));
    start.fcsr = (random.below(5) << 5 | random.below(32)) as u64;
    start.scratch.iter_mut().for_each(|byte| *byte = random.word() as u8);
    start
}

/// A value of an integer register: a corner, a short number or any.
pub fn integer(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.pick(CORNERS),
        1 => random.word() >> random.below(64),
        2 => ((random.word() as i64) >> random.below(64)) as u64,
        _ => random.word(),
    }
}

/// An image of an FP register: of any format, special, near 1 or any.
pub fn float(random: &mut Random) -> u64 {
    const SINGLE: u64 = 0xffff_ffff << 32;
    const HALF: u64 = 0xffff_ffff_ffff << 16;
    // Numbers near 1 meet and cancel; numbers of any exponent rarely do.
    let near_one = |random: &mut Random, bias: u64, width: u32, fraction: u32| {
        let exponent = bias - 4 + random.below(8) as u64;
        let sign = (random.word() & 1) << (width + fraction);
        sign | exponent << fraction | random.word() & ((1 << fraction) - 1)
    };
    match random.below(9) {
        0 => SINGLE | u64::from(random.pick(SINGLES)),
        1 | 2 => SINGLE | near_one(random, 127, 8, 23),
        3 => SINGLE | random.word() >> 32,
        4 => random.pick(DOUBLES),
        5 | 6 => near_one(random, 1023, 11, 52),
        7 => HALF | random.word() >> 48,
        _ => random.word(),
    }
}

/// The rows that steps choose from.
struct Rows {
    plain: Vec<Op>,
    access: Vec<Op>,
    atomic: Vec<Op>,
    compressed: Vec<&'static rvc::Compressed>,
}

impl Rows {
    fn of(repertoire: Repertoire) -> Rows {
        let there = |op: &Op| repertoire.has(*op);
        let ops =
            |kind: Kind| Op::ALL.iter().copied().filter(there).filter(|&op| Kind::of(op) == kind).collect();
        let compressed =
            rvc::ROWS.iter().filter(|row| row.name != "c.ebreak" && Kind::of(row.op) != Kind::Control);
        Rows {
            plain: ops(Kind::Plain),
            access: ops(Kind::Access),
            atomic: ops(Kind::Atomic),
            compressed: compressed.collect(),
        }
    }
}

/// How an instruction can take part in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With any operands.
    Plain,
    /// `imm(rs1)` must be in the scratch buffer.
    Access,
    /// `(rs1)` must be, at a multiple of the size.
    Atomic,
    /// As a step of its own.
    Control,
    /// Not at all.
    Never,
}

impl Kind {
    fn of(op: Op) -> Kind {
        let needs = op.row().needs;
        let format = op.row().format;
        let has = |operand| format.contains(&operand);
        match op {
            Op::jalr | Op::jal | Op::ecall | Op::ebreak => Kind::Control,
            // QEMU 10.0 leaves them out, with the flags they raise, if nobody reads the result.
            Op::fround_s | Op::fround_d | Op::froundnx_s | Op::froundnx_d => Kind::Never,
            // Privileged.
            Op::mret | Op::wfi => Kind::Never,
            _ if needs.has(Extensions::S) => Kind::Never,
            _ if has(Operand::Csr) || has(Operand::Branch) => Kind::Control,
            _ if has(Operand::Offset) || has(Operand::StoreOffset) => Kind::Access,
            _ if has(Operand::Base) => Kind::Atomic,
            _ => Kind::Plain,
        }
    }
}

/// A body as it grows.
struct Body<'a> {
    random: Random,
    rows: &'a Rows,
    repertoire: Repertoire<'a>,
    base: u8,
    /// Registers that may not be written now, as bits.
    kept: u32,
    items: Vec<Item>,
    groups: usize,
    /// Where steps begin: a branch may land there, and not within a step.
    landings: Vec<usize>,
    /// Branches whose targets are at least so many items further.
    branches: Vec<(usize, usize)>,
}

impl Body<'_> {
    fn group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    fn put(&mut self, group: usize, code: Code) {
        self.items.push(Item { code, group });
    }

    fn step(&mut self, outside: bool) {
        self.landings.push(self.items.len());
        match self.random.below(21) {
            0..8 => self.plain(),
            8..12 => self.compressed(),
            12..14 => self.access(),
            14 | 15 => self.atomic(),
            16 => self.csr(),
            17 | 18 => self.branch(),
            19 => self.rotation(),
            _ if outside => self.count_down(),
            _ => self.plain(),
        }
    }

    /// A register to write; x0 among them.
    fn target(&mut self) -> u8 {
        loop {
            let r = self.random.below(32) as u8;
            if self.kept >> r & 1 == 0 {
                return r;
            }
        }
    }

    /// A register for an address.
    fn pointer(&mut self) -> u8 {
        loop {
            let r = self.target();
            if r != 0 {
                return r;
            }
        }
    }

    fn source(&mut self) -> u8 {
        self.random.below(32) as u8
    }

    /// Operands and flags for a row; accesses have still to be aimed.
    fn operands(&mut self, op: Op) -> (Operands, u32) {
        let (mut o, mut flags) = (Operands::default(), 0);
        for &operand in op.row().format {
            use Operand::*;
            match operand {
                Rd => o.rd = self.target(),
                Fd => o.rd = self.source(),
                Rs1 | Fs1 | Fli | Zimm | Base | Offset | StoreOffset => o.rs1 = self.source(),
                Rs2 | Fs2 => o.rs2 = self.source(),
                Fs3 => o.rs3 = self.source(),
                Simm => o.imm = self.random.within(-2048..=2047),
                Upper => o.imm = (self.random.word() as i32) & !0xfff,
                Shamt6 => o.imm = self.random.within(0..=63),
                Shamt5 | MopR => o.imm = self.random.within(0..=31),
                MopRr => o.imm = self.random.within(0..=7),
                Rm | RmExact => flags |= self.random.pick(&[0, 1, 2, 3, 4, 7, 7, 7]) << 12,
                Pred => flags |= (self.random.below(16) as u32) << 24,
                Succ => flags |= (self.random.below(16) as u32) << 20,
                Order => flags |= (self.random.below(4) as u32) << 25,
                Branch | Jump | Csr | Rtz | CMop => {}
            }
        }
        (o, flags)
    }

    fn plain(&mut self) {
        let op = self.random.pick(&self.rows.plain);
        let (operands, flags) = self.operands(op);
        let group = self.group();
        self.put(group, word(op, operands, flags));
    }

    /// Two shifts that most often are a rotation together, and what is done with that.
    fn rotation(&mut self) {
        let (left, right, bits) = self.random.pick(&[
            (Op::slliw, Op::srliw, 32),
            (Op::slliw, Op::srliw, 32),
            (Op::slli, Op::srli, 64),
        ]);
        let x = self.source();
        let (a, b, c) = (self.target(), self.target(), self.target());
        let n = self.random.within(1..=bits - 1);
        let m = if self.random.below(8) == 0 { self.random.within(0..=bits - 1) } else { bits - n };
        let right = if self.random.below(8) == 0 { self.random.pick(&[Op::sraiw, Op::srai]) } else { right };
        let m = if right == Op::sraiw { m % 32 } else { m };
        let shift = |op, rd, imm| word(op, Operands { rd, rs1: x, imm, ..Operands::default() }, 0);
        let mut codes = vec![shift(left, a, n), shift(right, b, m)];
        if a != x && self.random.below(2) == 0 {
            codes.reverse();
        }
        let both = |op, rd, rs1, rs2| word(op, Operands { rd, rs1, rs2, ..Operands::default() }, 0);
        let join = self.random.pick(&[Op::or, Op::or, Op::xor, Op::add, Op::addw, Op::and]);
        codes.push(if self.random.below(2) == 0 { both(join, c, a, b) } else { both(join, c, b, a) });
        for _ in 0..self.random.below(4) {
            use Op::*;
            let op =
                self.random.pick(&[addw, subw, mulw, sllw, srlw, sraw, xor, or, and, slt, sltu, add, srl]);
            let (rd, other) = (self.target(), self.random.pick(&[a, b, c, x]));
            codes.push(both(op, rd, c, other));
        }
        for code in codes {
            let group = self.group();
            self.put(group, code);
        }
    }

    /// Whether an instruction is one of the repertoire and writes only what may be written.
    fn may(&self, insn: &Insn) -> bool {
        self.repertoire.has(insn.op) && Effects::of(insn).x_written & self.kept == 0
    }

    fn compressed(&mut self) {
        let row = self.random.pick(&self.rows.compressed);
        let half = (row.pattern.value | self.random.word() as u32 & row.pattern.open) as u16;
        let Some(insn) = decode(half.into(), self.repertoire.extensions).filter(|insn| self.may(insn)) else {
            return;
        };
        if Kind::of(insn.op) == Kind::Control {
            return; // `c.add` of x0 is a `c.jalr`
        }
        let group = self.group();
        if Kind::of(insn.op) == Kind::Access && !self.aim(group, insn.rs1, insn.imm, insn.imm + LONGEST) {
            return;
        }
        self.put(group, Code::Half(half));
    }

    /// Makes register `r` point so that `from..to` behind it lies in the scratch buffer; false if it cannot.
    fn aim(&mut self, group: usize, r: u8, from: i32, to: i32) -> bool {
        if r == self.base {
            return from >= -REACH && to <= REACH;
        }
        if r == 0 || self.kept >> r & 1 == 1 {
            return false;
        }
        let imm = self.random.within((-REACH - from).max(-2048)..=(REACH - to).min(2047));
        self.put(group, word(Op::addi, Operands { rd: r, rs1: self.base, imm, ..Operands::default() }, 0));
        true
    }

    fn access(&mut self) {
        let op = self.random.pick(&self.rows.access);
        let (mut operands, flags) = self.operands(op);
        let group = self.group();
        if self.random.chance(1, 2) {
            operands.rs1 = self.base;
            operands.imm = self.random.within(-REACH..=REACH - LONGEST);
        } else {
            operands.rs1 = self.pointer();
            operands.imm = self.random.within(-2048 + REACH..=2047 - REACH);
            self.aim(group, operands.rs1, operands.imm, operands.imm + LONGEST);
        }
        self.put(group, word(op, operands, flags));
    }

    /// Puts the address of an aligned block of 16 bytes into a register.
    fn point(&mut self, group: usize) -> u8 {
        let r = self.pointer();
        let imm = self.random.within(-REACH / 16..=REACH / 16 - 1) * 16;
        self.put(group, word(Op::addi, Operands { rd: r, rs1: self.base, imm, ..Operands::default() }, 0));
        r
    }

    fn atomic(&mut self) {
        let op = self.random.pick(&self.rows.atomic);
        match op {
            Op::lr_w | Op::sc_w => return self.reservation(Op::lr_w, Op::sc_w),
            Op::lr_d | Op::sc_d => return self.reservation(Op::lr_d, Op::sc_d),
            _ => {}
        }
        let (mut operands, flags) = self.operands(op);
        if op == Op::amocas_q {
            (operands.rd, operands.rs2) = (operands.rd & !1, operands.rs2 & !1);
            if self.kept >> operands.rd & 3 != 0 {
                return;
            }
        }
        if matches!(op, Op::amocas_w | Op::amocas_d | Op::amocas_q) && operands.rd == 0 {
            return; // QEMU 10.0 changes its x0 by it
        }
        let group = self.group();
        operands.rs1 = self.point(group);
        self.put(group, word(op, operands, flags));
    }

    /// `lr`, something in between, and `sc` to the same place or to another one, once or twice.
    fn reservation(&mut self, lr: Op, sc: Op) {
        let group = self.group();
        let at = self.point(group);
        let place = if self.random.chance(1, 3) { self.base } else { at };
        let kept = self.kept;
        self.kept |= 1 << at;
        let (loaded, flags) = self.operands(lr);
        self.put(group, word(lr, Operands { rs1: at, ..loaded }, flags));
        if self.random.chance(1, 3) {
            self.plain();
        }
        for _ in 0..=self.random.below(2) {
            let (stored, flags) = self.operands(sc);
            self.put(group, word(sc, Operands { rs1: place, ..stored }, flags));
        }
        self.kept = kept;
    }

    /// An access to the FP CSRs that leaves a rounding mode in `frm`.
    fn csr(&mut self) {
        const FFLAGS: i32 = 1;
        const FRM: i32 = 2;
        const FCSR: i32 = 3;
        let (op, imm) = self.random.pick(&[
            (Op::csrrw, FFLAGS),
            (Op::csrrs, FFLAGS),
            (Op::csrrc, FFLAGS),
            (Op::csrrwi, FFLAGS),
            (Op::csrrsi, FFLAGS),
            (Op::csrrci, FFLAGS),
            (Op::csrrwi, FRM),
            (Op::csrrwi, FRM),
            (Op::csrrci, FRM),
            (Op::csrrs, FCSR),
            (Op::csrrci, FCSR),
        ]);
        let (mut operands, flags) = self.operands(op);
        operands.imm = imm;
        match (op, imm) {
            (Op::csrrwi, FRM) => operands.rs1 %= 5,
            (Op::csrrs, FCSR) => operands.rs1 = 0,
            _ => {}
        }
        let group = self.group();
        self.put(group, word(op, operands, flags));
    }

    /// A branch or jump over some of what follows.
    fn branch(&mut self) {
        let (rs1, rs2) = (self.source(), self.source());
        let short = 8 + self.random.below(8) as u8;
        let branches = [Op::beq, Op::bne, Op::blt, Op::bge, Op::bltu, Op::bgeu];
        let to = 0;
        let code = match self.random.below(8) {
            0 => Code::Jump { rd: self.target(), to },
            1 => Code::ShortJump { to },
            2 => Code::JumpThrough { rd: self.target(), via: self.pointer(), to },
            3 => Code::ShortBranch { zero: self.random.chance(1, 2), rs1: short, to },
            _ => Code::Branch { op: self.random.pick(&branches), rs1, rs2, to },
        };
        let skip = self.random.below(SKIP);
        self.branches.push((self.items.len(), skip));
        let group = self.group();
        self.put(group, code);
    }

    /// A loop. No branch leads into it past its start, and none out of it: all its turns count.
    fn count_down(&mut self) {
        let counter = self.pointer();
        let turns = 1 + self.random.below(LOOP_TURNS as usize) as i32;
        let count = |rs1, imm| word(Op::addi, Operands { rd: counter, rs1, imm, ..Operands::default() }, 0);
        self.end_branches();
        let group = self.group();
        self.put(group, count(0, turns));
        let top = self.items.len();
        self.kept |= 1 << counter;
        for _ in 0..1 + self.random.below(LOOP_STEPS) {
            self.step(false);
        }
        self.end_branches();
        self.put(group, count(counter, -1));
        self.put(group, Code::Branch { op: Op::bne, rs1: counter, rs2: 0, to: top });
        self.kept &= !(1 << counter);
    }

    /// Branches that still wait for a target go no further than here.
    fn end_branches(&mut self) {
        let here = self.items.len();
        for (at, skip) in std::mem::take(&mut self.branches) {
            let landing = self.landings.iter().copied().find(|&landing| landing > at + skip);
            let target = landing.unwrap_or(here);
            match &mut self.items[at].code {
                Code::Branch { to, .. }
                | Code::ShortBranch { to, .. }
                | Code::Jump { to, .. }
                | Code::ShortJump { to }
                | Code::JumpThrough { to, .. } => *to = target,
                Code::Word(_) | Code::Half(_) | Code::Nothing => {}
            }
        }
    }

    fn finish(mut self) -> Vec<Item> {
        self.end_branches();
        self.items
    }
}

fn word(op: Op, operands: Operands, flags: u32) -> Code {
    Code::Word(encode(op, &operands, flags).unwrap_or_else(|| panic!("{op:?} {operands:?} {flags:#x}")))
}
