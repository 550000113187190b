//! The soft-TLB: what each fence kills and what it leaves, and how accesses hit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use vm_mmu::{Access, AddressSpace, Backend, Class, Leaf, PAGE, Perm, Scheme, SoftTlb, WalkMode, walk};

pub const RAM: u64 = 0x8000_0000;
pub const PAGES: u64 = 64;
const ROM: u64 = RAM + PAGES * PAGE;

/// RAM and one page of ROM; each page begins with its own address.
pub fn memory() -> Arc<AddressSpace> {
    let memory = AddressSpace::new(RAM..ROM + 2 * PAGE).unwrap();
    memory.map(RAM..ROM, Backend::Linear { huge: false }, Perm::RWX).unwrap();
    memory.map(ROM..ROM + PAGE, Backend::Linear { huge: false }, Perm::RX).unwrap();
    (RAM..ROM).step_by(PAGE as usize).for_each(|page| memory.write_u64(page, page).unwrap());
    Arc::new(memory)
}

/// An Sv39 `satp`.
pub fn satp(asid: u64, ppn: u64) -> u64 {
    8 << 60 | asid << 44 | ppn
}

fn leaf(gpa: u64) -> Leaf {
    Leaf::bare(gpa)
}

fn large(gpa: u64, size: u64) -> Leaf {
    Leaf { size, ..leaf(gpa) }
}

fn user(gpa: u64) -> Leaf {
    Leaf { user: true, exec: false, ..leaf(gpa) }
}

fn filled(va: u64, gpa: u64) -> SoftTlb {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    tlb.fill(Class::S, va, &leaf(gpa), Access::Load).unwrap();
    tlb
}

fn hits(tlb: &SoftTlb, va: u64) -> bool {
    tlb.read::<u8>(Class::S, va).is_some()
}

#[test]
fn words_of_a_page_hit_and_words_that_leave_it_miss() {
    let tlb = filled(0x5000, RAM + PAGE);
    assert_eq!(tlb.read::<u64>(Class::S, 0x5000), Some(RAM + PAGE));
    assert_eq!(tlb.read::<u32>(Class::S, 0x5ffc), Some(0));
    assert_eq!(tlb.write(Class::S, 0x5ff7, 0x1122_3344_5566_7788u64), Some(()), "misaligned, but inside");
    assert_eq!(tlb.read::<u64>(Class::S, 0x5ff7), Some(0x1122_3344_5566_7788));
    assert_eq!(tlb.memory().read_u64(RAM + PAGE + 0xff7).unwrap(), 0x1122_3344_5566_7788);
    for va in [0x5ff9, 0x5fff] {
        assert_eq!(tlb.read::<u64>(Class::S, va), None);
        assert_eq!(tlb.write(Class::S, va, 0u64), None);
    }
    assert_eq!(tlb.read::<u16>(Class::S, 0x4fff), None);
    assert_eq!(tlb.fetch::<u16>(Class::S, 0x5002), Some((RAM >> 16) as u16));
    assert_eq!(tlb.translate(Class::S, 0x5678, Access::Fetch), Some(RAM + PAGE + 0x678));
}

#[test]
fn each_permission_has_its_own_tag() {
    let mut tlb = SoftTlb::new(memory());
    for bits in 0..8 {
        let granted = Leaf { read: bits & 1 != 0, write: bits & 2 != 0, exec: bits & 4 != 0, ..leaf(RAM) };
        tlb.fill(Class::U, 0x1000, &granted, Access::Load).unwrap();
        assert_eq!(tlb.read::<u8>(Class::U, 0x1000).is_some(), granted.read);
        assert_eq!(tlb.write(Class::U, 0x1800, 0u8).is_some(), granted.write);
        assert_eq!(tlb.fetch::<u16>(Class::U, 0x1000).is_some(), granted.exec);
    }
}

#[test]
fn classes_do_not_share_entries() {
    let tlb = filled(0x5000, RAM);
    assert_eq!(tlb.read::<u8>(Class::U, 0x5000), None);
    assert_eq!(tlb.read::<u8>(Class::M, 0x5000), None);
}

