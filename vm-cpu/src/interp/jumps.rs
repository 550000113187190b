//! The jump cache: from a virtual pc to its block, per hart.
//!
//! Entries carry the address space's id, so switches and full fences leave them alone: they just stop
//! matching. The halfwords of a page have slots in a row, begun at a place of the page's own:
//!
//! ```text
//!  slot = pc / 2 + (pc / 4096) * SPREAD   modulo SLOTS
//! ```
//! So no two pcs of a page collide, and a fence by address knows where to look; counts of entries, hashed by
//! page, spare it that in nearly all cases.

use super::blocks::{BlockId, NONE};
use crate::jit::enter::stub_cell;

/// Slots; a power of two.
const SLOTS: usize = 1 << 16;
/// Moves the slots of a page away from those of its neighbours.
const SPREAD: u64 = 0x9e5;
/// Counters of entries.
const COUNTS: usize = 1 << 14;
/// Bytes that an instruction begins at a multiple of.
const STEP: u64 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Slot {
    pc: u64,
    space: u32,
    block: BlockId,
    /// Cell that generated code jumps through.
    cell: u64,
    /// Where the block is; [`NOWHERE`] if that is not all there is to know of it.
    gpa: u64,
}

/// Of a block that lies in two pages.
pub(crate) const NOWHERE: u64 = u64::MAX;

impl Default for Slot {
    fn default() -> Self {
        Slot { pc: 0, space: 0, block: 0, cell: stub_cell(), gpa: NOWHERE }
    }
}

/// Where generated code finds the fields of a slot.
pub(crate) mod layout {
    use super::{SLOTS, SPREAD, Slot};
    use std::mem::{offset_of, size_of};

    pub const PC: i32 = offset_of!(Slot, pc) as i32;
    pub const SPACE: i32 = offset_of!(Slot, space) as i32;
    pub const CELL: i32 = offset_of!(Slot, cell) as i32;
    const SIZE: usize = size_of::<Slot>();
    /// The slot of a pc lies `(pc << LEFT) + (pc >> 12) * FACTOR & MASK` bytes behind the first: see `place`.
    pub const LEFT: u8 = SIZE.ilog2() as u8 - 1;
    pub const FACTOR: i32 = SPREAD as i32 * SIZE as i32;
    pub const MASK: i32 = ((SLOTS - 1) * SIZE) as i32;
    const _: () = assert!(SIZE.is_power_of_two());
}

/// The cache. Space 0 is never looked up.
#[derive(Debug)]
pub(crate) struct Jumps {
    /// The space that fetches come from now.
    space: u32,
    /// 1 in U-mode, else 0: the modes share spaces, but not permissions. Stored in bit 0 of the pc.
    user: u64,
    /// Ids of spaces are unique within it.
    epoch: u64,
    /// Grows whenever some pc may lead elsewhere than it did, and when cells are gone.
    changes: u64,
    slots: Box<[Slot; SLOTS]>,
    /// Entries of the pages that share a counter.
    counts: Box<[u32; COUNTS]>,
}

impl Default for Jumps {
    fn default() -> Self {
        let slots = vec![Slot::default(); SLOTS].into_boxed_slice();
        let (slots, counts) = (slots.try_into().expect("as many"), Box::new([0; COUNTS]));
        Self { space: 0, user: 0, epoch: 0, changes: 0, slots, counts }
    }
}

/// Generated code computes the same.
fn place(pc: u64) -> usize {
    ((pc >> 1).wrapping_add((pc >> 12).wrapping_mul(SPREAD))) as usize % SLOTS
}

