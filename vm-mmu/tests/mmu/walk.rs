//! The page walk against the privileged manual: each rule a row, in every scheme and at every level.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use proptest::prelude::*;
use vm_mmu::paging::sv::{A, D, G, N, PBMT, R, U, V, W, X};
use vm_mmu::{Access, Leaf, PAGE, PteMemory, Scheme, WalkCache, WalkFault, WalkMode, walk};

use Access::{Fetch, Load, Store};

const ROOT: u64 = 0x8000_0000;
const SCHEMES: [(Scheme, usize); 3] = [(Scheme::Sv39, 3), (Scheme::Sv48, 4), (Scheme::Sv57, 5)];

/// Page tables of a test, with an eye on who loads what.
#[derive(Default)]
pub struct Tables {
    ptes: RefCell<HashMap<u64, u64>>,
    loads: Cell<usize>,
    /// Entries that may not be loaded, and entries that may not be stored.
    unreadable: Option<u64>,
    unwritable: bool,
    /// What another hart puts in place just before the first compare-and-swap.
    race: Cell<Option<u64>>,
}

impl PteMemory for Tables {
    fn load(&self, gpa: u64) -> Option<u64> {
        assert_eq!(gpa % 8, 0);
        self.loads.set(self.loads.get() + 1);
        (self.unreadable != Some(gpa)).then(|| self.at(gpa))
    }

    fn cas(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        if self.unwritable {
            return None;
        }
        if let Some(other) = self.race.take() {
            self.put(gpa, other);
        }
        let same = self.at(gpa) == old;
        if same {
            self.put(gpa, new);
        }
        Some(same)
    }
}

impl Tables {
    fn at(&self, gpa: u64) -> u64 {
        self.ptes.borrow().get(&gpa).copied().unwrap_or(0)
    }

    fn put(&self, gpa: u64, pte: u64) {
        self.ptes.borrow_mut().insert(gpa, pte);
    }

    /// Where the entry of `va` at `level` lies: the tables of all levels follow the root.
    fn slot(levels: usize, va: u64, level: usize) -> u64 {
        ROOT + (levels - 1 - level) as u64 * PAGE + (va >> (12 + 9 * level) & 511) * 8
    }

    /// Pointers down to `level`, and `pte` there.
    fn with(levels: usize, va: u64, level: usize, pte: u64) -> Tables {
        let tables = Tables::default();
        for upper in level + 1..levels {
            let next = ROOT + (levels - upper) as u64 * PAGE;
            tables.put(Tables::slot(levels, va, upper), table(next));
        }
        tables.put(Tables::slot(levels, va, level), pte);
        tables
    }
}

fn table(gpa: u64) -> u64 {
    gpa >> 2 | V
}

fn page(gpa: u64, flags: u64) -> u64 {
    gpa >> 2 | V | flags
}

fn try_walk(
    tables: &Tables,
    scheme: Scheme,
    va: u64,
    access: Access,
    mode: WalkMode,
) -> Result<Leaf, WalkFault> {
    walk(tables, scheme, ROOT, va, access, mode, &mut WalkCache::new())
}

const S: WalkMode = WalkMode { user: false, sum: false, mxr: false, adue: false, pbmte: false, napot: true };
const USER: WalkMode = WalkMode { user: true, ..S };
const SUM: WalkMode = WalkMode { sum: true, ..S };
const MXR: WalkMode = WalkMode { mxr: true, ..S };
const ADUE: WalkMode = WalkMode { adue: true, ..S };
const PBMTE: WalkMode = WalkMode { pbmte: true, ..S };
const AD: u64 = A | D;