#[test]
fn what_is_not_ram_is_not_cached_and_rom_is_never_stored_to() {
    let mut tlb = SoftTlb::new(memory());
    for gpa in [0x1000_0000, ROM + PAGE, !(PAGE - 1)] {
        assert_eq!(tlb.fill(Class::M, gpa, &leaf(gpa), Access::Load), None, "{gpa:#x}");
        assert_eq!(tlb.read::<u8>(Class::M, gpa), None);
    }
    assert_eq!(tlb.fill(Class::M, ROM, &leaf(ROM), Access::Store).unwrap().perm, Perm::RX);
    assert_eq!(tlb.write(Class::M, ROM, 1u8), None);
    assert_eq!(tlb.lookup_code_write(Class::M, ROM, 1), None);
    assert!(tlb.fetch::<u32>(Class::M, ROM).is_some());
}

#[test]
fn coming_back_to_an_address_space_finds_its_entries() {
    let mut tlb = filled(0x5000, RAM);
    tlb.switch(satp(2, 9), false);
    assert!(!hits(&tlb, 0x5000));
    tlb.switch(satp(1, 1), true);
    assert!(!hits(&tlb, 0x5000), "MXR changes what a load may do");
    tlb.switch(satp(1, 1), false);
    assert!(hits(&tlb, 0x5000));
    assert_eq!(tlb.stats().fills, 1);
}

/// Pages whose entries lie on each other or differ by what tells ids apart.
fn rivals() -> Vec<u64> {
    let near = [0, 1, 2, 2047, 2048, 2049, 4096, 8191, 8192, 8193, 10_240];
    near.into_iter().flat_map(|n| [n * PAGE, (n * PAGE).wrapping_neg(), 0x5_5000_0000 + n * PAGE]).collect()
}

#[test]
fn an_entry_is_hit_by_its_page_in_its_address_space_only() {
    let (mut tlb, pages) = (SoftTlb::new(memory()), rivals());
    let mut seed = 1u64;
    let mut random = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % most
    };
    let mut known = HashMap::<(u64, Class, u64), Leaf>::new();
    let (mut space, mut hits) = (0u64, 0);
    // Thrice as many ids as lanes can tell apart.
    for _ in 0..60_000 {
        match random(40) {
            0..4 => {
                tlb.flush_all();
                known.clear();
            }
            4 => {
                tlb.flush_asid(1);
                known.retain(|&(space, ..), _| space != 1);
            }
            5 => {
                let page = pages[random(pages.len())];
                tlb.flush_page(page, None);
                known.retain(|&(_, _, va), _| va != page);
            }
            6..16 => space = random(5) as u64,
            _ => {
                let (class, page) = ([Class::U, Class::S][random(2)], pages[random(pages.len())]);
                let gpa = RAM + random(PAGES as usize) as u64 * PAGE;
                let granted = Leaf { read: random(4) != 0, ..leaf(gpa) };
                tlb.switch(satp(space, 1), false);
                tlb.fill(class, page, &granted, Access::Load).unwrap();
                known.insert((space, class, page), granted);
            }
        }
        tlb.switch(satp(space, 1), false);
        for class in [Class::U, Class::S] {
            for page in [&pages[..], &[1 << 23, 1 << 63, 1 << 39, !0 << 12]].concat() {
                let (read, known) = (tlb.read::<u64>(class, page), known.get(&(space, class, page)));
                let right = known.filter(|leaf| leaf.read).map(|leaf| leaf.gpa);
                assert!(read.is_none() || read == right, "{class:?} {page:#x}: {read:x?}, not {right:x?}");
                let fetched = tlb.translate(class, page, Access::Fetch);
                assert!(fetched.is_none() || fetched == known.map(|leaf| leaf.gpa), "{class:?} {page:#x}");
                hits += usize::from(read.is_some());
            }
        }
    }
    assert!(hits > 60_000, "{hits}");
}

