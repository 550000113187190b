//! Second-stage formats of other machines fit beside RISC-V's: the walk is the same, only the meaning
//! of an entry differs.

use std::cell::RefCell;
use std::collections::HashMap;

use vm_mmu::paging::{Entry, PageTable, walk_table};
use vm_mmu::{Access, Leaf, PAGE, PteMemory, WalkCache, WalkFault, WalkMode};

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// x86-64 EPT (Intel SDM vol. 3C, 30.3).
struct Ept;

impl PageTable for Ept {
    const LEVELS: usize = 4;

    fn canonical(gpa: u64) -> bool {
        gpa >> 48 == 0
    }

    fn entry(pte: u64, level: usize, gpa: u64, _mode: WalkMode) -> Entry {
        if pte & 7 == 0 || pte & 3 == 2 {
            return Entry::Invalid;
        }
        if level > 0 && pte & 1 << 7 == 0 {
            return Entry::Table(pte & ADDRESS);
        }
        page(pte & ADDRESS, level, gpa, [pte & 1 != 0, pte & 2 != 0, pte & 4 != 0])
    }

    fn touched(pte: u64, access: Access) -> u64 {
        pte | 1 << 8 | if access == Access::Store { 1 << 9 } else { 0 }
    }

    fn dirty(pte: u64) -> bool {
        pte & 1 << 9 != 0
    }

    fn updates(mode: WalkMode) -> bool {
        mode.adue
    }
}

/// AArch64 stage 2, 4 KiB granule, with hardware management of AF and dirty state (Arm ARM, D8.3).
struct Stage2;

impl PageTable for Stage2 {
    const LEVELS: usize = 4;

    fn canonical(gpa: u64) -> bool {
        gpa >> 48 == 0
    }

    fn entry(pte: u64, level: usize, gpa: u64, _mode: WalkMode) -> Entry {
        match (pte & 3, level) {
            (3, 1..) => Entry::Table(pte & ADDRESS & !(0xf << 48)),
            (3, 0) | (1, 1 | 2) => {
                let modifiable = pte & 1 << 51 != 0;
                let (read, write) = (pte & 1 << 6 != 0, pte & 1 << 7 != 0 || modifiable);
                page(pte & ADDRESS & !(0xf << 48), level, gpa, [read, write, pte & 1 << 54 == 0])
            }
            _ => Entry::Invalid,
        }
    }

    fn touched(pte: u64, access: Access) -> u64 {
        pte | 1 << 10 | if access == Access::Store { 1 << 7 } else { 0 }
    }

    fn dirty(pte: u64) -> bool {
        pte & 1 << 7 != 0
    }

    fn updates(mode: WalkMode) -> bool {
        mode.adue
    }
}

fn page(base: u64, level: usize, gpa: u64, [read, write, exec]: [bool; 3]) -> Entry {
    let size = PAGE << (9 * level);
    if base & (size - 1) != 0 {
        return Entry::Invalid;
    }
    let gpa = base | gpa & (size - 1) & !(PAGE - 1);
    Entry::Leaf(Leaf { gpa, size, read, write, exec, user: false, global: false })
}

#[derive(Default)]
struct Tables(RefCell<HashMap<u64, u64>>);

impl PteMemory for Tables {
    fn load(&self, gpa: u64) -> Option<u64> {
        Some(self.0.borrow().get(&gpa).copied().unwrap_or(0))
    }

    fn cas(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let same = self.load(gpa)? == old;
        same.then(|| self.0.borrow_mut().insert(gpa, new));
        Some(same)
    }
}

/// Walks `va` through tables at 0, 0x1000, … of which `pointer` makes the upper entries.
fn translate<F: PageTable>(
    pointer: u64,
    level: usize,
    leaf: u64,
    access: Access,
) -> (Result<Leaf, WalkFault>, u64) {
    let (va, tables) = (0x12_3456_7000u64, Tables::default());
    let slot = |level: usize| (3 - level) as u64 * PAGE + (va >> (12 + 9 * level) & 511) * 8;
    for upper in level + 1..4 {
        tables.0.borrow_mut().insert(slot(upper), ((4 - upper) as u64 * PAGE) | pointer);
    }
    tables.0.borrow_mut().insert(slot(level), leaf);
    let mode = WalkMode { adue: true, ..WalkMode::default() };
    let got = walk_table::<F, _>(&tables, 0, va, access, mode, &mut WalkCache::new());
    let after = tables.0.borrow()[&slot(level)];
    (got, after)
}

#[test]
fn ept_maps_a_large_page_and_sets_its_dirty_bit() {
    let (got, after) = translate::<Ept>(7, 1, 0x4000_0000 | 1 << 7 | 7, Access::Store);
    let leaf = got.unwrap();
    assert_eq!((leaf.gpa, leaf.size, leaf.write), (0x4000_0000 + 0x16_7000, 2 << 20, true));
    assert_eq!(after & 0x300, 0x300);
}

#[test]
fn ept_refuses_write_only_entries_and_stores_to_read_only_ones() {
    assert_eq!(translate::<Ept>(7, 0, 0x4000_0000 | 2, Access::Store).0, Err(WalkFault::Page));
    assert_eq!(translate::<Ept>(7, 0, 0x4000_0000 | 5, Access::Store).0, Err(WalkFault::Page));
}

#[test]
fn stage_2_grants_a_store_by_its_dirty_bit_modifier() {
    let clean = 0x4000_0000 | 1 << 51 | 1 << 6 | 3;
    let (got, after) = translate::<Stage2>(3, 0, clean, Access::Load);
    assert_eq!((got.unwrap().write, after), (false, clean | 1 << 10));
    let (got, after) = translate::<Stage2>(3, 0, clean, Access::Store);
    assert_eq!((got.unwrap().write, after), (true, clean | 1 << 10 | 1 << 7));
    assert_eq!(translate::<Stage2>(3, 0, 0x4000_0000 | 1 << 6 | 3, Access::Store).0, Err(WalkFault::Page));
}

#[test]
fn stage_2_has_no_block_of_512_gib() {
    assert_eq!(translate::<Stage2>(3, 3, 1 << 6 | 1, Access::Load).0, Err(WalkFault::Page));
    assert!(translate::<Stage2>(3, 2, 1 << 6 | 1, Access::Load).0.is_ok());
}
