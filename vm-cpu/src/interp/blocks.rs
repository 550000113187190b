//! Pre-decoded blocks of one hart: straight runs of instructions inside one guest-physical page.
//!
//! ```text
//!  index: gpa ──► number ──► Block { code: start..end, links, heat } ──► arena of Insn
//!  pages: page ──► numbers                                     (what a write may hit)
//! ```
//!
//! **Invariant.** A block's number belongs to its address for as long as the store lives: a block
//! whose bytes were written loses its code, not its number, so links and jump-cache entries stay
//! right and the next visit decodes it again. Only [`Blocks::reset`] takes numbers back.
//!
//! A block knows no virtual address: branch targets are relative, and a link leads only to a block
//! of the same page, which every mapping of the page reaches the same way.

use std::collections::HashMap;

use vm_codecache::Index;
use vm_mmu::PAGE;

use crate::isa::Insn;

/// Number of a block; 0 is nobody's.
pub type BlockId = u32;
/// No block.
pub const NONE: BlockId = 0;

/// Instructions of a block at most: keeps offsets within a byte of halfwords.
pub const BLOCK_INSNS: usize = 64;
/// Unless units are made sooner, a block does not look for one before it ran this often.
const FIRST_LOOK: u64 = 32;
/// Size of a granule of code tracking.
const GRANULE: u64 = 64;
/// Decoded instructions kept at most (20 bytes each).
const ARENA_INSNS: usize = 3 << 20;
/// Blocks known at most, before all is forgotten.
const BLOCK_LIMIT: usize = 1 << 20;

/// One block. Without code (`start == end`) it waits to be decoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Block {
    /// First instruction in the arena.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// Guest-physical address of the first byte.
    pub gpa: u64,
    /// Page of the second half of an instruction that straddles two pages, else 0.
    pub tail_page: u64,
    /// Bytes of code.
    pub bytes: u32,
    /// No link may lead here: each entry has to be looked up (a straddling instruction, or a page in
    /// which protection changes).
    pub unlinked: bool,
    /// Successors within the page: of the taken branch or jump, and of the fall-through. For an
    /// indirect jump the first is the block it went to last.
    pub links: [BlockId; 2],
    /// Times entered.
    pub heat: u64,
    /// Times left by the taken edge; `heat - taken` went the other way.
    pub taken: u64,
    /// Cell of its unit, or 0.
    pub cell: u64,
    /// `heat` at which to look for a unit, or to ask for one, again.
    pub ask: u64,
    /// A unit was asked for at this heat, or 0.
    pub asked: u64,
    /// It has, or had when last looked at, a unit.
    pub native: bool,
    /// `heat` when the arena was last compacted.
    seen: u64,
}

/// Executions that a block waits for room, or to be translated again when its unit was swept: what makes room has to
/// be paid for too. With fewer, all take each other's place in turn in a cache that is far too small.
pub const CROWDED: u64 = 512;

/// Bits of a page's number in [`Block::key`].
const KEY_BITS: u32 = 31;

impl Block {
    /// What the code cache knows its code by: its address, or both pages' numbers if it lies in two. `None` if
    /// it has to be looked up each time.
    pub fn key(&self) -> Option<u64> {
        let (head, tail) = (self.gpa / PAGE, self.tail_page / PAGE);
        match self.tail_page {
            0 => (!self.unlinked).then_some(self.gpa),
            _ if (head | tail) >> KEY_BITS != 0 => None,
            _ => Some(1 << 63 | head << KEY_BITS | tail),
        }
    }

    /// How often the branch at its end was taken, and how often not, if it ends with one.
    pub fn ways(&self) -> [u64; 2] {
        [self.taken, self.heat.saturating_sub(self.taken)]
    }

    /// It has a unit, by this cell; if the cell is 0, it had one and lost it: then it begins to count anew.
    pub fn set_cell(&mut self, cell: u64) {
        self.cell = cell;
        if cell != 0 {
            (self.native, self.ask) = (true, u64::MAX);
        } else {
            (self.native, self.asked, self.ask) = (false, 0, self.heat + CROWDED);
        }
    }
}

/// The block store.
#[derive(Debug)]
pub struct Blocks {
    arena: Vec<Insn>,
    list: Vec<Block>,
    index: Index,
    straddling: HashMap<(u64, u64), BlockId>,
    pages: HashMap<u64, Vec<BlockId>>,
    /// Heat at which a block looks for a unit for the first time.
    pub first_look: u64,
    /// Grows with each [`Blocks::reset`]: a number from before means nothing after.
    generation: u64,
    /// Compactions and resets since the start.
    pub compactions: u64,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            arena: Vec::new(),
            list: vec![Block::default()],
            index: Index::default(),
            straddling: HashMap::new(),
            pages: HashMap::new(),
            first_look: FIRST_LOOK,
            generation: 0,
            compactions: 0,
        }
    }
}

impl Blocks {
    /// The block of a number.
    #[inline(always)]
    pub fn get(&self, id: BlockId) -> &Block {
        &self.list[id as usize]
    }