#[test]
fn what_was_never_filled_misses_under_every_id() {
    let mut tlb = SoftTlb::new(memory());
    for n in 0..5000 {
        tlb.switch(satp(n % 3, 1), false);
        tlb.flush_all();
        for (class, page) in
            [Class::U, Class::S, Class::M].iter().flat_map(|&c| rivals().into_iter().map(move |p| (c, p)))
        {
            assert_eq!(tlb.read::<u8>(class, page), None, "{class:?} {page:#x}");
            assert_eq!(tlb.write(class, page, 0u8), None);
            assert_eq!(tlb.fetch::<u8>(class, page), None);
        }
    }
}

#[test]
fn a_fence_for_everything_kills_u_and_s_in_every_address_space() {
    let mut tlb = filled(0x5000, RAM);
    tlb.fill(Class::U, 0x6000, &leaf(RAM), Access::Load).unwrap();
    tlb.fill(Class::M, RAM, &leaf(RAM), Access::Load).unwrap();
    tlb.switch(satp(2, 2), false);
    tlb.flush_all();
    tlb.switch(satp(1, 1), false);
    assert!(!hits(&tlb, 0x5000));
    assert_eq!(tlb.read::<u8>(Class::U, 0x6000), None);
    assert!(tlb.read::<u8>(Class::M, RAM).is_some(), "M is not translated");
    tlb.reset();
    assert_eq!(tlb.read::<u8>(Class::M, RAM), None);
}

#[test]
fn a_fence_by_asid_leaves_other_asids() {
    let mut tlb = filled(0x5000, RAM);
    tlb.switch(satp(2, 1), false);
    tlb.fill(Class::S, 0x6000, &leaf(RAM), Access::Load).unwrap();
    tlb.switch(satp(1, 2), false);
    tlb.fill(Class::S, 0x7000, &leaf(RAM), Access::Load).unwrap();
    tlb.flush_asid(1);
    assert!(!hits(&tlb, 0x7000));
    tlb.switch(satp(1, 1), false);
    assert!(!hits(&tlb, 0x5000));
    tlb.switch(satp(2, 1), false);
    assert!(hits(&tlb, 0x6000));
}

#[test]
fn a_fence_by_address_kills_one_page() {
    let mut tlb = filled(0x5000, RAM);
    tlb.fill(Class::S, 0x6000, &leaf(RAM), Access::Load).unwrap();
    tlb.fill(Class::U, 0x5000, &leaf(RAM), Access::Load).unwrap();
    tlb.flush_page(0x5abc, None);
    assert!(!hits(&tlb, 0x5000) && hits(&tlb, 0x6000));
    assert_eq!(tlb.read::<u8>(Class::U, 0x5000), None);
    assert_eq!(tlb.stats().large_steps, 0);
}

#[test]
fn a_fence_by_address_kills_it_in_address_spaces_that_are_not_current() {
    let mut tlb = filled(0x5000, RAM);
    tlb.switch(satp(2, 2), false);
    tlb.flush_page(0x5000, None);
    tlb.switch(satp(1, 1), false);
    assert!(!hits(&tlb, 0x5000));
}

#[test]
fn a_fence_by_address_kills_every_piece_of_a_large_page() {
    for size in [64 << 10, 2 << 20, 1 << 30, 512 << 30, 256 << 40] {
        let mut tlb = filled(0x1_0000_5000, RAM);
        for at in [0, 3, 15] {
            tlb.fill(Class::S, at * PAGE, &large(RAM + at * PAGE, size), Access::Load).unwrap();
        }
        tlb.flush_page(7 * PAGE, None);
        assert!([0, 3, 15].iter().all(|at| !hits(&tlb, at * PAGE)), "{size:#x}");
        tlb.flush_page(7 * PAGE, None);
        assert_eq!(tlb.stats().large_steps, 1, "the filter is empty again");
    }
}

#[test]
fn fences_by_address_are_cheap_beside_a_kernel_in_large_pages() {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    let linear_map = 0xffff_ffd8_0000_0000u64;
    for at in 0..512 {
        tlb.fill(Class::S, linear_map + (at << 21), &large(RAM, 2 << 20), Access::Load).unwrap();
    }
    (0..2000).for_each(|page| tlb.flush_page(0x3f_0000_0000 + page * 0x20_3000, None));
    let steps = tlb.stats().large_steps;
    assert!(steps < 40, "{steps} of 2000 fences by address cost everything");
}

