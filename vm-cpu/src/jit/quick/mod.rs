//! The quick tier: host code for blocks that run more than a few times, made at once by the hart itself.
//!
//! ```text
//!  hot   │ entry: touched, attention │ body: heat, count │ instructions │ branch ─► body of a later block
//!        │ entry │ body │ …                                             └► cell of any other
//!  cold  │ misses of the soft-TLB │ ways out │ what they have in common
//! ```
//! Some blocks of one page that lead to each other are translated together. Each is an entry, and begins
//! with all guest registers in the hart's state; within a block they live in host registers. A jump to a
//! block that comes later in the unit goes straight to its body; every other goes through the cell of its
//! address, where it meets the look at the hart's attention and, one day, the region that replaces it.
//!
//! **Invariants.** A unit of this tier follows the convention of `abi` and gives its counts to `Heat`. At
//! each place that may leave, the hart's state can be made whole by stores alone.

mod arith;
mod asm;
mod beside;
mod emit;
mod exits;
mod heat;
mod memory;
mod publish;
mod registers;
mod select;
mod shared;
mod system;
mod value;

use self::asm::Code;
use self::emit::NotCovered;
use self::exits::{Jump, Target};
use self::heat::Heat;
use self::memory::BlockGroups;
pub(crate) use self::publish::Translated;
use self::registers::Registers;
use self::select::Chosen;
pub(crate) use self::shared::QuickShared;
pub use self::shared::QuickStats;
use super::abi::{Leave, Site, native};
use super::enter::Helper;
use super::lift::float_condition_of;
use super::region::{End, end_of};
use crate::isa::effects::Effects;
use crate::isa::emit::{Flow, Size};
use crate::isa::execute;

/// The translator of one hart, with its room.
#[derive(Debug, Default)]
pub(crate) struct Quick {
    chosen: Vec<Chosen>,
    work: Vec<u32>,
    effects: Vec<Effects>,
    hot: Code,
    cold: Code,
    groups: BlockGroups,
    jumps: Vec<Jump>,
    /// Where addresses of cells go, and what they are the cells of.
    links: Vec<(usize, u64)>,
    cold_links: Vec<(usize, u64)>,
    /// Where bodies begin in the hot code.
    bodies: Vec<usize>,
    /// Where entries are.
    entries: Vec<Target>,
}

/// Whether the host has the instructions that are used.
pub fn is_supported() -> bool {
    std::is_x86_feature_detected!("popcnt")
}

/// What is being translated, and how far.
struct Writer<'a> {
    /// Guest-physical address of the page.
    page: u64,
    number: u32,
    sites: &'a [Site],
    chosen: &'a [Chosen],
    effects: &'a [Effects],
    /// Addresses of the blocks' counters.
    heat: &'a Heat,
    /// Executions after which a block is looked at.
    patience: u64,
    /// The same of one with floating point, which is left to helpers.
    float_patience: u64,
    /// There is an image too, and what is not executed from it is counted.
    counted: bool,
    /// Instructions that the hart has retired.
    now: u64,
    hot: &'a mut Code,
    cold: &'a mut Code,
    groups: &'a mut BlockGroups,
    jumps: &'a mut Vec<Jump>,
    links: &'a mut Vec<(usize, u64)>,
    cold_links: &'a mut Vec<(usize, u64)>,
    bodies: &'a mut Vec<usize>,
    entries: &'a mut Vec<Target>,
    regs: Registers,
    /// The block at hand, and the instruction in it.
    at: usize,
    insn: usize,
    /// Units do not jump to each other.
    alone: bool,
    /// Returns look where calls of late come back to.
    returns: bool,
    /// More registers were wanted than there are.
    failed: bool,
}