/// The counter of a pc's page.
fn counter(pc: u64) -> usize {
    ((pc >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize % COUNTS
}

impl Jumps {
    /// Fetches come from `space`, by user or not, from now on.
    pub fn enter(&mut self, space: u32, user: u64, epoch: u64) {
        if (self.space, self.user) != (space, user) {
            (self.space, self.user) = (space, user);
            self.changes += 1;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.clear();
        }
    }

    #[inline(always)]
    pub fn get(&self, pc: u64) -> Option<BlockId> {
        let slot = &self.slots[place(pc)];
        (slot.pc == pc | self.user && slot.space == self.space).then_some(slot.block)
    }

    /// The block that `pc` led to in this mode when its address space was still another, or had another
    /// id, or before a fence: to be kept with [`Jumps::renew`] if it is still right.
    #[inline]
    pub fn guess(&self, pc: u64) -> Option<BlockId> {
        let slot = &self.slots[place(pc)];
        (slot.pc == pc | self.user && slot.block != NONE).then_some(slot.block)
    }

    /// The same for its cell, and where the block was.
    #[inline]
    pub fn guess_cell(&self, pc: u64) -> Option<(u64, u64)> {
        let slot = &self.slots[place(pc)];
        (slot.pc == pc | self.user && slot.gpa != NOWHERE).then_some((slot.cell, slot.gpa))
    }

    /// What was guessed is right in the current space.
    #[inline]
    pub fn renew(&mut self, pc: u64) {
        let slot = &mut self.slots[place(pc)];
        if slot.space == 0 {
            self.counts[counter(pc)] += 1;
        }
        slot.space = self.space;
    }

    /// The cell of `pc`.
    #[inline]
    pub fn cell(&self, pc: u64) -> Option<u64> {
        let slot = &self.slots[place(pc)];
        (slot.pc == pc | self.user && slot.space == self.space).then_some(slot.cell)
    }

    /// Generated code goes from here on through `cell` to `pc`, if that has a slot. A cell of 0 is none: the unit
    /// may have died as soon as it was made.
    #[inline]
    pub fn set_cell(&mut self, pc: u64, cell: u64) {
        let slot = &mut self.slots[place(pc)];
        if slot.pc == pc | self.user && slot.space == self.space {
            slot.cell = if cell == 0 { stub_cell() } else { cell };
        }
    }

    /// What is kept of where pcs lead is right for as long as this stays the same.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Addresses of cells have become invalid.
    pub fn forget_cells(&mut self) {
        self.changes += 1;
        self.slots.iter_mut().for_each(|slot| slot.cell = stub_cell());
    }

    /// For generated code: the slots, the space and the mode that match.
    pub fn for_code(&self) -> (u64, u64, u64) {
        (self.slots.as_ptr() as u64, self.space.into(), self.user)
    }

    pub fn insert(&mut self, pc: u64, block: BlockId, gpa: u64) {
        self.forget(place(pc));
        self.slots[place(pc)] = Slot { pc: pc | self.user, space: self.space, block, cell: stub_cell(), gpa };
        self.counts[counter(pc)] += 1;
    }

    fn forget(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.space != 0 {
            slot.space = 0;
            self.counts[counter(slot.pc)] -= 1;
        }
    }

    /// Forgets the entries of the page of `va`, and what straddles into it, in every space.
    pub fn forget_page(&mut self, va: u64) {
        self.changes += 1;
        let page = va & !0xfff;
        let before = page.wrapping_sub(STEP);
        if self.slots[place(before)].pc & !1 == before {
            self.forget(place(before));
        }
        if self.counts[counter(page)] == 0 {
            return;
        }
        for at in 0..0x1000 / STEP {
            let at = place(page + at * STEP);
            if self.slots[at].pc & !0xfff == page {
                self.forget(at);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.changes += 1;
        self.slots.fill(Slot::default());
        self.counts.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entries: &[(u64, u32, u64)]) -> Jumps {
        let mut jumps = Jumps::default();
        for (n, &(pc, space, user)) in entries.iter().enumerate() {
            jumps.enter(space, user, 0);
            jumps.insert(pc, 10 + n as u32, 0);
        }
        jumps
    }

    fn get(jumps: &mut Jumps, pc: u64, space: u32, user: u64) -> Option<BlockId> {
        jumps.enter(space, user, 0);
        jumps.get(pc)
    }

    #[test]
    fn generated_code_never_jumps_through_no_cell() {
        let mut jumps = with(&[(0x1000, 1, 0)]);
        jumps.set_cell(0x1000, 0x5000);
        assert_eq!(jumps.cell(0x1000), Some(0x5000));
        jumps.set_cell(0x1000, 0);
        assert_eq!(jumps.cell(0x1000), Some(stub_cell()));
    }

    #[test]
    fn generated_code_finds_the_same_slot() {
        for pc in [0, 2, 0x1002, 0x8020_1ffe, 0xffff_ffff_8000_0ffe, u64::MAX - 1] {
            let factor = layout::FACTOR as u64;
            let bytes =
                (pc << layout::LEFT).wrapping_add((pc >> 12).wrapping_mul(factor)) & layout::MASK as u64;
            assert_eq!(bytes as usize, place(pc) * size_of::<Slot>(), "{pc:#x}");
        }
    }

    #[test]
    fn a_page_is_forgotten_in_every_space_and_only_it() {
        let entries = [(0x1000, 1, 0), (0x1ffc, 2, 1), (0x2000, 1, 1), (0x2ffe, 2, 0), (0x3000, 1, 0)];
        let mut jumps = with(&entries);
        jumps.forget_page(0x2004);
        let left = entries.map(|(pc, space, user)| get(&mut jumps, pc, space, user));
        assert_eq!(left, [Some(10), Some(11), None, None, Some(14)]);
    }

    #[test]
    fn what_straddles_into_a_forgotten_page_goes_too() {
        let mut jumps = with(&[(0x1ffe, 1, 1)]);
        jumps.forget_page(0x2000);
        assert_eq!(get(&mut jumps, 0x1ffe, 1, 1), None);
    }

    #[test]
    fn neither_another_space_nor_another_mode_matches() {
        let mut jumps = with(&[(0x1000, 1, 0)]);
        assert_eq!(get(&mut jumps, 0x1000, 2, 0), None);
        assert_eq!(get(&mut jumps, 0x1000, 1, 1), None);
        assert_eq!(get(&mut jumps, 0x1000, 1, 0), Some(10));
    }

    #[test]
    fn whatever_may_lead_elsewhere_counts_as_a_change() {
        let mut jumps = with(&[(0x1000, 1, 0)]);
        let mut changes = |change: fn(&mut Jumps)| {
            let before = jumps.changes();
            change(&mut jumps);
            jumps.changes() != before
        };
        assert!(!changes(|jumps| jumps.enter(1, 0, 0)));
        assert!(changes(|jumps| jumps.enter(2, 0, 0)));
        assert!(changes(|jumps| jumps.enter(2, 1, 0)));
        assert!(changes(|jumps| jumps.enter(2, 1, 1)));
        assert!(changes(|jumps| jumps.forget_page(0x7000)), "no slot leads there, but a return may");
        assert!(changes(Jumps::forget_cells));
        assert!(changes(Jumps::clear));
    }

    #[test]
    fn a_new_epoch_of_ids_forgets_everything() {
        let mut jumps = with(&[(0x1000, 1, 0)]);
        jumps.enter(1, 0, 1);
        assert_eq!(jumps.get(0x1000), None);
    }
}