#[test]
fn a_fence_for_a_large_page_by_asid_leaves_other_asids() {
    let mut tlb = filled(0x5000, RAM);
    tlb.switch(satp(2, 2), false);
    tlb.fill(Class::S, 0x20_0000, &large(RAM, 2 << 20), Access::Load).unwrap();
    tlb.flush_page(0x20_7000, Some(2));
    assert!(!hits(&tlb, 0x20_0000));
    tlb.switch(satp(1, 1), false);
    assert!(hits(&tlb, 0x5000));
}

#[test]
fn fences_drop_the_upper_levels_too() {
    let memory = memory();
    let root = Scheme::root_of_satp(satp(1, RAM / PAGE));
    let pointer = |table: u64| table >> 2 | 1;
    let map = |table: u64| {
        memory.write_u64(RAM, pointer(RAM + PAGE)).unwrap();
        memory.write_u64(RAM + PAGE, pointer(table)).unwrap();
        memory.write_u64(table + 5 * 8, table >> 2 | 0xcf).unwrap();
    };
    let mut tlb = SoftTlb::new(memory.clone());
    tlb.switch(satp(1, RAM / PAGE), false);
    let mut frame = |fence: &dyn Fn(&mut SoftTlb)| {
        fence(&mut tlb);
        walk(&*memory, Scheme::Sv39, root, 0x5000, Access::Load, WalkMode::default(), tlb.walk_cache())
            .unwrap()
            .gpa
    };
    let (first, second) = (RAM + 2 * PAGE, RAM + 3 * PAGE);
    let fences: [&dyn Fn(&mut SoftTlb); 4] =
        [&|tlb| tlb.flush_all(), &|tlb| tlb.flush_asid(1), &|tlb| tlb.flush_page(0x5000, None), &|tlb| {
            tlb.reset()
        }];
    for fence in fences {
        map(first);
        assert_eq!(frame(fence), first);
        map(second);
        assert_eq!(frame(&|_| ()), first, "no fence, so the old table may be used");
        assert_eq!(frame(fence), second);
    }
}

#[test]
fn clearing_sum_kills_user_pages_of_s_and_nothing_else() {
    for users in [3, 100] {
        let mut tlb = filled(0x3f_f000, RAM);
        tlb.fill(Class::U, 0x40_0000, &user(RAM), Access::Load).unwrap();
        for page in 0..users {
            tlb.fill(Class::S, 0x40_0000 + page * PAGE, &user(RAM), Access::Load).unwrap();
        }
        tlb.sum_cleared();
        assert!((0..users).all(|page| !hits(&tlb, 0x40_0000 + page * PAGE)), "{users} user pages");
        assert!(hits(&tlb, 0x3f_f000));
        assert!(tlb.read::<u8>(Class::U, 0x40_0000).is_some());
        assert_eq!(tlb.stats().sum_kills, users);
    }
}

#[test]
fn s_borrows_what_u_may_do_but_never_fetches_it() {
    let mut tlb = filled(0x5000, RAM);
    let page = Leaf { write: false, exec: true, ..user(RAM + PAGE) };
    tlb.fill(Class::U, 0x40_0000, &page, Access::Load).unwrap();
    assert!(!tlb.borrow_user(0x40_0000, Access::Store));
    assert!(!tlb.borrow_user(0x41_0000, Access::Load));
    assert!(tlb.borrow_user(0x40_0008, Access::Load));
    assert_eq!(tlb.read::<u64>(Class::S, 0x40_0000), Some(RAM + PAGE));
    assert_eq!(tlb.fetch::<u16>(Class::S, 0x40_0000), None);
    assert_eq!(tlb.write(Class::S, 0x40_0000, 0u8), None);
    tlb.sum_cleared();
    assert!(!hits(&tlb, 0x40_0000));
}