impl Writer<'_> {
    fn site(&self) -> u64 {
        &raw const self.sites[self.chosen[self.at].first + self.insn] as u64
    }

    /// Offset in the page of the instruction at hand.
    fn offset(&self) -> i64 {
        self.sites[self.chosen[self.at].first + self.insn].offset.into()
    }

    fn unit(&mut self) {
        let mut falls = false;
        for at in 0..self.chosen.len() {
            self.at = at;
            self.begin(falls);
            falls = self.block();
        }
    }

    /// Writes the block at hand; whether it falls into the next.
    fn block(&mut self) -> bool {
        let Chosen { first, len, end, .. } = self.chosen[self.at];
        let (sites, effects) = (&self.sites[first..first + len], &self.effects[first..first + len]);
        self.regs = Registers::new();
        self.groups.plan(sites, effects);
        for (index, (site, effects)) in sites.iter().zip(effects).enumerate() {
            self.insn = index;
            if effects.orders {
                self.forget_groups();
            }
            if effects.access.is_some() {
                self.open_group(&site.insn);
            }
            let insn = &site.insn;
            let next = i64::from(site.offset) + i64::from(insn.len);
            match execute(self, insn) {
                Ok(Flow::Next) => {}
                Ok(Flow::Branch { cond, off }) => {
                    return self.branch(cond, i64::from(site.offset) + off, next);
                }
                Ok(Flow::Jump { off }) => {
                    self.settle();
                    if let End::Jump(_, true) = end_of(insn, effects) {
                        self.expect_return(next);
                    }
                    return self.go_to(i64::from(site.offset) + off);
                }
                Ok(Flow::JumpReg { target }) => {
                    self.indirect(target, end_of(insn, effects), next);
                    return false;
                }
                // A CSR was changed in place.
                Ok(Flow::Sync | Flow::Switch) => {
                    self.settle();
                    return self.go_to(next);
                }
                Err(NotCovered) => {
                    self.regs.end_instruction();
                    self.forget_groups();
                    self.call_hot(Helper::Execute);
                    // Nothing ends here: the block may go on where `Effects::ends` is more careful, and all of it
                    // has been counted.
                    self.regs.forget(effects.x_written);
                }
            }
            self.regs.end_instruction();
            self.groups_after();
        }
        self.settle();
        self.go_to(i64::from(end))
    }

    /// The word that must not be 0 for the block at hand to move floating-point registers without the runtime's help,
    /// if it does.
    fn float_condition(&self) -> Option<i32> {
        let Chosen { first, len, .. } = self.chosen[self.at];
        let moves = self.effects[first..first + len].iter().filter(|e| e.float.is_none() && !e.runtime);
        moves.filter_map(float_condition_of).max_by_key(|&word| word == native!(fp_ready))
    }

    /// Leaves for `why` at the start of the block at hand, if `cond`.
    fn leave_at_start(&mut self, cond: asm::Cond, why: Leave) {
        let at = self.hot.jcc(cond);
        self.go_cold(&[at]);
        self.cold.lea(asm::RAX, asm::RDI, self.chosen[self.at].offset as i32);
        self.cold.store(Size::D, asm::R15, super::abi::pc_offset(), asm::RAX);
        self.jump_cold(Target::Leave(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Extensions, Insn, Op, decode};

    /// Writes one instruction after others that leave every register of the pool in use and dirty; whether
    /// there were enough.
    fn fits(insn: Insn) -> bool {
        let moves = (8..24u32).map(|r| decode(0x13 | r << 7 | (r + 1) << 15 | 1 << 20, Extensions::all()));
        let insns: Vec<Insn> = moves.map(|insn| insn.expect("addi")).chain([insn]).collect();
        let sites: Vec<Site> = insns.iter().copied().map(Site::alone).collect();
        let effects: Vec<Effects> = insns.iter().map(Effects::of).collect();
        let chosen = [Chosen { offset: 0, end: 0, first: 0, len: sites.len(), ways: [0; 2] }];
        let (mut room, heat) = (Quick::default(), Heat::default());
        let mut writer = Writer {
            page: 0x8000_0000,
            number: 1,
            sites: &sites,
            chosen: &chosen,
            effects: &effects,
            heat: &heat,
            patience: 100,
            float_patience: 100,
            counted: false,
            now: 0,
            hot: &mut room.hot,
            cold: &mut room.cold,
            groups: &mut room.groups,
            jumps: &mut room.jumps,
            links: &mut room.links,
            cold_links: &mut room.cold_links,
            bodies: &mut room.bodies,
            entries: &mut room.entries,
            regs: Registers::new(),
            at: 0,
            insn: 0,
            alone: false,
            returns: true,
            failed: false,
        };
        writer.unit();
        writer.finish();
        !writer.failed
    }

    #[test]
    fn no_instruction_needs_more_registers_than_there_are() {
        // Register fields that differ, and operands that are not the ones held last.
        let fields = 5 << 7 | 6 << 15 | 7 << 20 | 28 << 27;
        for op in Op::ALL {
            let pattern = op.row().pattern;
            if let Some(insn) = decode(pattern.value | fields & pattern.open, Extensions::all()) {
                assert!(fits(insn), "{}", op.name());
            }
        }
    }
}
