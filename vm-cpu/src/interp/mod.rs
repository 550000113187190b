//! The interpreter: pre-decoded blocks, run through the one meaning of each instruction.
//!
//! ```text
//!  pc ─► jump cache ─► block ─► match op { meaning, inlined } … ─► link within the page ─► block
//!            │ miss                                    │ other page, indirect: jump cache
//!            └► translate, index, decode
//! ```
//!
//! Each block counts how often it was entered and left by its taken edge, from the first execution:
//! the translators read it.

mod blocks;
mod canary;
mod compare;
mod emit;
mod fetch;
pub(crate) mod jumps;
mod units;

use self::blocks::NONE;
pub use self::blocks::{BLOCK_INSNS, Block, BlockId, Blocks, granule_mask};
pub(crate) use self::fetch::ends_block;
pub(crate) use self::jumps::Jumps;
use self::units::Next;
use crate::hart::{Core, Exit, Stop};
use crate::isa::emit::Flow;
use crate::isa::table::row;
use crate::isa::{Insn, Op, for_each_row};
use crate::jit::{Jit, Quick};
use std::sync::Arc;
use vm_mmu::PAGE;

/// Finds and runs blocks.
#[derive(Debug, Default)]
pub struct Engine {
    blocks: Blocks,
    /// Pages that another hart may still write to without telling.
    unguarded: Vec<fetch::Unguarded>,
    /// Room for the block that is being decoded.
    scratch: Vec<Insn>,
    /// What runs hot code faster.
    jit: Option<Arc<Jit>>,
    /// What makes quick code for it.
    quick: Quick,
    /// Which of its runs are compared, if it has an image that is new.
    canary: Option<canary::Canary>,
}

/// How a block was left.
enum Left {
    /// By its taken branch or jump: `links[0]`.
    Taken,
    /// To the next instruction: `links[1]`.
    Fell,
    /// By a jump through a register.
    Indirect,
    /// With the state changed that decides what comes next.
    Sync,
    /// By the instruction at this offset.
    Stop(Stop, u8),
}

impl Engine {
    /// The blocks with their heat and edges.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Runs until attention is due, a trap was delivered or the caller is needed.
    pub(crate) fn run(&mut self, core: &mut Core) -> Option<Exit> {
        self.pass_safepoint(core);
        let mut id = match self.find(core) {
            Ok(id) => id,
            Err(_) => return core.deliver(core.pc),
        };
        let mut interpret = false;
        while core.attention() == 0 {
            let block = self.blocks.get_mut(id);
            if block.cell != 0 && !interpret {
                match self.run_unit(core, id) {
                    Next::Block(next) => id = next,
                    Next::Here => interpret = true,
                    Next::Interpret(next) => (id, interpret) = (next, true),
                    Next::Back(Some(exit)) => return Some(exit),
                    Next::Back(None) => match self.find_after_trap(core) {
                        Some(next) => id = next,
                        None => return None,
                    },
                }
                continue;
            }
            interpret = false;
            block.heat += 1;
            if block.heat >= block.ask {
                self.look_for_unit(core, id);
                if self.blocks.get(id).cell != 0 {
                    continue;
                }
            }
            let block = self.blocks.get(id);
            let (page, count) = (core.pc & !(PAGE - 1), u64::from(block.end - block.start));
            core.retired += count;
            let left = {
                let block = self.blocks.get(id);
                run_code(core, self.blocks.code(block), block.bytes)
            };
            let edge = match left {
                Left::Taken => {
                    self.blocks.get_mut(id).taken += 1;
                    0
                }
                Left::Fell => 1,
                Left::Indirect => {
                    let from = (id, self.blocks.generation());
                    match self.find(core) {
                        Ok(next) => id = next,
                        Err(_) => return core.deliver(core.pc),
                    }
                    if from.1 == self.blocks.generation() {
                        self.blocks.get_mut(from.0).links[0] = id;
                    }
                    continue;
                }
                Left::Sync => {
                    self.sync(core);
                    match self.find_after_trap(core) {
                        Some(next) => id = next,
                        None => return None,
                    }
                    continue;
                }
                Left::Stop(stop, at) => {
                    if let Some(exit) = self.stopped(core, id, stop, at) {
                        return Some(exit);
                    }
                    match self.find_after_trap(core) {
                        Some(next) => id = next,
                        None => return None,
                    }
                    continue;
                }
            };
            let link = self.blocks.get(id).links[edge];
            if link != NONE && self.blocks.get(link).bytes != 0 {
                id = link;
                continue;
            }
            let from = (id, self.blocks.generation());
            match self.find(core) {
                Ok(next) => id = next,
                Err(_) => return core.deliver(core.pc),
            }
            let linkable = core.pc & !(PAGE - 1) == page && !self.blocks.get(id).unlinked;
            if linkable && from.1 == self.blocks.generation() {
                self.blocks.get_mut(from.0).links[edge] = id;
            }
        }
        None
    }