#[test]
fn a_page_that_comes_to_hold_code_loses_its_stores_under_every_address() {
    let mut tlb = filled(0x5000, RAM + PAGE);
    tlb.fill(Class::U, 0x9000, &leaf(RAM + PAGE), Access::Store).unwrap();
    tlb.fill(Class::S, 0x6000, &leaf(RAM), Access::Store).unwrap();
    assert_eq!(tlb.memory().tracker().add_code(RAM + PAGE, 2), 0);
    tlb.revoke_write(RAM + PAGE);
    assert_eq!(tlb.stats().revokes, 2);
    assert_eq!((tlb.write(Class::S, 0x5000, 0u8), tlb.write(Class::U, 0x9000, 0u8)), (None, None));
    assert_eq!(tlb.write(Class::S, 0x6000, 0u8), Some(()));
    assert_eq!(tlb.lookup_code_write(Class::S, 0x5044, 4), Some(RAM + PAGE + 0x44));
    assert_eq!(tlb.lookup_code_write(Class::U, 0x9ffe, 4), None, "leaves the page");
    assert_eq!(tlb.lookup_code_write(Class::S, 0x6000, 4), None, "hits anyway");
    assert!(hits(&tlb, 0x5000));
}

#[test]
fn a_fill_of_a_code_page_grants_no_store_until_the_code_is_gone() {
    let mut tlb = SoftTlb::new(memory());
    let memory = tlb.memory().clone();
    memory.tracker().add_code(RAM, 1);
    assert!(tlb.fill(Class::M, RAM, &leaf(RAM), Access::Store).unwrap().code);
    assert_eq!(tlb.write(Class::M, RAM + 64, 0u8), None);
    assert_eq!(tlb.lookup_code_write(Class::M, RAM + 64, 1), Some(RAM + 64));
    memory.write_u64(RAM, 0).unwrap();
    assert_eq!(tlb.lookup_code_write(Class::M, RAM + 64, 1), None, "time to fill again");
    tlb.fill(Class::M, RAM, &leaf(RAM), Access::Store).unwrap();
    assert_eq!(tlb.write(Class::M, RAM + 64, 0u8), Some(()));
}

#[test]
fn a_dead_entry_of_a_code_page_is_no_code_hit() {
    let mut tlb = filled(0x5000, RAM);
    tlb.memory().tracker().add_code(RAM, 1);
    tlb.revoke_write(RAM);
    tlb.flush_all();
    assert_eq!(tlb.lookup_code_write(Class::S, 0x5000, 1), None);
}

/// A page that holds code, and that stores hit which look for it afterwards.
fn shared(va: u64, gpa: u64) -> SoftTlb {
    let mut tlb = filled(va, gpa);
    assert_eq!(tlb.memory().tracker().add_code(gpa, 1), 0);
    tlb.share(Class::S, va);
    assert_eq!(tlb.addend_beside(Class::S, va), tlb.addend(Class::S, va, Access::Store), "still writable");
    tlb.revoke_write(gpa);
    assert_eq!(tlb.addend_beside(Class::S, va), None, "not asked for");
    tlb.share(Class::S, va);
    tlb
}

#[test]
fn a_shared_page_is_hit_by_stores_that_look_for_code_and_by_no_others() {
    let mut tlb = shared(0x5000, RAM);
    let addend = tlb.addend(Class::S, 0x5000, Access::Load);
    assert!(addend.is_some());
    assert_eq!(tlb.addend_beside(Class::S, 0x5ff8), addend);
    assert_eq!(tlb.lend_beside(Class::S, 0x5010), addend.map(|addend| (0x5000, addend)));
    assert_eq!(tlb.write(Class::S, 0x5100, 0u8), None);
    assert_eq!(tlb.addend(Class::S, 0x5000, Access::Store), None);
    assert_eq!(tlb.lend(Class::S, 0x5000, Access::Store), None);
    assert_eq!(tlb.lookup_code_write(Class::S, 0x5100, 1), Some(RAM + 0x100), "others come to the slow path");
}

