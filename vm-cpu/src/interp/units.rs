//! Where the interpreter hands over to generated code, and takes over from it.

use std::sync::Arc;

use super::Engine;
use super::blocks::{Block, BlockId, CROWDED};
use super::canary::Canary;
use crate::hart::{Core, Exit};
use crate::isa::effects::Effects;
use crate::jit::abi::Leave;
use crate::jit::enter;
use crate::jit::region::Region;
use crate::jit::{Jit, Participant, Translated};
use vm_mmu::PAGE;

/// How often a block looks for the unit it asked for.
const PATIENCE: u64 = 64;
/// A region that was not made is asked for anew when its block has run so many times as often.
const AGAIN: u64 = 8;
/// A block that is this part of what runs has its region at the threshold.
const SHARE: u64 = 32;

/// What comes after a unit.
pub(super) enum Next {
    /// A block, or its unit.
    Block(BlockId),
    /// There was no unit: the block itself.
    Here,
    /// This block, by interpretation.
    Interpret(BlockId),
    /// The hart has something else to do.
    Back(Option<Exit>),
}

impl Engine {
    /// Runs hot code by units of `jit`.
    pub(crate) fn use_jit(&mut self, jit: Arc<Jit>) {
        let first = match jit.has_image() {
            true => 1,
            false => jit.config().quick.unwrap_or(u64::MAX).min(jit.config().threshold),
        };
        self.blocks.first_look = self.blocks.first_look.min(first);
        self.canary = jit.config().canary.filter(|_| jit.has_image()).map(Canary::new);
        self.jit = Some(jit);
    }

    /// Before guest code runs on this thread.
    pub(crate) fn begin(&mut self, core: &mut Core) {
        if let Some(jit) = &self.jit
            && core.reader.is_none()
        {
            let reader = Participant::new(jit);
            core.native.touched = reader.touched();
            core.reader = Some(reader);
        }
        core.pin();
    }

    /// The safepoint of the code cache: no generated code runs.
    #[inline]
    pub(super) fn pass_safepoint(&mut self, core: &mut Core) {
        core.pin();
        if std::mem::take(&mut core.cells_gone) {
            self.blocks.forget_cells();
        }
    }

    /// Runs the unit of block `id`, and what it leads to.
    pub(super) fn run_unit(&mut self, core: &mut Core, id: BlockId) -> Next {
        let block = self.blocks.get_mut(id);
        let Some(code) = enter::target(block.cell) else {
            block.set_cell(0);
            return Next::Here;
        };
        core.tally.entries += 1;
        core.prepare_native();
        let before = core.retired;
        let leave = match self.enter(core, code) {
            Ok(leave) => leave,
            Err(exit) => return Next::Back(Some(exit)),
        };
        core.tally.compiled += core.retired - before;
        if self.jit.as_ref().is_some_and(|jit| jit.counts_here()) {
            core.tally.ahead = core.tally.compiled.saturating_sub(core.native.here);
        }
        core.tally.leaves[leave as usize - 1] += 1;
        match leave {
            Leave::Dispatch | Leave::Interpret => match self.find(core) {
                Ok(next) => {
                    if leave == Leave::Interpret {
                        self.drop_misfit(core);
                        return Next::Interpret(next);
                    }
                    self.link(core, next);
                    Next::Block(next)
                }
                Err(_) => Next::Back(core.deliver(core.pc)),
            },
            Leave::Trap => Next::Back(core.deliver(core.pc)),
            Leave::Again => {
                core.wait_for_guards();
                Next::Back(None)
            }
            Leave::Sync => {
                self.sync(core);
                Next::Back(None)
            }
            Leave::Hot => match self.find(core) {
                Ok(next) => {
                    self.ask_for_region(core, next);
                    Next::Block(next)
                }
                Err(_) => Next::Back(core.deliver(core.pc)),
            },
            Leave::Attention | Leave::Panic => Next::Back(None),
        }
    }

    /// Drops the unit that left because of how it accesses memory, so that it is made anew otherwise.
    fn drop_misfit(&mut self, core: &mut Core) {
        if let (Some(misfit), Some(jit)) = (core.misfit.take(), &self.jit) {
            jit.drop_misfit(&misfit);
        }
    }