/// Rule, flags of the leaf, access, mode, and whether it is granted.
const LEAF_RULES: &[(&str, u64, Access, WalkMode, bool)] = &[
    ("a readable page loads", R | AD, Load, S, true),
    ("a readable page does not store", R | AD, Store, S, false),
    ("a readable page does not fetch", R | AD, Fetch, S, false),
    ("a writable page stores", R | W | AD, Store, S, true),
    ("an executable page fetches", X | AD, Fetch, S, true),
    ("an executable page does not load", X | AD, Load, S, false),
    ("MXR lets an executable page load", X | AD, Load, MXR, true),
    ("MXR lets nothing store", X | AD, Store, MXR, false),
    ("W without R is reserved", W | AD, Store, S, false),
    ("W and X without R is reserved", W | X | AD, Fetch, S, false),
    ("U-mode loads from a user page", R | U | AD, Load, USER, true),
    ("U-mode does not load from a supervisor page", R | AD, Load, USER, false),
    ("U-mode does not fetch from a supervisor page", X | AD, Fetch, USER, false),
    ("U-mode fetches from a user page", X | U | AD, Fetch, USER, true),
    ("S-mode does not load from a user page", R | U | AD, Load, S, false),
    ("S-mode does not store to a user page", R | W | U | AD, Store, S, false),
    ("SUM lets S-mode load from a user page", R | U | AD, Load, SUM, true),
    ("SUM lets S-mode store to a user page", R | W | U | AD, Store, SUM, true),
    ("SUM does not let S-mode fetch from a user page", X | U | AD, Fetch, SUM, false),
    ("SUM changes nothing for supervisor pages", R | AD, Load, SUM, true),
    ("SUM does not open supervisor pages to U-mode", R | AD, Load, WalkMode { sum: true, ..USER }, false),
    ("Svade: A clear faults on a load", R, Load, S, false),
    ("Svade: A clear faults on a fetch", X, Fetch, S, false),
    ("Svade: D clear faults on a store", R | W | A, Store, S, false),
    ("Svade: D clear is no matter for a load", R | W | A, Load, S, true),
    ("Svadu: A clear is set by a load", R, Load, ADUE, true),
    ("Svadu: A and D clear are set by a store", R | W, Store, ADUE, true),
    ("Svadu: permissions still rule", R, Store, ADUE, false),
    ("memory types are reserved without PBMTE", R | AD | 1 << 61, Load, S, false),
    ("PBMTE permits NC", R | AD | 1 << 61, Load, PBMTE, true),
    ("PBMTE permits IO", R | AD | 2 << 61, Load, PBMTE, true),
    ("memory type 3 is reserved", R | AD | PBMT, Load, PBMTE, false),
    ("bit 54 is reserved", R | AD | 1 << 54, Load, S, false),
    ("bit 60 is reserved", R | AD | 1 << 60, Load, S, false),
    ("software's bits mean nothing", R | AD | 3 << 8, Load, S, true),
    ("a global page is like another", R | G | AD, Load, S, true),
];

#[test]
fn leaf_rules_hold_in_every_scheme_at_every_level() {
    for (scheme, levels) in SCHEMES {
        for level in 0..levels {
            let size = PAGE << (9 * level);
            let (va, frame) = (size * 3 + 0x123 % size, size * 5);
            for &(rule, flags, access, mode, granted) in LEAF_RULES {
                let tables = Tables::with(levels, va, level, page(frame, flags));
                let got = try_walk(&tables, scheme, va, access, mode);
                let at = format!("{rule} ({scheme:?}, level {level})");
                match granted {
                    true => {
                        let leaf = got.unwrap_or_else(|fault| panic!("{at}: {fault:?}"));
                        assert_eq!(
                            (leaf.gpa, leaf.size),
                            (frame + ((va % size) & !(PAGE - 1)), size),
                            "{at}"
                        );
                        assert!(leaf.allows(access), "{at}");
                        assert_eq!((leaf.user, leaf.global), (flags & U != 0, flags & G != 0), "{at}");
                    }
                    false => assert_eq!(got, Err(WalkFault::Page), "{at}"),
                }
            }
        }
    }
}

#[test]
fn an_invalid_entry_faults_at_every_level() {
    for (scheme, levels) in SCHEMES {
        for level in 0..levels {
            let tables = Tables::with(levels, 0x4000, level, (R | W | X | AD) | 0x1000);
            assert_eq!(
                try_walk(&tables, scheme, 0x4000, Load, S),
                Err(WalkFault::Page),
                "{scheme:?} {level}"
            );
        }
    }
}