#[test]
fn what_takes_stores_away_takes_a_shared_page_too() {
    type End<'a> = (&'a str, &'a dyn Fn(&mut SoftTlb));
    let ends: [End; 5] = [
        ("its page comes to hold code again", &|tlb| tlb.revoke_write(RAM)),
        ("a round of the dirty log begins", &|tlb| tlb.revoke_write_all()),
        ("a fence of its page", &|tlb| tlb.flush_page(0x5000, None)),
        ("a fence of everything", &|tlb| tlb.flush_all()),
        ("a fill that makes it read-only", &|tlb| {
            tlb.fill(Class::S, 0x5000, &Leaf { write: false, ..leaf(RAM) }, Access::Load).unwrap();
            tlb.share(Class::S, 0x5000);
        }),
    ];
    for (what, end) in ends {
        let mut tlb = shared(0x5000, RAM);
        assert!(tlb.lend_beside(Class::S, 0x5000).is_some());
        let stamp = tlb.stamp(Class::S);
        end(&mut tlb);
        assert_eq!(tlb.lend_beside(Class::S, 0x5000), None, "{what}");
        if !what.starts_with("a fill") {
            assert_ne!(tlb.stamp(Class::S), stamp, "{what}: copies stay");
        }
    }
}

#[test]
fn a_page_that_is_shared_is_dirty() {
    let mut tlb = filled(0x5000, RAM);
    let tracker = tlb.memory().tracker().clone();
    tracker.add_code(RAM, 1);
    tracker.start_dirty_log();
    tlb.revoke_write_all();
    tlb.fill(Class::S, 0x5000, &leaf(RAM), Access::Load).unwrap();
    assert!(!tracker.is_dirty(RAM));
    tlb.share(Class::S, 0x5000);
    assert!(tlb.addend_beside(Class::S, 0x5000).is_some() && tracker.is_dirty(RAM));
}

#[test]
fn the_dirty_log_sees_the_first_store_to_each_page() {
    let mut tlb = filled(0x5000, RAM);
    let tracker = tlb.memory().tracker().clone();
    tracker.start_dirty_log();
    tlb.revoke_write_all();
    assert_eq!(tlb.write(Class::S, 0x5000, 0u8), None);
    tlb.fill(Class::S, 0x5000, &leaf(RAM), Access::Load).unwrap();
    assert_eq!(tlb.write(Class::S, 0x5000, 0u8), None, "a load must not open the page to unseen stores");
    assert_eq!(tracker.take_dirty().count(), 0);
    tlb.fill(Class::S, 0x5000, &leaf(RAM), Access::Store).unwrap();
    assert_eq!(tlb.write(Class::S, 0x5000, 0u8), Some(()));
    assert_eq!(tracker.take_dirty().iter().collect::<Vec<_>>(), [RAM]);
}

#[test]
fn atomics_need_alignment_and_both_permissions() {
    let mut tlb = filled(0x5000, RAM);
    assert!(tlb.atomic::<AtomicU32>(Class::S, 0x5004).is_some());
    assert!(tlb.atomic::<AtomicU64>(Class::S, 0x5ff8).is_some());
    for va in [0x5004, 0x5ffc, 0x6000] {
        assert!(tlb.atomic::<AtomicU64>(Class::S, va).is_none(), "{va:#x}");
    }
    assert_eq!(tlb.cas_pair(Class::S, 0x5010, 0, 1u128 << 64 | 2), Some(0));
    assert_eq!((tlb.read(Class::S, 0x5010), tlb.read(Class::S, 0x5018)), (Some(2u64), Some(1u64)));
    assert_eq!(tlb.cas_pair(Class::S, 0x5018, 0, 0), None);
    tlb.fill(Class::S, 0x5000, &Leaf { read: false, ..leaf(RAM) }, Access::Store).unwrap();
    assert!(tlb.atomic::<AtomicU32>(Class::S, 0x5000).is_none());
    tlb.fill(Class::S, 0x5000, &Leaf { write: false, ..leaf(RAM) }, Access::Load).unwrap();
    assert!(tlb.atomic::<AtomicU32>(Class::S, 0x5000).is_none());
}

