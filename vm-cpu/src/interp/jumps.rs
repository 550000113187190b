//! The jump cache: from a virtual pc to its block, per hart.
//!
//! Entries carry the address space's id, so switches and full fences leave them alone: they just stop
//! matching. All entries of one page stand in one run of [`RUN`] slots, so that a fence by address
//! looks at those only, and a filter of pages spares it that in nearly all cases.

use super::blocks::BlockId;
use crate::jit::enter::stub_cell;

/// Slots for the pcs of one page.
pub(crate) const RUN: usize = 64;
pub(crate) const RUNS: usize = 128;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Slot {
    pc: u64,
    space: u32,
    block: BlockId,
    /// Cell that generated code jumps through.
    cell: u64,
}

impl Default for Slot {
    fn default() -> Self {
        Slot { pc: 0, space: 0, block: 0, cell: stub_cell() }
    }
}

/// Where generated code finds the fields of a slot.
pub(crate) mod layout {
    use super::Slot;
    use std::mem::{offset_of, size_of};

    pub const PC: i32 = offset_of!(Slot, pc) as i32;
    pub const SPACE: i32 = offset_of!(Slot, space) as i32;
    pub const CELL: i32 = offset_of!(Slot, cell) as i32;
    pub const SIZE: i64 = size_of::<Slot>() as i64;
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
    slots: Box<[Slot; RUN * RUNS]>,
    /// Pages that may have an entry, hashed.
    pages: [u64; 16],
}

impl Default for Jumps {
    fn default() -> Self {
        Self { space: 0, user: 0, epoch: 0, slots: Box::new([Slot::default(); RUN * RUNS]), pages: [0; 16] }
    }
}

/// Generated code computes the same.
fn place(pc: u64) -> usize {
    (pc >> 12) as usize % RUNS * RUN + (pc >> 1) as usize % RUN
}

fn bit(pc: u64) -> (usize, u64) {
    let hash = (pc >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    ((hash >> 6) as usize & 15, 1 << (hash & 63))
}

impl Jumps {
    /// Fetches come from `space`, by user or not, from now on.
    pub fn enter(&mut self, space: u32, user: u64, epoch: u64) {
        (self.space, self.user) = (space, user);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.clear();
        }
    }

    #[inline(always)]
    pub fn get(&self, pc: u64) -> Option<BlockId> {
        let slot = &self.slots[place(pc) % (RUN * RUNS)];
        (slot.pc == pc | self.user && slot.space == self.space).then_some(slot.block)
    }

    /// The block that `pc` led to in this mode when its address space was still another, or had another
    /// id: to be kept with [`Jumps::renew`] if it is still right.
    #[inline]
    pub fn guess(&self, pc: u64) -> Option<BlockId> {
        let slot = &self.slots[place(pc) % (RUN * RUNS)];
        (slot.pc == pc | self.user && slot.space != 0).then_some(slot.block)
    }

    /// What [`Jumps::guess`] gave is right in the current space.
    #[inline]
    pub fn renew(&mut self, pc: u64) {
        self.slots[place(pc) % (RUN * RUNS)].space = self.space;
        let (word, bit) = bit(pc);
        self.pages[word] |= bit;
    }

    /// Generated code goes from here on through `cell` to `pc`, if that has a slot.
    #[inline]
    pub fn set_cell(&mut self, pc: u64, cell: u64) {
        let slot = &mut self.slots[place(pc)];
        if slot.pc == pc | self.user && slot.space == self.space {
            slot.cell = cell;
        }
    }

    /// Addresses of cells have become invalid.
    pub fn forget_cells(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.cell = stub_cell());
    }

    /// For generated code: the slots, the space and the mode that match.
    pub fn for_code(&self) -> (u64, u64, u64) {
        (self.slots.as_ptr() as u64, self.space.into(), self.user)
    }

    pub fn insert(&mut self, pc: u64, block: BlockId) {
        self.slots[place(pc)] = Slot { pc: pc | self.user, space: self.space, block, cell: stub_cell() };
        let (word, bit) = bit(pc);
        self.pages[word] |= bit;
    }

    /// Forgets the entries of the page of `va`, and what straddles into it, in every space.
    pub fn forget_page(&mut self, va: u64) {
        let page = va & !0xfff;
        self.forget_run(page);
        let before = page.wrapping_sub(2);
        if self.slots[place(before)].pc & !1 == before {
            self.slots[place(before)].space = 0;
        }
    }

    fn forget_run(&mut self, page: u64) {
        let (word, bit) = bit(page);
        if self.pages[word] & bit == 0 {
            return;
        }
        let start = place(page);
        for slot in &mut self.slots[start..start + RUN] {
            if slot.pc & !0xfff == page {
                slot.space = 0;
            }
        }
    }

    /// No id of a space that entries carry is in use any more.
    pub fn all_spaces_gone(&mut self) {
        self.pages.fill(0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(Slot::default());
        self.pages.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entries: &[(u64, u32, u64)]) -> Jumps {
        let mut jumps = Jumps::default();
        for (n, &(pc, space, user)) in entries.iter().enumerate() {
            jumps.enter(space, user, 0);
            jumps.insert(pc, 10 + n as u32);
        }
        jumps
    }

    fn get(jumps: &mut Jumps, pc: u64, space: u32, user: u64) -> Option<BlockId> {
        jumps.enter(space, user, 0);
        jumps.get(pc)
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
    fn a_new_epoch_of_ids_forgets_everything() {
        let mut jumps = with(&[(0x1000, 1, 0)]);
        jumps.enter(1, 0, 1);
        assert_eq!(jumps.get(0x1000), None);
    }
}