    /// What comes after a trap, a return from one or a change of the hart's state, if nothing else does.
    pub(super) fn find_after_trap(&mut self, core: &mut Core) -> Option<BlockId> {
        if core.attention() != 0 || core.cells_gone {
            return None;
        }
        core.take_pending_interrupt();
        let id = self.find(core).ok()?;
        let cell = self.blocks.get(id).cell;
        if cell != 0 {
            core.jumps.set_cell(core.pc, cell);
        }
        Some(id)
    }

    /// Lets generated code jump from here on to the unit of block `id`, which is at `core.pc`.
    fn link(&mut self, core: &mut Core, id: BlockId) {
        let block = self.blocks.get_mut(id);
        if block.cell == 0
            && let (Some(jit), Some(key)) = (&self.jit, block.key())
            && let Some(cell) = jit.lookup(key)
        {
            block.cell = cell;
        }
        if block.cell != 0 {
            core.jumps.set_cell(core.pc, block.cell);
        }
    }

    /// A block has run often: takes its unit if there is one, else asks for one.
    #[cold]
    pub(super) fn look_for_unit(&mut self, core: &mut Core, id: BlockId) {
        let Some(jit) = self.jit.clone() else {
            self.blocks.get_mut(id).ask = u64::MAX;
            return;
        };
        let threshold = jit.config().threshold;
        let block = self.blocks.get(id);
        let (heat, asked, straddles) = (block.heat, block.asked, block.tail_page != 0);
        let Some(key) = block.key().filter(|_| block.bytes != 0) else {
            self.blocks.get_mut(id).ask = heat.saturating_add(threshold);
            return;
        };
        if let Some(cell) = jit.lookup(key) {
            return self.blocks.get_mut(id).set_cell(cell);
        }
        if block.native {
            return self.blocks.get_mut(id).set_cell(0);
        }
        if jit.has_image() && !straddles && self.bind(core, &jit, id) {
            let cell = jit.lookup(key);
            let block = self.blocks.get_mut(id);
            (block.cell, block.ask) = (cell.unwrap_or(0), heat + PATIENCE);
            core.jumps.set_cell(core.pc, block.cell);
            self.canary.iter_mut().for_each(Canary::bound);
            return;
        }
        let block = self.blocks.get(id);
        let due = !straddles && heat >= threshold && (asked == 0 || heat > asked * AGAIN);
        if !due && jit.config().quick.is_some_and(|threshold| heat >= threshold) {
            self.translate(core, &jit, id);
            return;
        }
        if due && !jit.has_room() {
            self.blocks.get_mut(id).ask = heat + PATIENCE;
            return;
        }
        if due {
            core.lend_fpu(jit.config().wait);
            let asked_for =
                Region::discover(&self.blocks, block, &*jit).is_some_and(|region| jit.request(region));
            let cell = jit.lookup(key);
            let block = self.blocks.get_mut(id);
            (block.asked, block.cell) = (heat, cell.unwrap_or(0));
            if !asked_for {
                // Not worth a unit, as far as can be seen now.
                block.ask = heat * AGAIN;
                return;
            }
        }
        let soon = self.blocks.get(id).asked + PATIENCE * PATIENCE;
        self.blocks.get_mut(id).ask = match heat {
            new if jit.config().quick.is_some_and(|quick| new < quick) => {
                jit.config().quick.unwrap_or(threshold)
            }
            cold if cold < threshold => threshold.min(heat * 4),
            waiting if waiting < soon => heat + PATIENCE,
            _ => heat * 2,
        };
    }

    /// Gives a block code of the image, if there is some.
    fn bind(&mut self, core: &mut Core, jit: &Jit, id: BlockId) -> bool {
        let block = *self.blocks.get(id);
        let Some(&first) = self.blocks.code(&block).first() else { return false };
        jit.bind(core.extensions(), &block, &first, |page, granules| self.mark(core, page, granules))
    }

