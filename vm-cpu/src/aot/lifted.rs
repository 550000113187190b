//! A region on its way to another code generator than Cranelift's: intermediate code, and what the profile says
//! of it.

use std::collections::HashMap;

use cranelift_codegen::ir::{Block, Function};

use crate::jit::lift::Sides;
use crate::jit::region::Region;

/// A function of a unit's signature that names words behind the text.
#[derive(Clone, Debug)]
pub struct Lifted {
    /// The code.
    pub function: Function,
    links: Vec<u16>,
    /// Of blocks that a branch of the guest's leads to: how often it did, and how often it led elsewhere.
    odds: HashMap<Block, (u64, u64)>,
}

impl Lifted {
    /// `sides` are blocks of `function` that ways of the region's branches begin with.
    pub(super) fn new(function: Function, links: Vec<u16>, sides: Sides, region: &Region) -> Lifted {
        let known = sides.into_iter().filter_map(|(side, (at, way))| {
            let ways = region.blocks[at].ways;
            (ways != [0; 2]).then_some((side, (ways[way], ways[1 - way])))
        });
        Lifted { function, links, odds: known.collect() }
    }

    /// Offsets in the page that it leaves for.
    pub(super) fn links(&self) -> &[u16] {
        &self.links
    }

    /// How often a branch that leads to `side` did so, and how often it did not, by the profile. `None` if it is no
    /// branch of the guest's, or nobody counted.
    pub fn odds(&self, side: Block) -> Option<(u64, u64)> {
        self.odds.get(&side).copied()
    }
}
