//! Which registers a block of a region needs, and which it may find changed.
//!
//! Registers are bits of a `u64`: x in the low half, f in the high half. Whatever may leave the unit
//! stores the registers that are dirty there, so leaving is a use of them.

use super::lift::{computes, leaves_raw, stale_after};
use super::region::{Region, RegionBlock};
use crate::isa::effects::Effects;

/// Registers that an instruction reads.
pub fn reads(effects: &Effects) -> u64 {
    u64::from(effects.x_read) | u64::from(effects.f_read) << 32
}

/// Registers that it writes.
pub fn writes(effects: &Effects) -> u64 {
    u64::from(effects.x_written) | u64::from(effects.f_written) << 32
}

/// What the instructions of one block do together.
struct Summary {
    /// Read before it is written.
    needs: u64,
    /// Written.
    makes: u64,
}

/// Fills in [`RegionBlock::dirty`] and [`RegionBlock::live`].
pub fn analyse(region: &mut Region) {
    spread_dirt(region);
    spread_raw(region);
    agree_on_computed(region);
    spread_stale(region);
    let summaries: Vec<Summary> = region.blocks.iter().map(summary).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for (at, sum) in summaries.iter().enumerate().rev() {
            let after =
                region.blocks[at].successors.iter().fold(0, |live, &to| live | region.blocks[to].live);
            let live = (sum.needs | after & !sum.makes) & !1;
            changed |= live != region.blocks[at].live;
            region.blocks[at].live = live;
        }
    }
}

fn spread_dirt(region: &mut Region) {
    let mut work: Vec<usize> = (0..region.blocks.len()).collect();
    while let Some(at) = work.pop() {
        let block = &region.blocks[at];
        let out = dirt(block).last().map_or(block.dirty, |&(_, after)| after);
        for to in block.successors.clone() {
            if out & !region.blocks[to].dirty != 0 {
                region.blocks[to].dirty |= out;
                work.push(to);
            }
        }
    }
}

/// Fills in [`RegionBlock::raw`], what some way there may have left raw, and [`RegionBlock::mixed`]: what not
/// every way has. Code outside brings images.
fn spread_raw(region: &mut Region) {
    let mut results: Vec<u32> =
        region.blocks.iter().map(|block| if block.entry { 0 } else { u32::MAX }).collect();
    let mut work: Vec<usize> = (0..region.blocks.len()).collect();
    while let Some(at) = work.pop() {
        let block = &region.blocks[at];
        let raw = block.effects.iter().fold(block.raw, |raw, effects| {
            let raw = if stores_first(block, effects) { 0 } else { raw };
            raw & !effects.f_written | leaves_raw(effects)
        });
        let step = |results: u32, effects: &Effects| results & !effects.f_written | leaves_raw(effects);
        let result = block.effects.iter().fold(results[at], step);
        for to in block.successors.clone() {
            if raw & !region.blocks[to].raw != 0 || results[to] & !result != 0 {
                region.blocks[to].raw |= raw;
                results[to] &= result;
                work.push(to);
            }
        }
    }
    for (block, results) in region.blocks.iter_mut().zip(results) {
        block.mixed = block.raw & !results;
    }
}

/// Fills in [`RegionBlock::computed`]. What leaves the unit computes every register that is dirty.
fn agree_on_computed(region: &mut Region) {
    region.blocks.iter_mut().for_each(|block| block.computed = u32::MAX);
    let mut changed = true;
    while changed {
        changed = false;
        for at in (0..region.blocks.len()).rev() {
            let block = &region.blocks[at];
            let behind = block.successors.iter().fold(u32::MAX, |all, &to| all & region.blocks[to].computed);
            let computed = block.effects.iter().rev().fold(behind, |after, effects| {
                let before = if stores_first(block, effects) { u32::MAX } else { computes(effects) };
                after & !effects.f_written | before
            });
            changed |= computed != block.computed;
            region.blocks[at].computed = computed;
        }
    }
}

