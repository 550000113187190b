//! Accesses of a block that lie near each other: one check is enough for all of them.
//!
//! ```text
//!  ld   a3, 0(a4)        root a4, 0    ─┐
//!  addi a4, a4, 8                       │  one group: 8 bytes from root a4, a store's
//!  sd   a3, -8(a4)       root a4, 0    ─┘
//! ```
//! A root is the value of a register at some place of the block; what is copied from it or differs from it by
//! a constant is of the same root. **Invariant.** Between the first and the last access of a group nothing
//! orders memory and nothing needs the runtime.

use super::abi::Site;
use crate::isa::effects::Effects;
use crate::isa::{Insn, Op};

/// Bytes that one group may span.
const SPAN: i32 = 512;

/// Accesses of one root that lie near each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Index in the block of the first of them, and of the last.
    pub first: usize,
    pub last: usize,
    /// Offsets from the first one's base register: of the first byte, and of the last.
    pub low: i32,
    pub high: i32,
    /// Some of them are stores.
    pub write: bool,
    root: u32,
    /// What the first one's base register adds to the root.
    base: i32,
    shared: bool,
}

/// Where an access lies in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Which group.
    pub plan: usize,
    /// From the base register of the group's first access.
    pub offset: i32,
}

/// The groups of a block.
#[derive(Debug, Default)]
pub(super) struct Groups {
    plans: Vec<Plan>,
    /// By index in the block.
    members: Vec<Option<Member>>,
}

/// What a register holds: a root, and what is added to it.
type Held = (u32, i32);

impl Groups {
    /// Finds the groups of a block, whose instructions are at `sites`. None goes on over what `cuts`.
    pub fn plan(&mut self, sites: &[Site], effects: &[Effects], cuts: impl Fn(&Effects) -> bool) {
        self.plans.clear();
        self.members.clear();
        let mut held: [Held; 32] = std::array::from_fn(|r| (r as u32, 0));
        let mut roots = held.len() as u32;
        // Drafts before it are done.
        let mut begin = 0;
        for (index, (site, effects)) in sites.iter().zip(effects).enumerate() {
            let insn = &site.insn;
            if effects.runtime || effects.orders || cuts(effects) {
                begin = self.plans.len();
            }
            let member = effects.access.map(|(size, write)| {
                let (root, base) = held[usize::from(insn.rs1) & 31];
                self.join(index, begin, (root, base), insn.imm, 1 << size as u8, write)
            });
            self.members.push(member);
            let copied = copies(insn).map(|(of, plus)| (held[usize::from(of) & 31], plus));
            let mut written = effects.x_written;
            while written != 0 {
                let r = written.trailing_zeros() as usize;
                written &= written - 1;
                held[r] = match copied {
                    Some(((root, base), plus)) => (root, base.wrapping_add(plus)),
                    None => (roots, 0),
                };
                roots += u32::from(copied.is_none());
            }
        }
        for plan in &mut self.plans {
            plan.shared &= !sites[plan.first].apart;
        }
    }

    fn join(&mut self, index: usize, begin: usize, of: Held, imm: i32, size: i32, write: bool) -> Member {
        let (root, base) = of;
        let last = self.plans.iter().enumerate().skip(begin).rev().find(|(_, plan)| plan.root == root);
        if let Some((at, plan)) = last {
            let offset = base.wrapping_sub(plan.base).wrapping_add(imm);
            let (low, high) = (plan.low.min(offset), plan.high.max(offset.wrapping_add(size - 1)));
            if high.wrapping_sub(low) < SPAN && high >= low {
                let plan = &mut self.plans[at];
                (plan.low, plan.high, plan.last, plan.shared) = (low, high, index, true);
                plan.write |= write;
                return Member { plan: at, offset };
            }
        }
        let (low, high) = (imm, imm + size - 1);
        let plan = Plan { first: index, last: index, low, high, write, root, base, shared: false };
        self.plans.push(plan);
        Member { plan: self.plans.len() - 1, offset: imm }
    }

    /// The group that begins with an instruction, and its number.
    pub fn begins(&self, index: usize) -> Option<(usize, Plan)> {
        let (member, plan) = self.of(index)?;
        (plan.first == index).then_some((member.plan, plan))
    }

