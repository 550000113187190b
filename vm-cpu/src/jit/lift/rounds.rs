//! Loops of one block: several rounds as one, whose [streams](crate::jit::streams) are checked beforehand.
//!
//! ```text
//!  head ─► all bytes of all streams are plain memory of one page each?  no ──► one round with its own checks ─► head
//!            yes ▼
//!          round ─► round ─► … ─► head          any of them may be the last
//! ```
//! What a check says holds until the hart next looks at its attention, as it does for a group.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{self, InstBuilder};

use super::memory::{Open, Right};
use super::{Binding, Lifter};
use crate::jit::streams::{Rounds, Stream};

/// Executions that make several rounds of a loop worth their code in an image. What is compiled here is hot.
const HEAT: u64 = 1 << 10;

/// The round at hand.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Where it goes on, if the loop does.
    next: Option<ir::Block>,
    /// The streams that have been checked.
    open: Vec<(Stream, Open)>,
    /// Rounds since then.
    before: i32,
    /// It is the one for what the checks did not permit.
    single: bool,
}

impl Lifter<'_, '_> {
    /// The head of the loop at hand, if it is one of several rounds: leads to all of them, and on to the plain
    /// one.
    pub(super) fn unroll(&mut self) {
        let block = self.this();
        let cold = matches!(self.place.binding, Binding::Ahead { .. }) && block.heat < HEAT;
        if !self.place.options.unroll || cold {
            return;
        }
        let Some(rounds) = Rounds::of(block, |effects| self.covers(effects)) else { return };
        let plain = self.cold_block();
        for stream in rounds.streams {
            let open = self.check_stream(&stream, rounds.count, plain);
            self.rounds.open.push((stream, open));
        }
        let head = self.blocks[self.at];
        let mut round = self.b.create_block();
        self.b.ins().jump(round, &[]);
        for number in 1..=rounds.count {
            let next = if number == rounds.count { head } else { self.b.create_block() };
            self.go_on_in(round);
            self.rounds.next = Some(next);
            self.rounds.before = number as i32 - 1;
            self.round();
            round = next;
        }
        self.rounds = State { single: true, ..State::default() };
        self.go_on_in(plain);
    }

    /// After the instructions of a block: what is left of its rounds is forgotten.
    pub(super) fn end_of_rounds(&mut self) {
        self.rounds = State::default();
    }

    /// Whether the round at hand is one whose bytes may lie across pages: each access is checked by itself.
    pub(super) fn is_single_round(&self) -> bool {
        self.rounds.single
    }

    /// Checks what a stream accesses in so many rounds; goes on to `plain` if it is not to be had.
    fn check_stream(&mut self, stream: &Stream, rounds: usize, plain: ir::Block) -> Open {
        let (low, span) = stream.range(rounds);
        let beside = stream.members.iter().any(|&(at, _)| self.place.sites[self.first_insn + at].beside);
        let right = match stream.write {
            true if beside => Right::Beside,
            true => Right::Store,
            false => Right::Load,
        };
        let base = self.base(stream.root);
        let address = if low == 0 { base } else { self.b.ins().iadd_imm_s(base, i64::from(low)) };
        let go_on = self.b.create_block();
        let addend = self.b.append_block_param(go_on, I64);
        self.look_in_tlb(address, span.into(), right, plain, go_on);
        self.go_on_in(go_on);
        let host = self.b.declare_var(I64);
        let address = self.b.ins().iadd(base, addend);
        self.b.def_var(host, address);
        Open { number: usize::MAX, host, beside: beside && stream.write }
    }

    /// Where control goes for the block `at` of the region.
    pub(super) fn way_to(&self, at: usize) -> ir::Block {
        match self.rounds.next {
            Some(next) if at == self.at => next,
            _ => self.blocks[at],
        }
    }

    /// The stream of the access at hand, and where in it that lies.
    pub(super) fn stream(&self) -> Option<(Open, i32)> {
        self.rounds.open.iter().find_map(|(stream, open)| {
            let (_, offset) = stream.members.iter().find(|&&(at, _)| at == self.insn)?;
            Some((*open, offset + self.rounds.before * stream.step))
        })
    }
}