/// Fills in [`RegionBlock::stale`]: what a loop through the block does not write, and copies of it.
fn spread_stale(region: &mut Region) {
    let written = |block: &RegionBlock| block.effects.iter().fold(0, |all, effects| all | effects.f_written);
    let writes: Vec<u32> = region.blocks.iter().map(written).collect();
    if writes.iter().all(|&of| of == 0)
        && !region.blocks.iter().any(|b| b.effects.iter().any(|e| e.float.is_some()))
    {
        return;
    }
    for at in 0..region.blocks.len() {
        if region.blocks[at].cyclic {
            region.blocks[at].stale = returning(region, at);
        }
    }
    // Where ways meet that bring different values, there is a new one.
    let begin = |block: &RegionBlock| if block.entry { 0 } else { u32::MAX };
    let mut copied: Vec<u32> = region.blocks.iter().map(begin).collect();
    let mut work: Vec<usize> = (0..writes.len()).collect();
    while let Some(at) = work.pop() {
        let block = &region.blocks[at];
        let after = block.effects.iter().fold(block.stale | copied[at], stale_after);
        let copies = after & writes[at] | copied[at] & !writes[at];
        for &to in &block.successors {
            if copied[to] & !copies != 0 {
                copied[to] &= copies;
                work.push(to);
            }
        }
    }
    region.blocks.iter_mut().zip(copied).for_each(|(block, copied)| block.stale |= copied);
}

/// FP registers that some way from a block back to it leaves as they were: it does not write them, or it
/// copies them back.
fn returning(region: &Region, at: usize) -> u32 {
    /// For each register, those whose values at `at` it may hold.
    type Origins = [u32; 32];
    let step = |mut origins: Origins, effects: &Effects| {
        let copied = effects.copies_float().map_or(0, |from| origins[usize::from(from)]);
        let written = (0..32).filter(|r| effects.f_written >> r & 1 != 0);
        written.for_each(|r| origins[r] = copied);
        origins
    };
    let mut before: Vec<Origins> = vec![[0; 32]; region.blocks.len()];
    before[at] = std::array::from_fn(|r| 1 << r);
    let mut back = 0;
    let mut work = vec![at];
    while let Some(from) = work.pop() {
        let block = &region.blocks[from];
        let after = block.effects.iter().fold(before[from], step);
        for &to in &block.successors {
            if to == at {
                back |= (0..32).fold(0, |all, r| all | after[r] & 1 << r);
                continue;
            }
            let mut changed = false;
            for (held, &more) in before[to].iter_mut().zip(&after) {
                changed |= more & !*held != 0;
                *held |= more;
            }
            if changed {
                work.push(to);
            }
        }
    }
    back
}

/// Registers that are dirty before and after each instruction of a block.
///
/// Outside of loops they are stored before whatever may stop, where all would have to be stored by the
/// end anyway; in a loop only where it does stop.
fn dirt(block: &RegionBlock) -> Vec<(u64, u64)> {
    let mut dirty = block.dirty;
    let step = |effects: &Effects| {
        let before = dirty;
        if stores_first(block, effects) {
            dirty = 0;
        }
        // The runtime writes to the hart's state.
        if !effects.runtime {
            dirty |= writes(effects);
        }
        (before, dirty)
    };
    block.effects.iter().map(step).collect()
}

/// Whether dirty registers are stored before an instruction, on the way that is usually taken.
pub fn stores_first(block: &RegionBlock, effects: &Effects) -> bool {
    effects.runtime || !block.cyclic && may_call(effects)
}

/// Whether a helper may be called for an instruction.
fn may_call(effects: &Effects) -> bool {
    effects.runtime
        || effects.access.is_some()
        || effects.float.is_some()
        || effects.orders && effects.may_stop
        || effects.direct
}

fn summary(block: &RegionBlock) -> Summary {
    let mut sum = Summary { needs: 0, makes: 0 };
    let dirt = dirt(block);
    for (effects, &(before, _)) in block.effects.iter().zip(&dirt) {
        sum.needs |= reads(effects) & !sum.makes;
        if may_call(effects) {
            sum.needs |= before & !sum.makes;
        }
        sum.makes |= writes(effects);
    }
    // Leaving at the end, or in a loop's head for attention.
    sum.needs |= dirt.last().map_or(block.dirty, |&(_, after)| after) & !sum.makes;
    sum.needs |= block.dirty & !sum.makes;
    if block.head {
        sum.needs |= block.dirty;
    }
    sum
}
