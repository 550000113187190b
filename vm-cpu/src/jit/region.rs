//! Which code is compiled together: the loop or function around a hot block, within its page.
//!
//! ```text
//!  blocks of the interpreter (heat, edges) ──discover──► Region
//!     streams of instructions by offset ──cut at leaders──► basic blocks, entries, edges
//! ```
//! Only what has really run is taken. A call inside the region is a jump, and the place it returns to
//! is an entry, as is where any other call or system instruction comes back to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::abi::Site;
use crate::interp::{Block, Blocks};
use crate::isa::effects::Effects;
use crate::isa::{Insn, Op};
use vm_mmu::PAGE;

/// Instructions of a region at most: what compiles within milliseconds.
pub const REGION_INSNS: usize = 300;
/// A block is left out if the seed ran this many times as often.
const COLD: u64 = 32;
/// Code that has a unit already is jumped to instead if it runs this many times as often as the seed.
const SETTLED: u64 = 8;
/// Return addresses that a return is compared with at most.
const RETURNS: usize = 4;

/// A basic block.
#[derive(Debug)]
pub struct RegionBlock {
    /// Offset of the first byte in the page.
    pub offset: u32,
    /// Instructions; `at` is in halfwords from `offset`.
    pub insns: Vec<Insn>,
    /// What each of them touches.
    pub effects: Vec<Effects>,
    /// Offset of the first byte behind.
    pub end: u32,
    /// Executions, where they are known.
    pub heat: u64,
    /// How often its branch was taken, and how often not, as far as that was counted.
    pub ways: [u64; 2],
    /// Other code may jump here.
    pub entry: bool,
    /// Where control goes within the region.
    pub successors: Vec<usize>,
    /// Some edge comes from behind: the head of a loop.
    pub head: bool,
    /// It lies on a way from itself to itself.
    pub cyclic: bool,
    /// Registers whose value the block needs (x in the low half, f in the high half).
    pub live: u64,
    /// Registers that may differ from the hart's state when the block begins.
    pub dirty: u64,
    /// FP registers that may hold what an operation left, when the block begins: the others hold exact images.
    pub raw: u32,
    /// Those of them that may hold an exact image too, which may be one of a NaN.
    pub mixed: u32,
    /// FP registers whose value may be the same whenever the block begins, though it lies in a loop.
    pub stale: u32,
    /// FP registers whose value, as it is when the block begins, is computed before it goes.
    pub computed: u32,
}

/// Code to be compiled as one unit.
#[derive(Debug)]
pub struct Region {
    /// Guest-physical address of the page.
    pub page: u64,
    /// Offset of the block that asked for it.
    pub seed: u32,
    /// Basic blocks by offset.
    pub blocks: Vec<RegionBlock>,
    /// Offsets where calls of the region return to.
    pub returns: Vec<u32>,
    /// Executions of the block that asked for it.
    pub heat: u64,
}

/// What of a region its instructions do not tell.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Offsets of the blocks that other code may jump to.
    pub entries: Box<[u16]>,
    /// Offsets where calls of the region return to.
    pub returns: Box<[u16]>,
}

impl Shape {
    /// Of a unit with these entries, if nobody has noted which of its calls count most.
    pub fn of(entries: Box<[u16]>, sites: &[Site]) -> Shape {
        let calls = sites.iter().filter(|site| {
            let end = end_of(&site.insn, &Effects::of(&site.insn).directly());
            matches!(end, End::Jump(_, true) | End::Indirect { call: true, .. })
        });
        let back = calls.map(|site| site.offset + u16::from(site.insn.len));
        let returns = back.filter(|back| sites.iter().any(|site| site.offset == *back));
        Shape { entries, returns: returns.take(RETURNS).collect() }
    }
}