    /// The block of a number, to count in or link.
    #[inline(always)]
    pub fn get_mut(&mut self, id: BlockId) -> &mut Block {
        &mut self.list[id as usize]
    }

    /// Instructions of a block.
    #[inline(always)]
    pub fn code(&self, block: &Block) -> &[Insn] {
        &self.arena[block.start as usize..block.end as usize]
    }

    /// All blocks that have been entered, hottest or not.
    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.list.iter().filter(|b| b.heat > 0)
    }

    /// See [`Blocks::reset`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Number for the block at `gpa`, made if it is new. `tail_page` is 0 unless its only
    /// instruction straddles into that page.
    pub fn number(&mut self, gpa: u64, tail_page: u64) -> BlockId {
        let known = match tail_page {
            0 => self.index.get(gpa),
            _ => self.straddling.get(&(gpa, tail_page)).copied(),
        };
        if let Some(id) = known {
            return id;
        }
        if self.list.len() >= BLOCK_LIMIT {
            self.reset();
        }
        let id = self.list.len() as BlockId;
        self.list.push(Block { gpa, tail_page, ask: self.first_look, ..Block::default() });
        match tail_page {
            0 => self.index.insert(gpa, id),
            _ => _ = self.straddling.insert((gpa, tail_page), id),
        }
        self.pages.entry(gpa & !(PAGE - 1)).or_default().push(id);
        if tail_page != 0 {
            self.pages.entry(tail_page).or_default().push(id);
        }
        id
    }

    /// The block at `gpa`, if it has code.
    pub fn known(&self, gpa: u64) -> Option<&Block> {
        self.index.get(gpa).map(|id| self.get(id)).filter(|block| block.bytes != 0 && block.tail_page == 0)
    }

    /// The same, to change.
    pub fn known_mut(&mut self, gpa: u64) -> Option<&mut Block> {
        let id = self.index.get(gpa)?;
        Some(self.get_mut(id)).filter(|block| block.bytes != 0 && block.tail_page == 0)
    }

    /// Whether any block of `page` has code.
    pub fn has_code(&self, page: u64) -> bool {
        self.pages.get(&page).is_some_and(|ids| ids.iter().any(|&id| self.get(id).bytes != 0))
    }

    /// Gives block `id` its code. Its links go: new code may jump elsewhere.
    pub fn set_code(&mut self, id: BlockId, code: &[Insn], bytes: u32) {
        if self.arena.len() + code.len() > ARENA_INSNS {
            self.compact();
        }
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(code);
        let end = self.arena.len() as u32;
        let block = self.get_mut(id);
        (block.start, block.end, block.bytes, block.links) = (start, end, bytes, [NONE; 2]);
        block.native = false;
    }

    /// Drops the code of blocks that were made from any of `granules` of `page`.
    pub fn drop_granules(&mut self, page: u64, granules: u64) {
        self.drop_where(page, |block| granules_of(block, page) & granules != 0);
    }

    /// Drops the code of blocks of `page` for which `stale` says so.
    pub fn drop_where(&mut self, page: u64, stale: impl Fn(&Block) -> bool) {
        for &id in self.pages.get(&page).map_or(&[][..], Vec::as_slice) {
            let block = &mut self.list[id as usize];
            if block.bytes != 0 && stale(block) {
                (block.start, block.end, block.bytes) = (0, 0, 0);
            }
        }
    }

    /// Drops the code of one block.
    pub fn drop_code(&mut self, id: BlockId) {
        let block = self.get_mut(id);
        (block.start, block.end, block.bytes) = (0, 0, 0);
    }

    /// Addresses of cells have become invalid.
    pub fn forget_cells(&mut self) {
        for block in self.list.iter_mut().filter(|block| block.cell != 0) {
            (block.cell, block.ask) = (0, block.heat + 1);
        }
    }

    /// Numbers of the blocks of `page`.
    pub fn of_page(&self, page: u64) -> &[BlockId] {
        self.pages.get(&page).map_or(&[], Vec::as_slice)
    }

    /// Drops all code and links, keeps numbers and heat.
    pub fn drop_all(&mut self) {
        self.arena.clear();
        for block in &mut self.list {
            (block.start, block.end, block.bytes, block.links) = (0, 0, 0, [NONE; 2]);
        }
    }

    /// Forgets everything, numbers too. Jump caches have to be emptied by the caller.
    fn reset(&mut self) {
        let (generation, compactions) = (self.generation + 1, self.compactions + 1);
        *self = Self { generation, compactions, first_look: self.first_look, ..Self::default() };
    }

    /// Keeps the code of the blocks that were entered since the last time, most of it contiguous.
    fn compact(&mut self) {
        let old = std::mem::take(&mut self.arena);
        let entered = |b: &Block| b.heat - b.seen;
        let mut floor = 0;
        while self
            .list
            .iter()
            .filter(|b| entered(b) > floor)
            .map(|b| (b.end - b.start) as usize)
            .sum::<usize>()
            > ARENA_INSNS / 2
        {
            floor = floor * 2 + 1;
        }
        for block in &mut self.list {
            let keep = entered(block) > floor;
            block.seen = block.heat;
            let code = &old[block.start as usize..block.end as usize];
            if keep {
                block.start = self.arena.len() as u32;
                self.arena.extend_from_slice(code);
                block.end = self.arena.len() as u32;
            } else {
                (block.start, block.end, block.bytes) = (0, 0, 0);
            }
        }
        self.compactions += 1;
    }
}