#[test]
fn reserved_bits_of_pointers_fault() {
    for (scheme, levels) in SCHEMES {
        for upper in 1..levels {
            for (bit, faults) in [
                (D, true),
                (A, true),
                (U, true),
                (1 << 61, true),
                (1 << 62, true),
                (N, true),
                (1 << 55, true),
                (G, false),
                (1 << 8, false),
            ] {
                let tables = Tables::with(levels, 0x4000, 0, page(0x9000_0000, R | AD));
                let slot = Tables::slot(levels, 0x4000, upper);
                tables.put(slot, tables.at(slot) | bit);
                let got = try_walk(&tables, scheme, 0x4000, Load, PBMTE);
                assert_eq!(got.is_err(), faults, "bit {bit:#x} of a pointer, {scheme:?} level {upper}");
            }
        }
    }
}

#[test]
fn a_pointer_at_the_last_level_faults() {
    for (scheme, levels) in SCHEMES {
        let tables = Tables::with(levels, 0x4000, 0, table(0x9000_0000));
        assert_eq!(try_walk(&tables, scheme, 0x4000, Load, S), Err(WalkFault::Page));
    }
}

#[test]
fn a_misaligned_superpage_faults() {
    for (scheme, levels) in SCHEMES {
        for level in 1..levels {
            for low in 0..9 * level {
                let tables = Tables::with(levels, 0x4000, level, page(PAGE << low, R | AD));
                assert_eq!(
                    try_walk(&tables, scheme, 0x4000, Load, S),
                    Err(WalkFault::Page),
                    "{scheme:?} {level} {low}"
                );
            }
        }
    }
}

#[test]
fn addresses_that_are_not_canonical_fault() {
    for (scheme, levels) in SCHEMES {
        let bits = 12 + 9 * levels as u32;
        let half = 1u64 << (bits - 1);
        for (va, legal) in [
            (half - PAGE, true),
            (half, false),
            (0u64.wrapping_sub(half), true),
            (0u64.wrapping_sub(half + PAGE), false),
            (1 << 63, false),
            (!(PAGE - 1), true),
        ] {
            let tables = Tables::with(levels, va, 0, page(0x9000_0000, R | AD));
            assert_eq!(try_walk(&tables, scheme, va, Load, S).is_ok(), legal, "{scheme:?} {va:#x}");
        }
    }
}

#[test]
fn svnapot_maps_64_kib_and_nothing_else() {
    let frame = 0x9001_0000;
    let legal = N | (frame + 0x8000) >> 2 | V | R | AD;
    for (scheme, levels) in SCHEMES {
        let va = 0x7_b000;
        let walk_with =
            |level, pte, mode| try_walk(&Tables::with(levels, va, level, pte), scheme, va, Load, mode);
        let leaf = walk_with(0, legal, S).unwrap();
        assert_eq!((leaf.gpa, leaf.size), (frame + 0xb000, 0x1_0000));
        assert_eq!(
            walk_with(0, legal, WalkMode { napot: false, ..S }),
            Err(WalkFault::Page),
            "without Svnapot"
        );
        for low in (0..16).filter(|&low| low != 8) {
            let pte = N | (frame >> 12 | low) << 10 | V | R | AD;
            assert_eq!(walk_with(0, pte, S), Err(WalkFault::Page), "encoding {low:#b}");
        }
        assert_eq!(walk_with(1, N | V | R | AD, S), Err(WalkFault::Page), "in a superpage");
    }
}

#[test]
fn svadu_sets_just_what_the_access_needs() {
    for (scheme, levels) in SCHEMES {
        for (access, before, after) in
            [(Load, R | W, A), (Store, R | W, AD), (Store, R | W | A, AD), (Load, R | W | AD, AD)]
        {
            let tables = Tables::with(levels, 0x4000, 0, page(0x9000_0000, before));
            let leaf = try_walk(&tables, scheme, 0x4000, access, ADUE).unwrap();
            let pte = tables.at(Tables::slot(levels, 0x4000, 0));
            assert_eq!(pte, page(0x9000_0000, R | W | after), "{access:?}");
            assert_eq!(leaf.write, after & D != 0, "stores may be cached only once D is set");
        }
    }
}