/// What is known of the code around.
pub trait Surroundings {
    /// Whether the address has an optimised unit already.
    fn has_region(&self, gpa: u64) -> bool;
    /// Executions of a block, by whatever engine.
    fn heat(&self, block: &Block) -> u64;
    /// How often the branch at the end of a block was taken, and how often not, as far as that was counted.
    fn ways(&self, block: &Block) -> [u64; 2] {
        block.ways()
    }
    /// Whether a region whose first block ran `seed` times leads to the unit of a block that ran `heat` times,
    /// rather than to take it in.
    fn is_settled(&self, gpa: u64, heat: u64, seed: u64) -> bool {
        heat >= seed.saturating_mul(SETTLED) && self.has_region(gpa)
    }
    /// Whether other code is known to jump here.
    fn is_entered(&self, _gpa: u64) -> bool {
        false
    }
    /// Whether other code may jump to the head of any loop: that is where an interrupt comes back to.
    fn enters_loops(&self) -> bool {
        false
    }
}

/// How an instruction may be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// To the next one only.
    Next,
    /// To either.
    Branch(i64),
    /// To a place known; a call if the flag says so.
    Jump(i64, bool),
    /// To a place not known.
    Indirect {
        /// It comes back.
        call: bool,
        /// It is the return of one.
        returns: bool,
    },
    /// To the next one, perhaps by way of the dispatcher.
    Runtime,
}

/// How `insn` ends.
pub fn end_of(insn: &Insn, effects: &Effects) -> End {
    let links = insn.rd == 1 || insn.rd == 5;
    match insn.op {
        Op::jal => End::Jump(i64::from(insn.imm), links),
        Op::jalr => End::Indirect { call: links, returns: insn.rd == 0 && insn.rs1 == 1 },
        Op::beq | Op::bne | Op::blt | Op::bge | Op::bltu | Op::bgeu => End::Branch(i64::from(insn.imm)),
        _ if effects.ends || effects.traps => End::Runtime,
        _ => End::Next,
    }
}

struct Discovery<'a> {
    blocks: &'a Blocks,
    around: &'a dyn Surroundings,
    page: u64,
    heat: u64,
    insns: BTreeMap<u32, (Insn, Effects)>,
    leaders: BTreeSet<u32>,
    entries: BTreeSet<u32>,
    returns: Vec<u32>,
    work: VecDeque<u32>,
}

impl Region {
    /// The region around the block `seed`.
    pub fn discover(blocks: &Blocks, seed: &Block, around: &dyn Surroundings) -> Option<Region> {
        let page = seed.gpa & !(PAGE - 1);
        let first = (seed.gpa - page) as u32;
        let mut found = Discovery {
            blocks,
            around,
            page,
            heat: around.heat(seed),
            insns: BTreeMap::new(),
            leaders: BTreeSet::new(),
            entries: BTreeSet::from([first]),
            returns: Vec::new(),
            work: VecDeque::from([first]),
        };
        while let Some(offset) = found.work.pop_front() {
            found.walk(offset, offset == first);
        }
        let Discovery { insns, leaders, entries, mut returns, .. } = found;
        if insns.is_empty() {
            return None;
        }
        returns.retain(|offset| insns.contains_key(offset));
        returns.truncate(RETURNS);
        let mut cut = cut(&insns, &leaders, &entries);
        for block in &mut cut {
            let Some(known) = blocks.known(page + u64::from(block.offset)) else { continue };
            block.heat = around.heat(known);
            if block.branches() && block.end - block.offset == known.bytes {
                block.ways = around.ways(known);
            }
        }
        let mut region = Region { page, seed: first, blocks: cut, returns, heat: around.heat(seed) };
        if around.enters_loops() {
            region.connect();
            region.blocks.iter_mut().for_each(|block| block.entry |= block.head);
        }
        Some(region.analysed())
    }