/// Granules of `page` that `block` was made from.
fn granules_of(block: &Block, page: u64) -> u64 {
    let offset = block.gpa & (PAGE - 1);
    if block.gpa - offset == page {
        granule_mask(offset, u64::from(block.bytes).min(PAGE - offset))
    } else {
        1 // the second half of a straddling instruction
    }
}

/// Granules that `len` bytes at page offset `offset` touch. The range ends inside the page.
pub fn granule_mask(offset: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    let (first, last) = (offset / GRANULE, (offset + len - 1) / GRANULE);
    (u64::MAX << first) & (u64::MAX >> (63 - last.min(63)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Extensions, decode};

    fn nop() -> Insn {
        decode(0x13, Extensions::all()).unwrap()
    }

    #[test]
    fn granules_of_ranges() {
        assert_eq!(granule_mask(0, 1), 1);
        assert_eq!(granule_mask(63, 2), 0b11);
        assert_eq!(granule_mask(4032, 64), 1 << 63);
        assert_eq!(granule_mask(0, 4096), u64::MAX);
        assert_eq!(granule_mask(128, 0), 0);
    }

    #[test]
    fn a_write_beside_a_block_leaves_it() {
        let mut blocks = Blocks::default();
        let a = blocks.number(0x8000_0000, 0);
        let b = blocks.number(0x8000_0100, 0);
        blocks.set_code(a, &[nop(); 4], 16);
        blocks.set_code(b, &[nop(); 4], 16);
        blocks.drop_granules(0x8000_0000, granule_mask(0x100, 8));
        assert_eq!((blocks.get(a).bytes, blocks.get(b).bytes), (16, 0));
        assert_eq!(blocks.number(0x8000_0100, 0), b, "the number stays");
    }

    #[test]
    fn new_code_has_no_links_of_the_old() {
        let mut blocks = Blocks::default();
        let id = blocks.number(0x8000_0000, 0);
        blocks.set_code(id, &[nop()], 4);
        blocks.get_mut(id).links = [7, 8];
        blocks.drop_code(id);
        blocks.set_code(id, &[nop()], 4);
        assert_eq!(blocks.get(id).links, [NONE; 2]);
    }

    #[test]
    fn a_straddling_block_dies_by_either_page() {
        let mut blocks = Blocks::default();
        for page in [0x8000_0000, 0x8000_5000] {
            let id = blocks.number(0x8000_0ffe, 0x8000_5000);
            blocks.set_code(id, &[nop()], 4);
            blocks.drop_granules(page, 1 | 1 << 63);
            assert_eq!(blocks.get(id).bytes, 0, "page {page:#x}");
        }
    }

    #[test]
    fn a_full_arena_keeps_what_is_hot() {
        let mut blocks = Blocks::default();
        let code = [nop(); BLOCK_INSNS];
        let hot = blocks.number(0x8000_0000, 0);
        blocks.set_code(hot, &code, 256);
        blocks.get_mut(hot).heat = 1000;
        for i in 1..(ARENA_INSNS / BLOCK_INSNS) as u64 + 10 {
            let id = blocks.number(0x8000_0000 + i * 256, 0);
            blocks.set_code(id, &code, 256);
            blocks.get_mut(id).heat = 1;
        }
        assert_eq!(blocks.compactions, 1);
        assert_eq!(blocks.code(blocks.get(hot)).len(), BLOCK_INSNS);
    }

    #[test]
    fn what_lies_in_two_pages_is_known_by_both() {
        let at = |gpa, tail_page, unlinked| Block { gpa, tail_page, unlinked, ..Block::default() }.key();
        assert_eq!(at(0x8000_0ffe, 0, false), Some(0x8000_0ffe));
        assert_eq!(at(0x8000_0ffe, 0, true), None, "protection changes within the page");
        let pairs = [(0x8000_0ffe, 0x8000_1000), (0x8000_0ffe, 0x8000_2000), (0x8000_1ffe, 0x8000_1000)];
        let keys = pairs.map(|(gpa, tail)| at(gpa, tail, true).expect("a key"));
        assert!(keys.iter().all(|key| key >> 63 == 1), "no address of an instruction");
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(at(0x80_0000_0000_0ffe, 0x1000, true), None, "too far up");
    }

    #[test]
    fn a_block_that_loses_its_unit_waits_before_it_has_another() {
        let mut block = Block { heat: 1000, asked: 7, ..Block::default() };
        for _ in 0..300 {
            block.set_cell(0x5000);
            assert_eq!((block.cell, block.ask, block.native), (0x5000, u64::MAX, true));
            block.set_cell(0);
            assert_eq!((block.cell, block.ask, block.native), (0, 1000 + CROWDED, false));
            assert_eq!(block.asked, 0, "its region may be asked for again");
        }
    }
}