#[test]
fn svadu_writes_nothing_when_the_access_is_refused() {
    let tables = Tables::with(3, 0x4000, 0, page(0x9000_0000, R));
    assert_eq!(try_walk(&tables, Scheme::Sv39, 0x4000, Store, ADUE), Err(WalkFault::Page));
    assert_eq!(tables.at(Tables::slot(3, 0x4000, 0)), page(0x9000_0000, R));
}

#[test]
fn svadu_reads_the_entry_again_when_another_hart_changed_it() {
    for (other, want) in [
        (page(0xa000_0000, R), Ok(0xa000_0000)),
        (page(0xa000_0000, R | A), Ok(0xa000_0000)),
        (0, Err(WalkFault::Page)),
        (page(0xa000_0000, X), Err(WalkFault::Page)),
    ] {
        let tables = Tables::with(3, 0x4000, 0, page(0x9000_0000, R));
        tables.race.set(Some(other));
        let got = try_walk(&tables, Scheme::Sv39, 0x4000, Load, ADUE);
        assert_eq!(got.map(|leaf| leaf.gpa), want, "other hart put {other:#x}");
    }
}

#[test]
fn refused_tables_are_access_faults() {
    for (scheme, levels) in SCHEMES {
        for level in 0..levels {
            let mut tables = Tables::with(levels, 0x4000, 0, page(0x9000_0000, R | AD));
            tables.unreadable = Some(Tables::slot(levels, 0x4000, level));
            assert_eq!(
                try_walk(&tables, scheme, 0x4000, Load, S),
                Err(WalkFault::Access),
                "{scheme:?} {level}"
            );
        }
        let mut tables = Tables::with(levels, 0x4000, 0, page(0x9000_0000, R));
        tables.unwritable = true;
        assert_eq!(try_walk(&tables, scheme, 0x4000, Load, ADUE), Err(WalkFault::Access), "update refused");
    }
}

#[test]
fn bare_is_the_identity() {
    let leaf = try_walk(&Tables::default(), Scheme::Bare, 0xdead_beef_1234_5678, Store, S).unwrap();
    assert_eq!(leaf, Leaf::bare(0xdead_beef_1234_5678));
    assert_eq!(leaf.gpa, 0xdead_beef_1234_5000);
}

#[test]
fn satp_names_scheme_and_root() {
    assert_eq!(Scheme::of_satp(8 << 60 | 0x12 << 44 | 0x8_0000), Some(Scheme::Sv39));
    assert_eq!(Scheme::of_satp(10 << 60), Some(Scheme::Sv57));
    assert_eq!(Scheme::of_satp(1 << 60), None);
    assert_eq!(Scheme::root_of_satp(8 << 60 | 0x12 << 44 | 0x8_0000), ROOT);
}

#[test]
fn the_cache_spares_all_loads_but_the_last() {
    for (scheme, levels) in SCHEMES {
        let tables = Tables::with(levels, 0x4000, 0, page(0x9000_0000, R | AD));
        tables.put(Tables::slot(levels, 0x5000, 0), page(0x9000_1000, R | AD));
        let mut cache = WalkCache::new();
        let mut loads = |va| {
            tables.loads.set(0);
            walk(&tables, scheme, ROOT, va, Load, S, &mut cache).unwrap();
            tables.loads.get()
        };
        assert_eq!((loads(0x4000), loads(0x4000), loads(0x5000)), (levels, 1, 1), "{scheme:?}");
    }
}

#[test]
fn the_cache_never_mistakes_one_prefix_for_another() {
    for (scheme, levels) in SCHEMES {
        let mut cache = WalkCache::new();
        for upper in 1..levels {
            // The same slot of the cache at this level, and nothing mapped there.
            let (near, far) = (0x4000, 0x4000 + (64u64 << (12 + 9 * upper)));
            let tables = Tables::with(levels, near, 0, page(0x9000_0000, R | AD));
            let mut go = |va| walk(&tables, scheme, ROOT, va, Load, S, &mut cache);
            assert!(go(near).is_ok());
            assert_eq!(go(far), Err(WalkFault::Page), "{scheme:?}, tables of level {}", upper - 1);
        }
    }
}

