//! Which blocks are translated together: those that the first one leads to and that run as it does.

use super::Quick;
use crate::interp::{Block, Blocks};
use crate::isa::Insn;
use crate::isa::effects::Effects;
use crate::jit::abi::Site;
use crate::jit::region::{End, end_of};
use crate::jit::service::Learnt;
use vm_mmu::PAGE;

/// Blocks of a unit at most.
const BLOCKS: usize = 16;
/// Instructions of a unit at most, more or less.
const INSNS: usize = 160;
/// A block is taken along if it ran at least this fraction of the first one's times.
const COLD: u64 = 4;

/// A block of a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    /// Offsets in the page of the first byte, and behind the last.
    pub offset: u32,
    pub end: u32,
    /// Its instructions among those of the unit.
    pub first: usize,
    pub len: usize,
    /// How often the branch at its end was taken, and how often not. Zeroes if it ends otherwise.
    pub ways: [u64; 2],
}

impl Quick {
    /// Chooses the blocks around `seed`, in the order in which they are best laid out. `taken` says which
    /// addresses have a unit. Gives the places of their instructions. What lies in two pages is alone.
    pub(super) fn select(
        &mut self,
        blocks: &Blocks,
        seed: &Block,
        taken: impl Fn(u64) -> bool,
        learnt: &Learnt,
    ) -> Option<Box<[Site]>> {
        let Quick { chosen, work, effects, .. } = self;
        chosen.clear();
        effects.clear();
        work.clear();
        let mut sites = Vec::with_capacity(INSNS);
        let page = seed.gpa & !(PAGE - 1);
        let first = (seed.gpa - page) as u32;
        work.push(first);
        while let Some(offset) = work.pop() {
            if chosen.len() == BLOCKS || sites.len() >= INSNS {
                break;
            }
            let gpa = page + u64::from(offset);
            let found = if offset == first { Some(seed) } else { blocks.known(gpa) };
            let Some(block) = found else { continue };
            let alike = block.heat.saturating_mul(COLD) >= seed.heat;
            let known = chosen.iter().any(|other| other.offset == offset);
            if known || !alike || (offset != first && (block.unlinked || taken(gpa))) {
                continue;
            }
            let code = blocks.code(block);
            let (start, len) = (sites.len(), code.len());
            for (index, insn) in code.iter().enumerate() {
                let of = Effects::of(insn);
                effects.push(of);
                let offset = offset as u16 + 2 * u16::from(insn.at);
                sites.push(Site {
                    insn: Insn { at: 0, ..*insn },
                    offset,
                    rest: (len - index) as u16,
                    slot: 0,
                    beside: of.access.is_some() && learnt.is_beside(page + u64::from(offset)),
                    apart: of.access.is_some() && learnt.is_apart(page + u64::from(offset)),
                    ahead: false,
                    size: of.access.map_or(0, |(size, _)| size as u8),
                });
            }
            let end = offset + block.bytes;
            let (Some(last), Some(of)) = (code.last(), effects.last()) else { continue };
            let leaves = end_of(last, of);
            let counts = matches!(leaves, End::Branch(_));
            let ways = if counts { block.ways() } else { [0; 2] };
            chosen.push(Chosen { offset, end, first: start, len, ways });
            if block.tail_page != 0 {
                break;
            }
            let here = i64::from(end) - i64::from(last.len);
            // What is pushed last comes next.
            let (second, next) = match leaves {
                End::Next | End::Runtime => (None, Some(i64::from(end))),
                End::Branch(off) if block.taken * 2 > block.heat => (Some(i64::from(end)), Some(here + off)),
                End::Branch(off) => (Some(here + off), Some(i64::from(end))),
                End::Jump(off, call) => (call.then_some(i64::from(end)), Some(here + off)),
                End::Indirect { call, .. } => (call.then_some(i64::from(end)), None),
            };
            let inside = |to: &i64| (0..PAGE as i64).contains(to);
            work.extend([second, next].into_iter().flatten().filter(inside).map(|to| to as u32));
        }
        (!sites.is_empty()).then(|| sites.into_boxed_slice())
    }
}
