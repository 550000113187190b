//! The manual's tables and examples, and a model that looks at one byte at a time.

use proptest::prelude::*;

use super::*;

const R: u64 = 1;
const RW: u64 = 3;
const RWX: u64 = 7;
const TOR: u64 = 1 << 3;
const NA4: u64 = 2 << 3;
const NAPOT: u64 = 3 << 3;
const L: u64 = 1 << 7;

const MODES: [Priv; 3] = [Priv::User, Priv::Supervisor, Priv::Machine];
const ACCESSES: [Access; 3] = [Access::Fetch, Access::Load, Access::Store];

/// 16 entries, the first ones set to these (configuration byte, address register).
fn with(entries: &[(u64, u64)]) -> Pmp {
    let mut pmp = Pmp::new(16);
    for (i, &(_, addr)) in entries.iter().enumerate() {
        pmp.write_addr(i, addr);
    }
    for (word, chunk) in entries.chunks(8).enumerate() {
        pmp.write_cfg(word, chunk.iter().rev().fold(0, |cfg, &(byte, _)| cfg << 8 | byte));
    }
    pmp
}

fn loads(pmp: &Pmp, gpa: u64, len: u64) -> bool {
    pmp.check(gpa, len, Access::Load, Priv::Supervisor)
}

#[test]
fn each_address_mode_matches_its_range_and_not_a_byte_more() {
    for (entries, lo, hi) in [
        (&[(NA4 | R, 0x1000 >> 2)][..], 0x1000, 0x1004),
        (&[(NAPOT | R, 0x1000 >> 2)], 0x1000, 0x1008),
        (&[(NAPOT | R, 0x1000 >> 2 | 1)], 0x1000, 0x1010),
        (&[(NAPOT | R, 0x8000_0000 >> 2 | 0x1ff)], 0x8000_0000, 0x8000_1000),
        (&[(TOR | R, 0x2000 >> 2)], 0, 0x2000),
        (&[(0, 0x1000 >> 2), (TOR | R, 0x1800 >> 2)], 0x1000, 0x1800),
        (&[(NA4, 0x1ffc >> 2), (TOR | R, 0x2004 >> 2)], 0x2000, 0x2004),
        (&[(NAPOT | R, u64::MAX)], 0, 1 << 57),
        (&[(NAPOT | R, (1 << 53) - 1)], 0, 1 << 56),
        (&[(NAPOT | R, (1 << 52) - 1)], 0, 1 << 55),
    ] {
        let pmp = with(entries);
        assert!(loads(&pmp, lo, 1) && loads(&pmp, hi - 4, 4), "{entries:x?}");
        assert!(lo == 0 || !loads(&pmp, lo - 1, 1), "{entries:x?}");
        assert!(!loads(&pmp, hi, 1), "{entries:x?}");
    }
}

#[test]
fn an_empty_top_of_range_matches_nothing() {
    for bottom in [0x1000, 0x2000] {
        let pmp = with(&[(0, bottom >> 2), (TOR, 0x1000 >> 2), (NAPOT | R, u64::MAX)]);
        assert!(loads(&pmp, 0xff8, 16));
    }
}

#[test]
fn an_access_that_an_entry_matches_in_part_fails_whatever_follows() {
    // The manual's example: 0xC-0xF is an entry's, the access is to 0x8-0xF.
    for first in [NA4 | RWX, NA4 | RWX | L] {
        let pmp = with(&[(first, 0xc >> 2), (NAPOT | RWX, u64::MAX)]);
        assert!(loads(&pmp, 0x8, 4) && loads(&pmp, 0xc, 4));
        for prv in MODES {
            assert!(!pmp.check(0x8, 8, Access::Load, prv), "{prv:?}");
        }
    }
}

#[test]
fn the_lowest_matching_entry_decides() {
    let pmp = with(&[(NAPOT, 0x1000 >> 2 | 0x1ff), (NAPOT | RWX, u64::MAX)]);
    assert!(!loads(&pmp, 0x1800, 4) && loads(&pmp, 0x2000, 4));
    let pmp = with(&[(NAPOT | RWX, u64::MAX), (NAPOT, 0x1000 >> 2 | 0x1ff)]);
    assert!(loads(&pmp, 0x1800, 4));
}

#[test]
fn permissions_bind_s_and_u_and_bind_m_only_when_locked() {
    for rwx in [0, 1, 3, 4, 5, 7] {
        for (lock, m_bound) in [(0, false), (L, true)] {
            let pmp = with(&[(NAPOT | rwx | lock, u64::MAX)]);
            for (access, bit) in [(Access::Load, 1), (Access::Store, 2), (Access::Fetch, 4)] {
                let granted = rwx & bit != 0;
                let got = MODES.map(|prv| pmp.check(0x8000_0000, 8, access, prv));
                assert_eq!(got, [granted, granted, granted || !m_bound], "{rwx} {lock:#x} {access:?}");
            }
        }
    }
}