#[test]
fn the_cache_tells_address_spaces_apart_and_forgets() {
    let tables = Tables::with(3, 0x4000, 0, page(0x9000_0000, R | AD));
    let mut cache = WalkCache::new();
    let loads = |cache: &mut WalkCache| {
        tables.loads.set(0);
        walk(&tables, Scheme::Sv39, ROOT, 0x4000, Load, S, cache).unwrap();
        tables.loads.get()
    };
    loads(&mut cache);
    cache.enter(2);
    assert_eq!((loads(&mut cache), loads(&mut cache)), (3, 1));
    cache.enter(1);
    assert_eq!((loads(&mut cache), loads(&mut cache)), (3, 1), "one slot serves one space at a time");
    cache.drop_page(0x4000);
    assert_eq!((loads(&mut cache), loads(&mut cache)), (3, 1));
    cache.clear();
    assert_eq!(loads(&mut cache), 3);
}

/// The manual's steps, one after the other, in the words of the manual.
fn manual(tables: &Tables, levels: usize, va: u64, access: Access, mode: WalkMode) -> Option<u64> {
    let (mut a, mut i) = (ROOT, levels - 1);
    let pte = loop {
        let pte = tables.at(a + (va >> (12 + 9 * i) & 511) * 8);
        let reserved = pte >> 54 & 0x7f != 0;
        if pte & V == 0 || (pte & R == 0 && pte & W != 0) || reserved {
            return None;
        }
        if pte & R != 0 || pte & X != 0 {
            break pte;
        }
        if i == 0 || pte & (A | D | U | N | PBMT) != 0 {
            return None;
        }
        (a, i) = ((pte >> 10 & 0xfff_ffff_ffff) << 12, i - 1);
    };
    let ppn = pte >> 10 & 0xfff_ffff_ffff;
    let vpn = va >> 12;
    let low = (1u64 << (9 * i)) - 1;
    if ppn & low != 0 || pte >> 61 & 3 == 3 || (pte >> 61 & 3 != 0 && !mode.pbmte) {
        return None;
    }
    let mut found = ppn | vpn & low;
    if pte & N != 0 {
        if i != 0 || ppn & 15 != 8 {
            return None;
        }
        found = ppn & !15 | vpn & 15;
    }
    let user = pte & U != 0;
    if mode.user != user && (mode.user || access == Fetch || !mode.sum) {
        return None;
    }
    let allowed = match access {
        Fetch => pte & X != 0,
        Load => pte & R != 0 || (mode.mxr && pte & X != 0),
        Store => pte & W != 0,
    };
    let touched = pte & A != 0 && (access != Store || pte & D != 0);
    (allowed && (touched || mode.adue)).then_some(found << 12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn walks_agree_with_the_manual_on_random_entries(
        scheme in 0usize..3,
        level in 0usize..5,
        flags in 0u64..1024,
        ppn in prop_oneof![Just(0u64), 0u64..1 << 44, (0u64..1 << 17).prop_map(|p| p << 27), (0u64..1 << 40).prop_map(|p| p << 4 | 8)],
        high in prop_oneof![4 => Just(0u64), 1 => 0u64..1024],
        access in prop_oneof![Just(Load), Just(Store), Just(Fetch)],
        bits in 0u8..32,
        va in 0u64..1 << 38,
    ) {
        let (scheme, levels) = SCHEMES[scheme];
        let level = level % levels;
        let mode = WalkMode {
            user: bits & 1 != 0,
            sum: bits & 2 != 0,
            mxr: bits & 4 != 0,
            adue: bits & 8 != 0,
            pbmte: bits & 16 != 0,
            napot: true,
        };
        let tables = Tables::with(levels, va, level, high << 54 | ppn << 10 | flags);
        let want = manual(&tables, levels, va, access, mode);
        let got = try_walk(&tables, scheme, va, access, mode);
        prop_assert_eq!(got.map(|leaf| leaf.gpa).ok(), want);
    }
}
