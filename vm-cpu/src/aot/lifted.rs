//! A region on its way to another code generator than Cranelift's: intermediate code, and what the profile says
//! of it.

use std::collections::HashMap;

use cranelift_codegen::ir::{Block, Function, InstructionData};

use crate::jit::region::Region;

/// A function of a unit's signature that names words behind the text.
#[derive(Clone, Debug)]
pub struct Lifted {
    /// The code.
    pub function: Function,
    links: Vec<u16>,
    /// What is known of blocks that are the guest's.
    guest: HashMap<Block, Guest>,
    /// The guest's block that each block belongs to.
    owner: HashMap<Block, Block>,
}

/// A block of the guest's.
#[derive(Clone, Copy, Debug)]
struct Guest {
    /// Executions.
    heat: u64,
    /// All of them came from one block.
    followed: bool,
}

impl Lifted {
    /// `blocks` are those of `function` that are the region's, in its order.
    pub(super) fn new(function: Function, links: Vec<u16>, blocks: &[Block], region: &Region) -> Lifted {
        let mut ways = vec![0; blocks.len()];
        for block in &region.blocks {
            block.successors.iter().for_each(|&to| ways[to] += 1);
        }
        let facts = region.blocks.iter().zip(ways);
        let facts =
            facts.map(|(block, ways)| Guest { heat: block.heat, followed: ways == 1 && !block.entry });
        let guest: HashMap<Block, Guest> = blocks.iter().copied().zip(facts).collect();
        // What an instruction takes besides comes behind its block, in front of the next.
        let mut last = None;
        let owners = function.layout.blocks().filter_map(|block| {
            last = Some(block).filter(|block| guest.contains_key(block)).or(last);
            Some((block, last?))
        });
        let owner = owners.collect();
        Lifted { function, links, guest, owner }
    }

    /// Offsets in the page that it leaves for.
    pub(super) fn links(&self) -> &[u16] {
        &self.links
    }

    /// How often a branch of the guest's in block `from` went each way, by the profile.
    pub fn odds(&self, from: Block, to: [Block; 2]) -> Option<(u64, u64)> {
        let all = self.guest.get(self.owner.get(&from)?)?.heat;
        let ways = to.map(|block| self.guest.get(&self.behind(block)));
        let (yes, no) = match ways {
            [Some(yes), _] if yes.followed => (yes.heat, all.saturating_sub(yes.heat)),
            [_, Some(no)] if no.followed => (all.saturating_sub(no.heat), no.heat),
            [Some(yes), Some(no)] => (yes.heat, no.heat),
            [Some(yes), None] => (yes.heat.min(all), all.saturating_sub(yes.heat)),
            [None, Some(no)] => (all.saturating_sub(no.heat), no.heat.min(all)),
            [None, None] => return None,
        };
        let unused = 32 - (yes | no).leading_zeros().min(32);
        Some(((yes >> unused).max(1), (no >> unused).max(1)))
    }

    /// The block that one which only jumps leads to.
    fn behind(&self, block: Block) -> Block {
        let func = &self.function;
        match func.layout.first_inst(block).map(|inst| func.dfg.insts[inst]) {
            Some(InstructionData::Jump { destination, .. }) if !self.guest.contains_key(&block) => {
                destination.block(&func.dfg.value_lists)
            }
            _ => block,
        }
    }
}