    /// The group of an instruction that has one, and where in it the access lies.
    pub fn of(&self, index: usize) -> Option<(Member, Plan)> {
        let member = (*self.members.get(index)?)?;
        let plan = self.plans[member.plan];
        plan.shared.then_some((member, plan))
    }
}

/// The register whose value, and a constant, an instruction gives.
fn copies(insn: &Insn) -> Option<(u8, i32)> {
    match (insn.op, insn.rs1, insn.rs2) {
        (Op::addi, of, _) => Some((of, insn.imm)),
        (Op::add, 0, of) | (Op::add, of, 0) => Some((of, 0)),
        _ => None,
    }
}

/// Which instructions of a block check an access of their own or that of their group, and whether that has
/// to permit stores.
pub(super) fn checks<'a>(
    effects: &'a [Effects],
    sites: &[Site],
    group: bool,
) -> impl Iterator<Item = Option<bool>> + 'a {
    let mut groups = Groups::default();
    if group {
        groups.plan(sites, effects, |_| false);
    }
    effects.iter().enumerate().map(move |(at, effects)| {
        let (_, store) = effects.access.filter(|_| !effects.runtime)?;
        match groups.of(at) {
            Some((_, plan)) => (plan.first == at).then_some(plan.write),
            None => Some(store),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Extensions, decode};

    fn groups_of(code: &[u32]) -> Groups {
        let insns = code.iter().map(|&bits| decode(bits, Extensions::all()).expect("an instruction"));
        let sites: Vec<Site> = insns.map(Site::alone).collect();
        let effects: Vec<Effects> = sites.iter().map(|site| Effects::of(&site.insn)).collect();
        let mut groups = Groups::default();
        groups.plan(&sites, &effects, |_| false);
        groups
    }

    const LD_A3_A4: u32 = 0x0007_3683;
    const ADDI_A4_8: u32 = 0x0087_0713;
    const SD_A3_A4_LESS_8: u32 = 0xfed7_3c23;

    #[test]
    fn a_base_that_a_constant_was_added_to_is_of_the_same_group() {
        let groups = groups_of(&[LD_A3_A4, ADDI_A4_8, SD_A3_A4_LESS_8]);
        let (number, plan) = groups.begins(0).expect("a group");
        assert_eq!((plan.first, plan.last, plan.low, plan.high, plan.write), (0, 2, 0, 7, true));
        assert_eq!(groups.of(2).map(|(member, _)| member), Some(Member { plan: number, offset: 0 }));
        assert!(groups.of(1).is_none() && groups.begins(2).is_none());
    }

    #[test]
    fn copies_are_of_the_group_and_other_values_are_not() {
        let mv_a5_a4 = 0x0007_0793;
        let ld_a0_16_a5 = 0x0107_b503;
        let groups = groups_of(&[LD_A3_A4, mv_a5_a4, ld_a0_16_a5]);
        assert_eq!(groups.begins(0).map(|(_, plan)| (plan.low, plan.high)), Some((0, 23)));
        let sub_a5_a4_a3 = 0x40d7_07b3;
        let groups = groups_of(&[LD_A3_A4, sub_a5_a4_a3, ld_a0_16_a5]);
        assert!(groups.begins(0).is_none() && groups.begins(2).is_none());
        // A base that is loaded anew.
        let ld_a4_a4 = 0x0007_3703;
        assert!(groups_of(&[ld_a4_a4, LD_A3_A4]).begins(0).is_none());
    }

    #[test]
    fn what_lies_far_off_and_what_is_behind_a_fence_begins_anew() {
        let ld_a0_1024_a4 = 0x4007_3503;
        assert!(groups_of(&[LD_A3_A4, ld_a0_1024_a4]).begins(0).is_none());
        let fence = 0x0ff0_000f;
        assert!(groups_of(&[LD_A3_A4, fence, LD_A3_A4]).begins(0).is_none());
        let groups = groups_of(&[LD_A3_A4, LD_A3_A4, fence, LD_A3_A4, LD_A3_A4]);
        assert!(groups.begins(0).is_some() && groups.begins(3).is_some());
    }
}
