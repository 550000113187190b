//! Accesses of a short loop that move on by the same step each time: one check is enough for several rounds.
//!
//! ```text
//!  loop: fld  fa5, 0(a4)        root a4, step 8     ─┐ one stream: 8 bytes a round, so 64 bytes
//!        addi a4, a4, 8                              │ for eight rounds
//!        fsd  fa5, -8(a4)       root a4, step 8     ─┘
//!        bne  a4, a5, loop
//! ```
//! A root is the value of a register when a round begins. In the next round it differs by the step: what the
//! round adds to the register, and nothing else of the round writes it.

use super::region::{End, RegionBlock, end_of};
use crate::isa::effects::Effects;
use crate::isa::{Insn, Op};

/// Instructions of all rounds together at most.
const INSNS: usize = 64;
/// Rounds at most.
const ROUNDS: usize = 8;
/// Bytes that a stream may span in all rounds: they have to lie in one page.
const SPAN: i32 = 512;

/// Accesses of one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// The register.
    pub root: u8,
    /// What a round adds to it.
    pub step: i32,
    /// Offsets from the root in the first round: of the first byte, and of the last.
    pub low: i32,
    pub high: i32,
    /// Some of them are stores.
    pub write: bool,
    /// Indices in the block of all of them, and their offsets from the root in the first round.
    pub members: Vec<(usize, i32)>,
}

/// A loop of one block, and how many rounds of it are made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rounds {
    pub count: usize,
    pub streams: Vec<Stream>,
}

impl Stream {
    /// The bytes of `rounds`, from the root on: of the first, and how many.
    pub fn range(&self, rounds: usize) -> (i32, i32) {
        let moved = self.step.saturating_mul(rounds as i32 - 1);
        let (low, high) = (self.low.saturating_add(moved.min(0)), self.high.saturating_add(moved.max(0)));
        (low, high.saturating_sub(low).saturating_add(1))
    }

    fn join(&mut self, at: usize, offset: i32, end: i32, write: bool) {
        self.low = self.low.min(offset);
        self.high = self.high.max(end);
        self.members.push((at, offset));
        self.write |= write;
    }
}

impl Rounds {
    /// Those of a block that leads to itself, if there is something to gain: `covers` says which instructions
    /// need no helper.
    pub fn of(block: &RegionBlock, covers: impl Fn(&Effects) -> bool) -> Option<Rounds> {
        let (last, end) = (block.insns.last()?, block.effects.last()?);
        let back = match end_of(last, end) {
            End::Branch(off) => i64::from(block.end) - i64::from(last.len) + off == i64::from(block.offset),
            _ => false,
        };
        let count = ROUNDS.min(INSNS / block.insns.len());
        let plain =
            |effects: &Effects| !effects.runtime && !effects.orders && !effects.direct && covers(effects);
        if !back || count < 2 || !block.effects.iter().all(plain) {
            return None;
        }
        let mut streams = streams(&block.insns, &block.effects);
        streams.retain(|stream| stream.range(count).1 <= SPAN);
        (!streams.is_empty()).then_some(Rounds { count, streams })
    }
}

/// The streams of a round, whatever their steps.
fn streams(insns: &[Insn], effects: &[Effects]) -> Vec<Stream> {
    // What a register holds: its own or another's root, and what is added to it.
    let mut held: [Option<(u8, i32)>; 32] = std::array::from_fn(|r| (r != 0).then_some((r as u8, 0)));
    let mut streams: Vec<Stream> = Vec::new();
    for (at, (insn, effects)) in insns.iter().zip(effects).enumerate() {
        if let Some((size, write)) = effects.access
            && let Some((root, base)) = held[usize::from(insn.rs1) & 31]
        {
            let offset = base.wrapping_add(insn.imm);
            let end = offset.wrapping_add((1 << size as u8) - 1);
            match streams.iter_mut().find(|stream| stream.root == root) {
                Some(stream) => stream.join(at, offset, end, write),
                None => {
                    let members = vec![(at, offset)];
                    streams.push(Stream { root, step: 0, low: offset, high: end, write, members });
                }
            }
        }
        let copied = match (insn.op, insn.rs1, insn.rs2) {
            (Op::addi, of, _) => {
                held[usize::from(of) & 31].map(|(root, plus)| (root, plus.wrapping_add(insn.imm)))
            }
            (Op::add, 0, of) | (Op::add, of, 0) => held[usize::from(of) & 31],
            _ => None,
        };
        for r in (1..32).filter(|r| effects.x_written >> r & 1 != 0) {
            held[r] = copied;
        }
    }
    streams.retain_mut(|stream| match held[usize::from(stream.root)] {
        Some((root, step)) if root == stream.root => {
            stream.step = step;
            true
        }
        _ => false,
    });
    streams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::asm::assemble;
    use crate::isa::{Extensions, decode};

    /// The streams of a round of these instructions: root, step, and range of one round.
    fn found(source: &str) -> Vec<(u8, i32, (i32, i32), bool)> {
        let bytes = assemble(0, source).expect("a good program").bytes;
        let words = bytes.chunks_exact(4).map(|word| word.try_into().map_or(0, u32::from_le_bytes));
        let insns: Vec<Insn> = words.map(|bits| decode(bits, Extensions::all()).expect("known")).collect();
        let effects: Vec<Effects> = insns.iter().map(Effects::of).collect();
        let streams = streams(&insns, &effects);
        streams.iter().map(|stream| (stream.root, stream.step, stream.range(1), stream.write)).collect()
    }

    #[test]
    fn what_a_round_adds_to_a_register_is_the_step() {
        let body = "ld a5, 0(a4); addi a4, a4, 16; addi a3, a3, -4; sw a5, -12(a4); lw a6, 4(a3)";
        assert_eq!(found(body), [(14, 16, (0, 8), true), (13, -4, (0, 4), false)]);
        // A base that stays, and a copy of one that moves.
        assert_eq!(
            found("lb a5, -3(sp); mv a6, a4; addi a4, a4, 1; lb a7, 2(a6)"),
            [(2, 0, (-3, 1), false), (14, 1, (2, 1), false)]
        );
    }

    #[test]
    fn what_else_becomes_of_a_register_makes_it_no_root() {
        for body in ["ld a4, 8(a4)", "lb a5, 0(a4); add a4, a4, a3", "mv a5, a3; lb a4, 0(a5); mv a3, a2"] {
            assert_eq!(found(body), [], "{body}");
        }
    }

    #[test]
    fn a_range_is_of_all_rounds_whichever_way_they_go() {
        let stream = Stream { root: 10, step: 8, low: -8, high: 7, write: false, members: Vec::new() };
        assert_eq!(stream.range(4), (-8, 40));
        assert_eq!(Stream { step: -8, ..stream.clone() }.range(4), (-32, 40));
        assert!(Stream { step: i32::MIN, ..stream }.range(8).1 > SPAN);
    }
}