    /// Gives a block code of the quick tier, and those it leads to.
    fn translate(&mut self, core: &mut Core, jit: &Jit, id: BlockId) {
        let block = self.blocks.get(id);
        let (heat, page) = (block.heat, block.gpa & !(PAGE - 1));
        let ask = match jit.translate(&mut self.quick, &self.blocks, block, core.retired) {
            Translated::Now => None,
            Translated::Later => Some(heat + CROWDED),
            Translated::Not => Some(heat * AGAIN),
        };
        if let Some(ask) = ask {
            self.blocks.get_mut(id).ask = ask;
            return;
        }
        let block = self.blocks.get(id);
        if block.tail_page != 0 {
            let cell = block.key().and_then(|key| jit.lookup(key)).unwrap_or(0);
            self.blocks.get_mut(id).set_cell(cell);
            return core.jumps.set_cell(core.pc, cell);
        }
        for gpa in self.quick.addresses(page) {
            if let Some(cell) = jit.lookup(gpa)
                && let Some(block) = self.blocks.known_mut(gpa)
            {
                block.set_cell(cell);
            }
        }
        core.jumps.set_cell(core.pc, self.blocks.get(id).cell);
    }

    /// A block of the quick tier has run often: asks for the region around it.
    #[cold]
    fn ask_for_region(&mut self, core: &mut Core, id: BlockId) {
        let Some(jit) = self.jit.clone() else { return };
        let (block, now) = (self.blocks.get(id), core.retired);
        let (gpa, asked, heat) = (block.gpa, block.asked, jit.heat(block));
        let config = jit.config();
        let threshold = match self.has_float(block) {
            true => config.threshold_of_float(),
            false => config.threshold,
        };
        if heat < threshold {
            return jit.ask_again(gpa, threshold - heat, now);
        }
        if asked != 0 && heat < asked * AGAIN {
            return jit.ask_again(gpa, asked * AGAIN - heat, now);
        }
        if heat < threshold.saturating_mul(jit.config().calm) && !self.is_worth_it(&jit, block, now) {
            return jit.ask_again(gpa, threshold, now);
        }
        if !jit.has_room() {
            return jit.ask_again(gpa, PATIENCE * PATIENCE, now);
        }
        core.lend_fpu(jit.config().wait);
        if let Some(region) = Region::discover(&self.blocks, block, &*jit) {
            jit.request(region);
        }
        self.blocks.get_mut(id).asked = heat;
        jit.ask_again(gpa, heat * (AGAIN - 1), now);
    }

    /// Whether a block that has run as often as the threshold says should have its region now, rather than when it
    /// has run far more often: if it is a good part of what runs, so that it is likely to go on, or if the quick tier
    /// leaves some of it to helpers.
    fn is_worth_it(&self, jit: &Jit, block: &Block, now: u64) -> bool {
        let code = self.blocks.code(block);
        let spent = jit.config().threshold.saturating_mul(code.len() as u64);
        spent.saturating_mul(SHARE) >= jit.took(block.gpa, now) || self.has_float(block)
    }

    /// Whether the quick tier leaves floating point of a block to helpers.
    fn has_float(&self, block: &Block) -> bool {
        self.blocks.code(block).iter().any(|insn| Effects::of(insn).float.is_some())
    }
}

impl Core {
    /// Takes part in the code cache's epoch, from here or anew.
    pub(crate) fn pin(&mut self) {
        if let Some(reader) = &mut self.reader
            && reader.pin()
        {
            self.jumps.forget_cells();
            self.cells_gone = true;
        }
    }

    /// Takes no part in the epoch: no code of the cache is used.
    pub(crate) fn unpin(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.unpin();
        }
    }

    /// A compiler that runs on this thread computes with floats, whose flags must not be the guest's.
    fn lend_fpu(&mut self, here: bool) {
        if here {
            self.end_fp();
        }
    }

    /// Whether generated code still finds there how the hart translates.
    pub(crate) fn native_is_true(&mut self) -> bool {
        let class = self.data.class;
        let stamp = u64::from(self.tlb.stamp(class)) << 32;
        let data = (self.tlb.first_entry(class) as u64, stamp);
        let fetch = (self.native.jumps, self.native.fetch_space, self.native.user);
        data == (self.native.lane, self.native.stamp) && fetch == self.jumps.for_code()
    }
}