    /// Acts on what an instruction left to be done.
    fn sync(&mut self, core: &mut Core) {
        if core.pmp_changed {
            core.pmp_changed = false;
            self.blocks.drop_all();
        }
        if core.fence_i {
            self.fence_i(core);
        }
    }

    /// Settles pc and the count of retired instructions after one ended early.
    #[cold]
    fn stopped(&mut self, core: &mut Core, id: BlockId, stop: Stop, at: u8) -> Option<Exit> {
        let block = self.blocks.get(id);
        let code = self.blocks.code(block);
        let done = code.iter().position(|i| i.at == at).unwrap_or(0);
        let len = code.get(done).map_or(0, |i| i.len);
        core.retired -= (code.len() - done) as u64;
        let pc = core.pc.wrapping_add(u64::from(at) * 2);
        match stop {
            Stop::Trap => return core.deliver(pc),
            Stop::Again => {
                core.pc = pc;
                core.wait_for_guards();
                return None;
            }
            // Of a trial only, which does not come here.
            Stop::Outside => {
                core.pc = pc;
                return None;
            }
            Stop::Done => {}
        }
        core.retired += 1;
        core.pc = pc.wrapping_add(u64::from(len));
        None
    }
}

/// Runs the instructions of one block and sets `core.pc` to what follows, unless one stops.
#[inline(always)]
fn run_code(core: &mut Core, code: &[Insn], bytes: u32) -> Left {
    for i in code {
        macro_rules! arms {
            ([$core:ident $i:ident] $($op:ident)*) => {
                match $i.op {
                    $(Op::$op => match row::$op($core, $i) {
                        Ok(Flow::Next) => {}
                        Ok(Flow::Branch { cond, off }) => {
                            let here = core.pc.wrapping_add(u64::from(i.at) * 2);
                            if cond != 0 {
                                core.pc = here.wrapping_add(off as u64);
                                return Left::Taken;
                            }
                            core.pc = here.wrapping_add(u64::from(i.len));
                            return Left::Fell;
                        }
                        Ok(Flow::Jump { off }) => {
                            core.pc = core.pc.wrapping_add(u64::from(i.at) * 2).wrapping_add(off as u64);
                            return Left::Taken;
                        }
                        Ok(Flow::JumpReg { target }) => {
                            core.pc = target;
                            return Left::Indirect;
                        }
                        Ok(Flow::Sync) => {
                            core.pc = core.pc.wrapping_add(u64::from(i.at) * 2 + u64::from(i.len));
                            return Left::Sync;
                        }
                        Ok(Flow::Switch) => return Left::Sync,
                        Err(stop) => return Left::Stop(stop, i.at),
                    },)*
                }
            };
        }
        for_each_row!(arms [core i]);
    }
    core.pc = core.pc.wrapping_add(u64::from(bytes));
    Left::Fell
}
