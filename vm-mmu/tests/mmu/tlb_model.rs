//! The soft-TLB against a naive model, by random operations.
//!
//! The model keeps each translation that may be cached, as a set that fences remove from exactly. The
//! TLB may forget more, but must never hit what the model does not have. Global pages of S are the same in
//! all address spaces, as the manual demands.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use vm_mmu::{Access, AddressSpace, Class, Leaf, PAGE, SoftTlb};

use super::tlb::{PAGES, RAM, memory, satp};

/// Addresses that collide in the index, and that share large pages.
const VAS: [u64; 8] = [
    0x1000,
    0x2000,
    0x40_1000,
    0x40_2000,
    0x80_1000,
    0x4000_1000,
    0xffff_ffc0_0000_1000,
    0xffff_ffc0_0020_1000,
];
const SIZES: [u64; 4] = [PAGE, 64 << 10, 2 << 20, 1 << 30];
const ACCESSES: [Access; 3] = [Access::Load, Access::Store, Access::Fetch];
const CLASSES: [Class; 3] = [Class::U, Class::S, Class::M];

#[derive(Clone, Debug)]
enum Op {
    Fill { class: usize, va: usize, page: u64, size: usize, perm: u8, user: bool },
    FillGlobal { va: usize },
    Borrow { va: usize, access: usize },
    Switch { asid: u64, ppn: u64, mxr: bool },
    FlushAll,
    FlushAsid(u16),
    FlushPage { va: usize, asid: Option<u16> },
    Sum(bool),
    Code { page: u64 },
    CodeGone { page: u64 },
    RevokeAll,
    Reset,
    Store { class: usize, va: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let asid = || prop_oneof![Just(0u16), Just(1u16), Just(2u16)];
    prop_oneof![
        8 => (0usize..3, 0usize..8, 0u64..6, prop_oneof![3 => Just(0usize), 1 => 1usize..4], 0u8..8, any::<bool>())
            .prop_map(|(class, va, page, size, perm, user)| Op::Fill { class, va, page, size, perm, user }),
        4 => (0usize..8).prop_map(|va| Op::FillGlobal { va }),
        2 => (0usize..8, 0usize..3).prop_map(|(va, access)| Op::Borrow { va, access }),
        3 => (0u64..3, 1u64..3, any::<bool>()).prop_map(|(asid, ppn, mxr)| Op::Switch { asid, ppn, mxr }),
        1 => Just(Op::FlushAll),
        1 => asid().prop_map(Op::FlushAsid),
        3 => (0usize..8, prop::option::of(asid())).prop_map(|(va, asid)| Op::FlushPage { va, asid }),
        2 => any::<bool>().prop_map(Op::Sum),
        2 => (0u64..6).prop_map(|page| Op::Code { page }),
        1 => (0u64..6).prop_map(|page| Op::CodeGone { page }),
        1 => Just(Op::RevokeAll),
        1 => Just(Op::Reset),
        3 => (0usize..3, 0usize..8).prop_map(|(class, va)| Op::Store { class, va }),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place {
    class: Class,
    satp: u64,
    mxr: bool,
    va: u64,
}

impl Place {
    /// Where a global page stands: in no address space.
    const GLOBAL: u64 = u64::MAX;

    fn of_asid(&self, asid: u16) -> bool {
        self.satp != Place::GLOBAL && (self.satp >> 44) as u16 == asid
    }
}

struct Model {
    memory: Arc<AddressSpace>,
    tlb: SoftTlb,
    may: HashMap<Place, Leaf>,
    satp: u64,
    mxr: bool,
    sum: bool,
}

impl Model {
    fn new() -> Model {
        let memory = memory();
        let tlb = SoftTlb::new(memory.clone());
        Model { memory, tlb, may: HashMap::new(), satp: 0, mxr: false, sum: false }
    }

    fn place(&self, class: Class, va: u64) -> Place {
        match class {
            Class::M => Place { class, satp: 0, mxr: false, va },
            _ => Place { class, satp: self.satp, mxr: self.mxr, va },
        }
    }

    /// Where `access` may go.
    fn may(&self, class: Class, va: u64, access: Access) -> Vec<u64> {
        let own = self.place(class, va);
        let global = Place { satp: Place::GLOBAL, ..own };
        let leaves = [own, global].into_iter().filter_map(|place| self.may.get(&place));
        leaves.filter(|leaf| leaf.allows(access)).map(|leaf| leaf.gpa).collect()
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Fill { class, va, page, size, perm, user } => {
                let class = CLASSES[class];
                if class == Class::S && user && !self.sum {
                    return; // such a walk faults
                }
                let user = user && class == Class::S || class == Class::U;
                let leaf = Leaf {
                    gpa: RAM + page * PAGE,
                    size: SIZES[size],
                    read: perm & 1 != 0 || perm & 2 != 0,
                    write: perm & 2 != 0,
                    exec: perm & 4 != 0 && !(class == Class::S && user),
                    user,
                    global: false,
                };
                self.fill(class, VAS[va], leaf);
            }
            Op::FillGlobal { va } => {
                let (gpa, size) = (RAM + va as u64 % 6 * PAGE, SIZES[va % SIZES.len()]);
                self.fill(Class::S, VAS[va], Leaf { gpa, size, global: true, ..Leaf::bare(gpa) });
            }
            Op::Borrow { va, access } => self.borrow(VAS[va], ACCESSES[access]),
            Op::Switch { asid, ppn, mxr } => {
                (self.satp, self.mxr) = (satp(asid, ppn), mxr);
                self.tlb.switch(self.satp, mxr);
            }
            Op::FlushAll => {
                self.tlb.flush_all();
                self.may.retain(|place, _| place.class == Class::M);
            }
            Op::FlushAsid(asid) => {
                self.tlb.flush_asid(asid);
                self.may.retain(|place, _| place.class == Class::M || !place.of_asid(asid));
            }
            Op::FlushPage { va, asid } => self.flush_page(VAS[va], asid),
            Op::Sum(on) => {
                if self.sum && !on {
                    self.tlb.sum_cleared();
                    self.may.retain(|place, leaf| !(place.class == Class::S && leaf.user));
                }
                self.sum = on;
            }
            Op::Code { page } => {
                let gpa = RAM + page * PAGE;
                if self.memory.tracker().add_code(gpa, 1 << 63) == 0 {
                    self.tlb.revoke_write(gpa);
                }
                self.may.values_mut().filter(|leaf| leaf.gpa == gpa).for_each(|leaf| leaf.write = false);
            }
            Op::CodeGone { page } => self.memory.write_u8(RAM + page * PAGE + PAGE - 1, 1).unwrap(),
            Op::RevokeAll => {
                self.tlb.revoke_write_all();
                self.may.values_mut().for_each(|leaf| leaf.write = false);
            }
            Op::Reset => {
                self.tlb.reset();
                self.may.clear();
            }
            Op::Store { class, va } => self.store(CLASSES[class], VAS[va]),
        }
    }

    fn fill(&mut self, class: Class, va: u64, leaf: Leaf) {
        self.tlb.fill(class, va, &leaf, Access::Load).unwrap();
        let code = self.memory.tracker().code(leaf.gpa) != 0;
        let granted = Leaf { write: leaf.write && !code, ..leaf };
        let place = self.place(class, va);
        let place = if leaf.global { Place { satp: Place::GLOBAL, ..place } } else { place };
        self.may.insert(place, granted);
        for access in ACCESSES {
            let want = granted.allows(access).then_some(leaf.gpa);
            assert_eq!(self.tlb.translate(class, va, access), want, "just filled, {access:?}");
        }
        let recognised = self.tlb.lookup_code_write(class, va, 1).is_some();
        assert_eq!(recognised, leaf.write && code, "a store to code is recognised");
    }

    fn borrow(&mut self, va: u64, access: Access) {
        if !self.sum || !self.tlb.borrow_user(va, access) {
            return;
        }
        assert!(!self.may(Class::U, va, access).is_empty(), "borrowed what U does not have");
        let leaf = Leaf { exec: false, ..self.may[&self.place(Class::U, va)] };
        self.may.insert(self.place(Class::S, va), leaf);
    }

    fn flush_page(&mut self, va: u64, asid: Option<u16>) {
        self.tlb.flush_page(va, asid);
        self.may.retain(|place, leaf| {
            let same = place.va & !(leaf.size - 1) == va & !(leaf.size - 1);
            let meant = asid.is_none_or(|asid| place.of_asid(asid));
            place.class == Class::M || !(same && meant)
        });
    }

    fn store(&mut self, class: Class, va: u64) {
        let places = self.may(class, va, Access::Store);
        let value = self.tlb.stats().fills ^ va;
        if self.tlb.write(class, va + 8, value).is_some() {
            assert!(
                places.iter().any(|gpa| self.memory.read_u64(gpa + 8).unwrap() == value),
                "{class:?} {va:#x}"
            );
        }
    }

    /// Nothing hits but what may.
    fn check(&self) {
        for class in CLASSES {
            for va in VAS {
                for access in ACCESSES {
                    if let Some(gpa) = self.tlb.translate(class, va, access) {
                        assert!(self.may(class, va, access).contains(&gpa), "{class:?} {va:#x} {access:?}");
                    }
                }
                let loads = self.may(class, va, Access::Load);
                if let Some(gpa) = self.tlb.lookup_code_write(class, va, 8) {
                    assert!(loads.contains(&gpa), "{class:?} {va:#x} code");
                }
                if let Some(value) = self.tlb.read::<u64>(class, va) {
                    assert!(loads.contains(&value), "{class:?} {va:#x}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nothing_hits_that_a_fence_has_killed(ops in prop::collection::vec(op(), 1..120)) {
        const { assert!(PAGES > 6) };
        let mut model = Model::new();
        for op in &ops {
            model.run(op);
            model.check();
        }
    }
}
