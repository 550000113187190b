//! What cannot be reached from outside within a test's time: ids running out.

use std::sync::Arc;

use super::*;
use crate::{Backend, Perm};

#[test]
fn when_ids_run_out_nothing_old_is_hit() {
    let memory = Arc::new(AddressSpace::new(0x8000_0000..0x8001_0000).unwrap());
    memory.map(0x8000_0000..0x8001_0000, Backend::Linear { huge: false }, Perm::RWX).unwrap();
    let mut tlb = SoftTlb::new(memory);
    let first = tlb.switch(8 << 60 | 1, false);
    let leaf = Leaf::bare(0x8000_3000);
    tlb.fill(Class::S, 0x1000, &leaf, Access::Load).unwrap();
    tlb.fill(Class::M, 0x8000_3000, &leaf, Access::Load).unwrap();
    let epoch = tlb.epoch();

    tlb.spaces.exhaust();
    tlb.switch(8 << 60 | 2, false);
    assert_eq!(tlb.epoch(), epoch + 1);
    let heir = (3..100).find(|&satp| tlb.switch(8 << 60 | satp, false) == first);
    assert!(heir.is_some(), "numbers begin again");
    assert_eq!(tlb.read::<u8>(Class::S, 0x1000), None);
    assert_eq!(tlb.read::<u8>(Class::M, 0x8000_3000), None);
}