    /// The region that a unit with these instructions was made from. `None` if it has no entry.
    pub fn again(page: u64, sites: &[Site], shape: &Shape, heat: u64) -> Option<Region> {
        let starts = (0..sites.len()).filter(|&at| at == 0 || sites[at - 1].rest == 1);
        let blocks = starts.filter_map(|at| {
            let insns = sites.get(at..at + usize::from(sites[at].rest))?;
            let entry = shape.entries.contains(&sites[at].offset);
            let mut block = RegionBlock { entry, heat, ..RegionBlock::at(sites[at].offset.into()) };
            insns.iter().for_each(|site| block.push(&site.insn, Effects::of(&site.insn).directly()));
            Some(block)
        });
        let blocks: Vec<RegionBlock> = blocks.collect();
        let seed = blocks.iter().find(|block| block.entry)?.offset;
        let returns = shape.returns.iter().map(|&offset| offset.into()).collect();
        Some(Region { page, seed, blocks, returns, heat }.analysed())
    }

    /// What its instructions do not tell.
    pub fn shape(&self) -> Shape {
        Shape {
            entries: self.entries().map(|at| self.blocks[at].offset as u16).collect(),
            returns: self.returns.iter().map(|&offset| offset as u16).collect(),
        }
    }

    fn analysed(mut self) -> Region {
        self.connect();
        self.find_cycles();
        super::live::analyse(&mut self);
        self
    }

    /// The block that begins at `offset`.
    pub fn block_at(&self, offset: i64) -> Option<usize> {
        let offset = u32::try_from(offset).ok()?;
        self.blocks.binary_search_by_key(&offset, |block| block.offset).ok()
    }

    /// The blocks that other code may jump to, in the order of their ways in.
    pub fn entries(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.blocks.len()).filter(|&at| self.blocks[at].entry)
    }

    /// Whether every way to the block `to` leads through the block `through`, which is another.
    pub fn leads(&self, through: usize, to: usize) -> bool {
        let mut seen = vec![false; self.blocks.len()];
        seen[through] = true;
        let mut work: Vec<usize> = self.entries().filter(|&at| at != through).collect();
        while let Some(at) = work.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                work.extend(&self.blocks[at].successors);
            }
        }
        to != through && !seen[to]
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.insns.len()).sum()
    }

    /// Whether there is nothing in it; never for one that was discovered.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Granules that it was made from.
    pub fn granules(&self) -> u64 {
        let spans = self
            .blocks
            .iter()
            .map(|b| crate::interp::granule_mask(b.offset.into(), (b.end - b.offset).into()));
        spans.fold(0, |all, span| all | span)
    }

    fn connect(&mut self) {
        let edges: Vec<Vec<usize>> = self.blocks.iter().map(|block| self.edges(block)).collect();
        for (from, to) in edges.into_iter().enumerate() {
            for &to in &to {
                self.blocks[to].head |= to <= from;
            }
            self.blocks[from].successors = to;
        }
    }

    fn find_cycles(&mut self) {
        for at in 0..self.blocks.len() {
            let mut seen = vec![false; self.blocks.len()];
            let mut work = self.blocks[at].successors.clone();
            while let Some(to) = work.pop() {
                if !std::mem::replace(&mut seen[to], true) {
                    work.extend(&self.blocks[to].successors);
                }
            }
            self.blocks[at].cyclic = seen[at];
        }
    }

    /// Where control goes from a block within the region.
    fn edges(&self, block: &RegionBlock) -> Vec<usize> {
        let (Some(insn), Some(effects)) = (block.insns.last(), block.effects.last()) else {
            return Vec::new();
        };
        let here = i64::from(block.end) - i64::from(insn.len);
        let next = self.block_at(block.end.into());
        let mut to: Vec<usize> = match end_of(insn, effects) {
            End::Next | End::Runtime => next.into_iter().collect(),
            End::Branch(off) => [self.block_at(here + off), next].into_iter().flatten().collect(),
            End::Jump(off, _) => self.block_at(here + off).into_iter().collect(),
            End::Indirect { returns: true, .. } => {
                self.returns.iter().filter_map(|&at| self.block_at(at.into())).collect()
            }
            End::Indirect { .. } => Vec::new(),
        };
        to.sort_unstable();
        to.dedup();
        to
    }
}