#[test]
fn without_a_match_only_m_mode_passes_unless_there_are_no_entries() {
    for (count, below_m) in [(0, true), (1, false), (16, false)] {
        let pmp = Pmp::new(count);
        let got = MODES.map(|prv| pmp.check(0x8000_0000, 8, Access::Load, prv));
        assert_eq!(got, [below_m, below_m, true], "{count} entries");
        assert_eq!(pmp.active(), count > 0, "{count} entries");
    }
}

#[test]
fn it_is_inactive_only_if_nothing_can_be_refused() {
    let mut open = Pmp::new(16);
    open.open();
    for (pmp, active) in [
        (open, false),
        (with(&[(NAPOT | RWX, u64::MAX), (NAPOT | L, 0)]), false),
        (with(&[(NAPOT | RWX | L, u64::MAX)]), false),
        (with(&[(0, 0), (TOR | RWX, u64::MAX)]), true),
        (with(&[(NAPOT | RW, u64::MAX)]), true),
        (with(&[(NAPOT | RWX, (1 << 52) - 1)]), true),
        (with(&[(NA4, 0), (NAPOT | RWX, u64::MAX)]), true),
    ] {
        assert_eq!(pmp.active(), active, "{pmp:?}");
    }
}

#[test]
fn a_lock_holds_an_entry_and_the_bottom_of_its_range() {
    let mut pmp = with(&[(0, 0x1000), (TOR | R | L, 0x2000), (NA4 | R, 0x3000), (NA4 | L, 0x4000)]);
    let before = pmp.clone();
    for held in [0, 1, 3] {
        assert!(!pmp.write_addr(held, 0x77), "pmpaddr{held}");
    }
    assert!(!pmp.write_cfg(0, before.read_cfg(0) & !(L << 8 | L << 24)));
    assert_eq!(pmp, before);
    assert!(pmp.write_addr(2, 0x77), "below a locked entry that is no range, the address is free");
    assert!(pmp.write_cfg(0, 0));
    assert_eq!(pmp.read_cfg(0), (NA4 | L) << 24 | (TOR | R | L) << 8);
}

#[test]
fn a_lock_holds_an_entry_that_is_off() {
    let mut pmp = with(&[(L, 0x1000)]);
    assert!(!pmp.write_addr(0, 1) && !pmp.write_cfg(0, RWX));
}

#[test]
fn write_without_read_is_reserved_and_reserved_bits_read_as_zero() {
    for (written, kept) in [(2, 0), (6, 4), (0x60, 0), (0xff, 0x9f)] {
        let mut pmp = Pmp::new(16);
        pmp.write_cfg(0, written);
        assert_eq!(pmp.read_cfg(0), kept, "{written:#x}");
    }
}

#[test]
fn entries_beyond_the_implemented_ones_read_as_zero() {
    let mut pmp = Pmp::new(9);
    pmp.write_cfg(1, u64::MAX);
    assert_eq!(pmp.read_cfg(1), 0x9f);
    assert!(!pmp.write_addr(9, 1) && !pmp.write_addr(63, 1) && !pmp.write_cfg(7, 1));
    assert_eq!((pmp.read_addr(9), pmp.read_addr(63), pmp.read_cfg(7)), (0, 0, 0));
    assert_eq!(Pmp::new(200).count(), 16);
}

#[test]
fn a_page_that_an_entry_ends_in_has_no_single_answer() {
    let page = 0x8000_0000;
    for (entries, expected) in [
        (&[(NAPOT | R, page >> 2 | 0x1ff)][..], Some((true, false))),
        (&[(NAPOT | RW, u64::MAX)], Some((true, true))),
        (&[(NA4 | RW, (page + 4096) >> 2)], Some((false, false))),
        (&[(NA4 | RW, (page + 4092) >> 2)], None),
        (&[(TOR | RW, (page + 4) >> 2)], None),
        (&[(NAPOT | RW, u64::MAX), (NA4, page >> 2)], Some((true, true))),
    ] {
        let got = with(entries).uniform(page + 0x123, Priv::User);
        assert_eq!(got.map(|r| (r.read, r.write)), expected, "{entries:x?}");
    }
}

