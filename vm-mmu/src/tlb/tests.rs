//! What cannot be reached from outside within a test's time: ids running out.

use std::sync::Arc;

use super::*;
use crate::{Backend, Perm};

#[test]
fn when_ids_run_out_nothing_old_is_hit() {
    let memory = Arc::new(AddressSpace::new(0x8000_0000..0x8001_0000).unwrap());
    memory.map(0x8000_0000..0x8001_0000, Backend::Linear { huge: false }, Perm::RWX).unwrap();
    let mut tlb = SoftTlb::new(memory);
    tlb.switch(8 << 60 | 1, false);
    let leaf = Leaf::bare(0x8000_3000);
    tlb.fill(Class::S, 0x1000, &leaf, Access::Load).unwrap();
    let first = tlb.id(Class::S);
    tlb.fill(Class::M, 0x8000_3000, &leaf, Access::Load).unwrap();
    let epoch = tlb.epoch();

    tlb.spaces.exhaust();
    tlb.switch(8 << 60 | 2, false);
    assert_eq!(tlb.epoch(), epoch + 1);
    let heir = (3..100).find(|&satp| {
        tlb.switch(8 << 60 | satp, false);
        tlb.id(Class::S) == first || tlb.id(Class::U) == first
    });
    assert!(heir.is_some(), "numbers begin again");
    assert_eq!(tlb.read::<u8>(Class::S, 0x1000), None);
    assert_eq!(tlb.read::<u8>(Class::M, 0x8000_3000), None);
}

#[test]
fn two_address_spaces_in_one_slot_both_keep_their_ids() {
    let mut spaces = Spaces::new();
    let key = |satp: u64| Key { satp: 8 << 60 | satp, mxr: false };
    let home = key(1).slot();
    let rival = (2..10_000).map(key).find(|k| k.slot() == home).unwrap();
    let ids = [spaces.ids(key(1)), spaces.ids(rival)];
    for _ in 0..3 {
        assert_eq!([spaces.ids(key(1)), spaces.ids(rival)], ids);
    }
    for id in ids.map(|ids| ids.unwrap().own) {
        assert!(spaces.of_asid(None).any(|living| living == (Class::U, id)), "{id} would outlive a fence");
        assert!(!spaces.of_asid(Some(1)).any(|living| living.1 == id));
    }
    spaces.kill_all();
    assert_eq!(spaces.of_asid(None).count(), 0);
    assert!(![spaces.ids(key(1)), spaces.ids(rival)].iter().any(|id| ids.contains(id)));
}

#[test]
fn when_stamps_run_out_it_is_told_once() {
    let memory = Arc::new(AddressSpace::new(0x8000_0000..0x8001_0000).unwrap());
    let mut tlb = SoftTlb::new(memory);
    let first = tlb.stamp(Class::M);
    assert!(!tlb.stamps_wrapped());
    tlb.stamps.exhaust();
    tlb.reset();
    assert_eq!(tlb.stamp(Class::M), first, "numbers begin again");
    assert!(tlb.stamps_wrapped());
    assert!(!tlb.stamps_wrapped());
}