#[test]
fn harts_add_to_one_word_without_loss() {
    let memory = memory();
    let adder = |memory: Arc<AddressSpace>| {
        let mut tlb = SoftTlb::new(memory);
        tlb.fill(Class::M, RAM, &leaf(RAM), Access::Store).unwrap();
        for _ in 0..10_000 {
            tlb.atomic::<AtomicU64>(Class::M, RAM + 8).unwrap().fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        (0..3).for_each(|_| {
            let memory = memory.clone();
            scope.spawn(move || adder(memory));
        });
    });
    assert_eq!(memory.read_u64(RAM + 8).unwrap(), 30_000);
}

#[test]
fn a_stale_entry_of_unmapped_memory_reads_zeros() {
    let memory = memory();
    let mut tlb = SoftTlb::new(memory.clone());
    tlb.fill(Class::M, RAM, &leaf(RAM), Access::Store).unwrap();
    memory.unmap(RAM..RAM + PAGE).unwrap();
    assert_eq!(tlb.read::<u64>(Class::M, RAM), Some(0));
    assert_eq!(tlb.write(Class::M, RAM, 1u8), Some(()));
    assert!(memory.read_u64(RAM).is_err());
    memory.map(RAM..RAM + PAGE, Backend::Lazy, Perm::RWX).unwrap();
    assert_eq!(memory.read_u64(RAM).unwrap(), 0, "what went to nowhere does not come back");
}

#[test]
fn a_stamp_comes_back_with_its_address_space() {
    let mut tlb = filled(0x5000, RAM);
    let first = tlb.stamp(Class::S);
    assert_ne!(first, tlb.stamp(Class::U), "classes differ");
    tlb.switch(satp(2, 2), false);
    let second = tlb.stamp(Class::S);
    assert_ne!(first, second);
    tlb.switch(satp(1, 1), false);
    assert_eq!(tlb.stamp(Class::S), first);
    assert_eq!(tlb.stamp(Class::S), first, "asking changes nothing");
    tlb.flush_all();
    assert!(![first, second].contains(&tlb.stamp(Class::S)));
}

#[test]
fn what_ends_a_lent_entry_ends_the_stamp() {
    type End = fn(&mut SoftTlb);
    let ends: [(&str, End); 7] = [
        ("its page is fenced", |tlb| tlb.flush_page(0x5000, None)),
        ("its page is fenced under its ASID", |tlb| tlb.flush_page(0x5008, Some(1))),
        ("its page is fenced after it made room for another", |tlb| {
            tlb.fill(Class::S, 0x5000 + (1 << 22), &leaf(RAM), Access::Load).unwrap();
            tlb.flush_page(0x5000, None);
        }),
        ("its page is fenced after it made room and came back", |tlb| {
            tlb.fill(Class::S, 0x5000 + (1 << 22), &leaf(RAM), Access::Load).unwrap();
            tlb.fill(Class::S, 0x5000, &leaf(RAM), Access::Load).unwrap();
            tlb.flush_page(0x5000, None);
        }),
        ("its page is fenced after it was filled again", |tlb| {
            tlb.fill(Class::S, 0x5000, &leaf(RAM), Access::Store).unwrap();
            tlb.flush_page(0x5000, None);
        }),
        ("its page comes to hold code", |tlb| tlb.revoke_write(RAM)),
        ("a round of the dirty log begins", |tlb| tlb.revoke_write_all()),
    ];
    for (what, end) in ends {
        let mut tlb = filled(0x5000, RAM);
        let stamp = tlb.stamp(Class::S);
        assert!(tlb.lend(Class::S, 0x5010, Access::Store).is_some());
        assert_eq!(tlb.stamp(Class::S), stamp, "lending changes nothing");
        end(&mut tlb);
        assert_ne!(tlb.stamp(Class::S), stamp, "{what}");
    }
}