/// What the manual says of one byte: whether entry `i` matches it.
fn byte_matches(pmp: &Pmp, i: usize, byte: u64) -> bool {
    let (word, addr) = (byte >> 2, pmp.read_addr(i));
    match pmp.read_cfg(i / 8) >> (i % 8 * 8) & 0x18 {
        TOR => word < addr && (i == 0 || word >= pmp.read_addr(i - 1)),
        NA4 => word == addr,
        NAPOT => {
            let ignored = addr ^ (addr + 1);
            word & !ignored == addr & !ignored
        }
        _ => false,
    }
}

fn model(pmp: &Pmp, gpa: u64, len: u64, access: Access, prv: Priv) -> bool {
    let bytes = || gpa..gpa + len;
    for i in 0..usize::from(pmp.count()) {
        if bytes().any(|b| byte_matches(pmp, i, b)) {
            let cfg = pmp.read_cfg(i / 8) >> (i % 8 * 8);
            let bit = match access {
                Access::Load => 1,
                Access::Store => 2,
                Access::Fetch => 4,
            };
            let free = prv == Priv::Machine && cfg & L == 0;
            return bytes().all(|b| byte_matches(pmp, i, b)) && (free || cfg & bit != 0);
        }
    }
    prv == Priv::Machine || pmp.count() == 0
}

/// Entries crowded into 16 KiB, so that they meet.
fn crowded() -> impl Strategy<Value = Pmp> {
    let addr = prop_oneof![0..0x1000u64, (0..12u32, 0..0x1000u64).prop_map(|(k, a)| a | ((1 << k) - 1))];
    let entry = (any::<u8>().prop_map(u64::from), addr);
    (0..=16u8, prop::collection::vec(entry, 16)).prop_map(|(count, entries)| {
        let mut pmp = Pmp::new(count);
        // Addresses first: the bytes may lock them.
        for (i, &(_, addr)) in entries.iter().enumerate() {
            pmp.write_addr(i, addr);
        }
        for (word, chunk) in entries.chunks(8).enumerate() {
            pmp.write_cfg(word, chunk.iter().rev().fold(0, |cfg, &(byte, _)| cfg << 8 | byte));
        }
        pmp
    })
}

proptest! {
    #[test]
    fn every_access_is_judged_as_byte_by_byte(
        pmp in crowded(),
        accesses in prop::collection::vec((0..0x4100u64, 1..=64u64), 64),
    ) {
        for (gpa, len) in accesses {
            for prv in MODES {
                for access in ACCESSES {
                    let expected = model(&pmp, gpa, len, access, prv);
                    prop_assert_eq!(pmp.check(gpa, len, access, prv), expected, "{:#x} {} {:?}", gpa, len, access);
                }
            }
        }
    }

    #[test]
    fn a_pages_answer_is_that_of_every_access_in_it(pmp in crowded(), page in 0..5u64) {
        let base = page * PAGE;
        for prv in MODES {
            let Some(rights) = pmp.uniform(base + 0x7fe, prv) else {
                // The page as one access meets the entry that ends in it.
                prop_assert!(!pmp.check(base, PAGE, Access::Load, prv));
                continue;
            };
            for access in ACCESSES {
                prop_assert_eq!(pmp.check(base, PAGE, access, prv), rights.allows(access));
                for gpa in (base..base + PAGE - 8).step_by(4) {
                    prop_assert_eq!(pmp.check(gpa, 8, access, prv), rights.allows(access));
                }
            }
        }
    }

    #[test]
    fn an_extent_has_the_one_answer_of_all_its_bytes(pmp in crowded(), gpa in 0..0x4100u64) {
        for prv in MODES {
            let extent = pmp.extent(gpa, prv);
            prop_assert!((extent.start..extent.end).contains(&gpa));
            for byte in (extent.start..extent.end.min(0x4200)).step_by(3) {
                for access in ACCESSES {
                    prop_assert_eq!(pmp.check(byte, 1, access, prv), extent.perm.allows(access));
                }
            }
        }
    }

    #[test]
    fn nothing_is_refused_while_inactive(pmp in crowded(), gpa in 0..0x4100u64) {
        if !pmp.active() {
            for (prv, access) in MODES.into_iter().zip(ACCESSES) {
                prop_assert!(pmp.check(gpa, 8, access, prv));
            }
        }
    }

    #[test]
    fn any_address_and_length_gets_an_answer(pmp in crowded(), gpa in any::<u64>(), len in any::<u64>()) {
        for prv in MODES {
            let whole = pmp.check(gpa, len, Access::Load, prv);
            let byte = pmp.check(gpa, 1, Access::Load, prv);
            prop_assert!(byte || !whole || len == 0);
            prop_assert!(pmp.uniform(gpa, prv).is_none_or(|rights| rights.read == byte));
        }
    }
}