impl RegionBlock {
    /// A block without instructions.
    fn at(offset: u32) -> RegionBlock {
        RegionBlock {
            offset,
            insns: Vec::new(),
            effects: Vec::new(),
            end: offset,
            heat: 0,
            ways: [0; 2],
            entry: false,
            successors: Vec::new(),
            head: false,
            cyclic: false,
            live: 0,
            dirty: 0,
            raw: 0,
            mixed: 0,
            stale: 0,
            computed: 0,
        }
    }

    /// Whether it ends with a branch.
    fn branches(&self) -> bool {
        let (last, effects) = (self.insns.last(), self.effects.last());
        last.zip(effects).is_some_and(|(last, effects)| matches!(end_of(last, effects), End::Branch(_)))
    }

    /// Takes in the instruction behind its last.
    fn push(&mut self, insn: &Insn, effects: Effects) {
        self.insns.push(Insn { at: ((self.end - self.offset) / 2) as u8, ..*insn });
        self.effects.push(effects);
        self.end += u32::from(insn.len);
    }
}

impl Discovery<'_> {
    /// Takes in the instructions from `offset` on, up to where control divides.
    fn walk(&mut self, offset: u32, seed: bool) {
        if self.insns.contains_key(&offset) {
            self.leaders.insert(offset);
            return;
        }
        let gpa = self.page + u64::from(offset);
        let Some(block) = self.blocks.known(gpa) else { return };
        let heat = self.around.heat(block);
        let wanted = heat.saturating_mul(COLD) >= self.heat;
        let settled = !seed && self.around.is_settled(gpa, heat, self.heat);
        if !wanted || settled || block.unlinked || self.insns.len() >= REGION_INSNS {
            return;
        }
        let code = self.blocks.code(block);
        self.leaders.insert(offset);
        if self.around.is_entered(gpa) {
            self.entries.insert(offset);
        }
        let mut at = offset;
        for insn in code {
            if self.insns.contains_key(&at) {
                self.leaders.insert(at);
                return;
            }
            let effects = Effects::of(insn).directly();
            self.insns.insert(at, (*insn, effects));
            let (here, next) = (i64::from(at), at + u32::from(insn.len));
            match end_of(insn, &effects) {
                End::Next => at = next,
                End::Branch(off) => {
                    self.reach(here + off);
                    self.reach(next.into());
                    return;
                }
                End::Jump(off, call) => {
                    self.reach(here + off);
                    if call {
                        self.returns_to(next);
                    }
                    return;
                }
                End::Indirect { call, .. } => {
                    if call {
                        self.returns_to(next);
                    }
                    return;
                }
                End::Runtime => {
                    self.enters(next);
                    return;
                }
            }
        }
        self.reach(at.into());
    }

    fn reach(&mut self, offset: i64) {
        if (0..PAGE as i64).contains(&offset) {
            self.work.push_back(offset as u32);
        }
    }

    fn enters(&mut self, offset: u32) {
        self.entries.insert(offset);
        self.reach(offset.into());
    }

    fn returns_to(&mut self, offset: u32) {
        self.enters(offset);
        self.returns.push(offset);
    }
}

/// Basic blocks of the instructions found.
fn cut(
    insns: &BTreeMap<u32, (Insn, Effects)>,
    leaders: &BTreeSet<u32>,
    entries: &BTreeSet<u32>,
) -> Vec<RegionBlock> {
    let starts = leaders.iter().copied().filter(|start| insns.contains_key(start));
    let whole = starts.map(|offset| {
        let mut block = RegionBlock { entry: entries.contains(&offset), ..RegionBlock::at(offset) };
        while let Some(&(insn, effects)) = insns.get(&block.end) {
            block.push(&insn, effects);
            if end_of(&insn, &effects) != End::Next || leaders.contains(&block.end) || block.insns.len() == 64
            {
                break;
            }
        }
        block
    });
    whole.collect()
}
