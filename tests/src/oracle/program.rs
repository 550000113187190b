//! A program: what its registers hold when it starts, and its body.
//!
//! Jumps name the item they go to, so that items can be taken out of a body without mending the rest; an item
//! that was taken out has no bytes.

use std::fmt::Write;

use vm_cpu::isa::row::Operands;
use vm_cpu::isa::{Extensions, Op, decode, disassemble, encode, rvc};

use super::image::{Record, SCRATCH};

/// One instruction, or two that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Four bytes that mean the same everywhere.
    Word(u32),
    /// Two bytes, likewise.
    Half(u16),
    /// A branch to item `to`.
    Branch { op: Op, rs1: u8, rs2: u8, to: usize },
    /// `c.beqz` or `c.bnez`.
    ShortBranch { zero: bool, rs1: u8, to: usize },
    /// `jal`.
    Jump { rd: u8, to: usize },
    /// `c.j`.
    ShortJump { to: usize },
    /// `auipc` and `jalr` through register `via`.
    JumpThrough { rd: u8, via: u8, to: usize },
    /// Taken out.
    Nothing,
}

/// An item of a body. Items of one group stand and fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub code: Code,
    pub group: usize,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The register that points to the middle of the scratch buffer, and is never written.
    pub base: u8,
    /// What the registers and the scratch buffer hold at the start.
    pub start: Record,
    /// The instructions.
    pub body: Vec<Item>,
}

impl Code {
    fn len(self) -> u64 {
        match self {
            Code::Nothing => 0,
            Code::Half(_) | Code::ShortBranch { .. } | Code::ShortJump { .. } => 2,
            Code::JumpThrough { .. } => 8,
            _ => 4,
        }
    }

    fn bytes(self, pc: u64, address: impl Fn(usize) -> u64) -> Vec<u8> {
        let far = |to: usize, pc: u64| address(to).wrapping_sub(pc) as i32;
        let word = |op, operands| encode(op, &operands, 0).expect("operands that fit").to_le_bytes().to_vec();
        let short = |name, operands| half(name, operands).to_le_bytes().to_vec();
        let none = Operands::default();
        match self {
            Code::Word(word) => word.to_le_bytes().to_vec(),
            Code::Half(half) => half.to_le_bytes().to_vec(),
            Code::Branch { op, rs1, rs2, to } => word(op, Operands { rs1, rs2, imm: far(to, pc), ..none }),
            Code::ShortBranch { zero, rs1, to } => {
                let name = if zero { "c.beqz" } else { "c.bnez" };
                short(name, Operands { rs1, imm: far(to, pc), ..none })
            }
            Code::Jump { rd, to } => word(Op::jal, Operands { rd, imm: far(to, pc), ..none }),
            Code::ShortJump { to } => short("c.j", Operands { imm: far(to, pc), ..none }),
            Code::JumpThrough { rd, via, to } => {
                let auipc = word(Op::auipc, Operands { rd: via, ..none });
                [auipc, word(Op::jalr, Operands { rd, rs1: via, imm: far(to, pc), ..none })].concat()
            }
            Code::Nothing => Vec::new(),
        }
    }
}

fn half(name: &str, operands: Operands) -> u16 {
    let row = rvc::ROWS.iter().find(|row| row.name == name).expect("a row of the table");
    row.encode(&operands, 0).expect("operands that fit")
}

impl Program {
    /// Address of every item and of the end, the first being at `at`.
    fn addresses(&self, at: u64) -> Vec<u64> {
        let mut next = at;
        let mut addresses = vec![at];
        addresses.extend(self.body.iter().map(|item| {
            next += item.code.len();
            next
        }));
        addresses
    }

    /// The body's bytes at `at`.
    pub fn bytes(&self, at: u64) -> Vec<u8> {
        let addresses = self.addresses(at);
        let item = |(item, &pc): (&Item, &u64)| item.code.bytes(pc, |to| addresses[to]);
        self.body.iter().zip(&addresses).flat_map(item).collect()
    }

    /// The program without the items of a group.
    pub fn without(&self, group: usize) -> Program {
        let mut program = self.clone();
        program.body.iter_mut().filter(|item| item.group == group).for_each(|item| item.code = Code::Nothing);
        program
    }

    /// The groups that have not been taken out, the last first.
    pub fn groups(&self) -> Vec<usize> {
        let there = self.body.iter().rev().filter(|item| item.code != Code::Nothing);
        let mut groups: Vec<usize> = Vec::new();
        for item in there {
            if !groups.contains(&item.group) {
                groups.push(item.group);
            }
        }
        groups
    }

    /// The instructions, one a line, at address `at`.
    pub fn listing(&self, at: u64) -> String {
        let bytes = self.bytes(at);
        let (mut text, mut from) = (String::new(), 0);
        while from < bytes.len() {
            let bits = bytes[from..].iter().take(4).rev().fold(0, |bits, &byte| bits << 8 | u32::from(byte));
            let Some(insn) = decode(bits, Extensions::all()) else { break };
            let pc = at + from as u64;
            writeln!(
                text,
                "  {pc:x}:  {:0width$x}  {}",
                insn.bits,
                disassemble(&insn, pc),
                width = insn.len as usize * 2
            )
            .expect("a string takes all");
            from += usize::from(insn.len);
        }
        text
    }

    /// What a person needs to see of a difference.
    pub fn report(&self, expected: &Result<Record, String>, found: &Result<Record, String>) -> String {
        let mut text =
            format!("start (x{} points {} bytes into the scratch buffer):\n", self.base, SCRATCH / 2);
        text += &self.start.describe(self.base);
        text += "program:\n";
        text += &self.listing(super::image::body_address());
        match (expected, found) {
            (Ok(expected), Ok(found)) => text += &expected.difference(found),
            (Err(end), _) => writeln!(text, "the oracle: {end}").expect("a string takes all"),
            (_, Err(end)) => writeln!(text, "ours: {end}").expect("a string takes all"),
        }
        text
    }
}