#[test]
fn a_page_stays_when_data_is_forgotten_and_only_that_one_stays_again() {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    tlb.note_fills();
    let store_to = |tlb: &mut SoftTlb, page: u64| {
        tlb.fill(Class::S, 0x5000 + page * PAGE, &leaf(RAM + page * PAGE), Access::Store).unwrap();
    };
    store_to(&mut tlb, 0);
    assert_eq!(tlb.forget_data(Class::S, true), None, "the first time was none yet");
    store_to(&mut tlb, 0);
    store_to(&mut tlb, 1);
    assert_eq!(tlb.forget_data(Class::S, false), Some(RAM + PAGE), "the last that was stored to");
    assert!(hits(&tlb, 0x6000) && !hits(&tlb, 0x5000));
    store_to(&mut tlb, 0);
    assert_eq!(tlb.forget_data(Class::S, true), Some(RAM + PAGE), "not what was translated since");
    assert!(hits(&tlb, 0x6000) && !hits(&tlb, 0x5000));
    store_to(&mut tlb, 1);
    assert_eq!(tlb.forget_data(Class::S, true), None, "it was translated anew itself");
    assert!(!hits(&tlb, 0x6000));
}

#[test]
fn fencing_a_page_that_was_not_lent_keeps_the_stamp() {
    let mut tlb = filled(0x5000, RAM);
    tlb.fill(Class::S, 0x6000, &leaf(RAM + PAGE), Access::Load).unwrap();
    let stamp = tlb.stamp(Class::S);
    assert!(tlb.lend(Class::S, 0x6000, Access::Load).is_some());
    tlb.flush_page(0x5000, None);
    tlb.flush_page(0x7000, None);
    assert_eq!(tlb.stamp(Class::S), stamp);
}

#[test]
fn a_user_page_of_the_supervisor_is_not_lent() {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    tlb.fill(Class::S, 0x5000, &user(RAM), Access::Load).unwrap();
    assert!(hits(&tlb, 0x5000));
    assert_eq!(tlb.lend(Class::S, 0x5000, Access::Load), None);
    assert_eq!(tlb.any(Class::S, Access::Load), None);
    tlb.fill(Class::S, 0x6000, &leaf(RAM + PAGE), Access::Load).unwrap();
    let addend = tlb.addend(Class::S, 0x6000, Access::Store).unwrap();
    assert_eq!(tlb.any(Class::S, Access::Store), Some((0x6000, addend)));
    tlb.revoke_write(RAM + PAGE);
    assert_eq!(tlb.any(Class::S, Access::Store), None);
    assert_eq!(tlb.any(Class::S, Access::Load), Some((0x6000, addend)));
}

#[test]
fn global_pages_of_the_supervisor_outlive_a_switch_and_fences_by_asid() {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    tlb.fill(Class::S, 0x6000, &Leaf { global: true, ..leaf(RAM) }, Access::Load).unwrap();
    tlb.switch(satp(2, 2), false);
    assert!(hits(&tlb, 0x6000));
    tlb.flush_asid(2);
    assert!(hits(&tlb, 0x6000));
    tlb.flush_all();
    assert!(!hits(&tlb, 0x6000));
}

#[test]
fn a_page_of_the_supervisor_alone_is_seen_in_its_address_space_only() {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    tlb.fill(Class::S, 0x6000, &leaf(RAM), Access::Load).unwrap();
    tlb.switch(satp(2, 2), false);
    assert!(!hits(&tlb, 0x6000));
    tlb.switch(satp(1, 1), false);
    assert!(hits(&tlb, 0x6000));
}

#[test]
fn a_user_page_that_the_supervisor_sees_is_gone_with_its_address_space() {
    let mut tlb = SoftTlb::new(memory());
    tlb.switch(satp(1, 1), false);
    tlb.fill(Class::S, 0x6000, &user(RAM), Access::Load).unwrap();
    assert!(hits(&tlb, 0x6000));
    tlb.switch(satp(2, 2), false);
    assert!(!hits(&tlb, 0x6000));
    tlb.switch(satp(1, 1), false);
    assert!(!hits(&tlb, 0x6000), "SUM is asked for anew");
}
