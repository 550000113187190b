//! Short ways around: a branch over an instruction or two becomes a selection of their results, for nobody can
//! predict many of them, and a selection costs no more than one that is predicted.
//!
//! ```text
//!      beqz a5, over                       a4' = a4 ^ a3
//!      xor  a4, a4, a3          ──►        a4  = a5 == 0 ? a4 : a4'
//!  over:
//! ```

use cranelift_codegen::ir::{InstBuilder, Value};

use super::Lifter;
use crate::isa::effects::Effects;
use crate::isa::{Insn, Op, execute};
use crate::jit::region::{End, RegionBlock, end_of};

/// Instructions of such a way at most.
const INSNS: usize = 2;

/// Whether the instruction does no more than compute a register from others, at once.
fn is_simple(insn: &Insn, effects: &Effects) -> bool {
    use Op::*;
    let slow = matches!(
        insn.op,
        mul | mulh | mulhu | mulhsu | mulw | div | divu | divw | divuw | rem | remu | remw | remuw
    );
    let registers = effects.f_read | effects.f_written == 0 && effects.x_written != 0;
    let more =
        effects.may_stop || effects.runtime || effects.orders || effects.direct || effects.float.is_some();
    registers && !slow && !more && effects.access.is_none() && end_of(insn, effects) == End::Next
}

fn is_simple_block(block: &RegionBlock) -> bool {
    let mut insns = block.insns.iter().zip(&block.effects);
    block.insns.len() <= INSNS && !block.entry && insns.all(|(insn, effects)| is_simple(insn, effects))
}

impl Lifter<'_, '_> {
    /// Ends the block at hand by a selection, if that is what its branch to `taken` amounts to; false if not.
    pub(super) fn select(&mut self, cond: Value, taken: i64) -> bool {
        let region = self.region;
        let (at, around) = (self.at, self.at + 1);
        let Some(block) = region.blocks.get(around).filter(|block| is_simple_block(block)) else {
            return false;
        };
        let leads_on = i64::from(block.end) == taken && region.block_at(taken).is_some();
        let from = region.blocks.iter().enumerate().filter(|(_, block)| block.successors.contains(&around));
        let reached_otherwise = from.map(|(from, _)| from).any(|from| from != at);
        let behind = block.offset == region.blocks[at].end;
        if !self.place.options.select || !leads_on || !behind || reached_otherwise {
            return false;
        }
        let (first_insn, insn) = (self.first_insn, self.insn);
        let written = block.effects.iter().fold(0, |all, effects| all | effects.x_written);
        let registers: Vec<usize> = (1..32).filter(|r| written >> r & 1 != 0).collect();
        let before: Vec<Value> = registers.iter().map(|&r| self.base(r as u8)).collect();
        (self.at, self.first_insn) = (around, first_insn + region.blocks[at].insns.len());
        for (index, insn) in block.insns.iter().enumerate() {
            self.insn = index;
            self.say_whose(index);
            // None of them stops, nor goes anywhere but on.
            let _ = execute(self, insn);
        }
        for (&r, before) in registers.iter().zip(before) {
            let after = self.base(r as u8);
            let selected = self.b.ins().select(cond, before, after);
            let var = self.x_var(r);
            self.b.def_var(var, selected);
        }
        let (none, len) = (self.iconst(0), self.iconst(block.insns.len() as i64));
        let executed = self.b.ins().select(cond, none, len);
        let counted = self.b.ins().iadd(self.counted, executed);
        self.b.def_var(self.count, counted);
        (self.at, self.first_insn, self.insn) = (at, first_insn, insn);
        self.go_to(taken);
        true
    }
}
