//! Guest memory: the one place that knows how generated code reaches it.
//!
//! ```text
//!  a site with a slot: see `slots`; without one:
//!  entry = lane | (va >> 12 & 1023) * 32
//!  va - entry.tag <= 4096 - span   and   entry.{read,write} == space   ──► host = va + entry.addend
//!      no ──cold──► helper: fills the soft-TLB and does the access; addend leads to a bounce buffer
//! ```
//! Accesses of a block by the same base register are checked once, for the whole range they cover. If
//! that range is not plain memory of one page, the rest of the block is for the interpreter.

use std::collections::{HashMap, HashSet};

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, Value};
use cranelift_frontend::Variable;

use super::Lifter;
use crate::isa::Insn;
use crate::isa::effects::Effects;
use crate::isa::emit::{Mem, Size};
use crate::jit::abi::{Site, native};
use crate::jit::enter::Helper;
use crate::jit::region::RegionBlock;
use vm_mmu::{ENTRIES, Entry, PAGE};

/// Bytes that one group may span.
const SPAN: i64 = 512;

/// Accesses by one base register that share a check.
#[derive(Clone, Copy, Debug)]
struct Plan {
    base: u8,
    /// Offsets from the base: of the first byte, and of the last.
    low: i64,
    high: i64,
    /// Some of them are stores.
    write: bool,
}

/// A group whose check has been made.
#[derive(Clone, Copy, Debug)]
struct Open {
    plan: Plan,
    /// Host address of the base.
    host: Variable,
    /// Its stores look for code.
    beside: bool,
}

/// Groups of the block at hand.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By the index of the instruction that begins them.
    plans: HashMap<usize, Plan>,
    /// The other instructions that belong to one.
    members: HashSet<usize>,
    open: HashMap<u8, Open>,
}

impl Groups {
    /// No check made so far holds any longer.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// After an instruction: a base that changed has no group.
    pub fn after(&mut self, effects: &Effects) {
        self.open.retain(|&base, _| effects.x_written >> base & 1 == 0);
    }
}

/// A group in the making.
struct Draft {
    first: usize,
    others: Vec<usize>,
    plan: Plan,
}

/// Finds the groups of a block, whose instructions are at `sites`.
pub(super) fn plan(block: &RegionBlock, sites: &[Site]) -> Groups {
    let mut groups = Groups::default();
    let mut current: HashMap<u8, Draft> = HashMap::new();
    let mut close = |draft: Draft| {
        if !draft.others.is_empty() && !sites[draft.first].apart {
            groups.plans.insert(draft.first, draft.plan);
            groups.members.extend(draft.others);
        }
    };
    for (index, (insn, effects)) in block.insns.iter().zip(&block.effects).enumerate() {
        if effects.runtime || effects.orders {
            current.drain().for_each(|(_, draft)| close(draft));
        }
        if let Some((size, write)) = effects.access {
            let (low, high) = (i64::from(insn.imm), i64::from(insn.imm) + (1 << size as u8) - 1);
            let joined =
                current.get(&insn.rs1).map(|draft| (draft.plan.low.min(low), draft.plan.high.max(high)));
            match (joined, current.get_mut(&insn.rs1)) {
                (Some((low, high)), Some(draft)) if high - low < SPAN => {
                    draft.plan = Plan { low, high, write: draft.plan.write | write, ..draft.plan };
                    draft.others.push(index);
                }
                _ => {
                    let plan = Plan { base: insn.rs1, low, high, write };
                    let draft = Draft { first: index, others: Vec::new(), plan };
                    current.insert(insn.rs1, draft).into_iter().for_each(&mut close);
                }
            }
        }
        let changed: Vec<u8> = current.keys().copied().filter(|&r| effects.x_written >> r & 1 != 0).collect();
        changed.iter().filter_map(|base| current.remove(base)).for_each(&mut close);
    }
    current.into_values().for_each(&mut close);
    groups
}

/// Which instructions of a block check an access of their own or that of their group, and whether that has
/// to permit stores.
pub fn checks<'a>(
    block: &'a RegionBlock,
    sites: &[Site],
    group: bool,
) -> impl Iterator<Item = Option<bool>> + 'a {
    let groups = if group { plan(block, sites) } else { Groups::default() };
    block.effects.iter().enumerate().map(move |(at, effects)| {
        let (_, store) = effects.access.filter(|_| !effects.runtime && !groups.members.contains(&at))?;
        Some(groups.plans.get(&at).map_or(store, |plan| plan.write))
    })
}

/// What an entry of the soft-TLB has to permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Load,
    Store,
    /// A store that looks for code afterwards.
    Beside,
}

/// Where an access goes: a host address and an offset from it.
type Host = (Value, i32);

impl Lifter<'_, '_> {
    /// Makes the check of the group that begins at the instruction at hand.
    pub(super) fn open_group(&mut self, insn: &Insn) {
        let Some(&plan) = self.groups.plans.get(&self.insn) else { return };
        debug_assert_eq!(insn.rs1, plan.base);
        let base = self.base(plan.base);
        let addend = self.check(base, plan.low, plan.high - plan.low + 1, plan.write, |lifter, address| {
            let last = lifter.b.ins().iadd_imm_s(address, plan.high - plan.low);
            let write = lifter.iconst(plan.write.into());
            lifter.set_word(native!(address), address);
            lifter.set_word(native!(value), last);
            lifter.set_word(native!(addend), write);
            lifter.call(Helper::Range);
        });
        let host = self.b.declare_var(I64);
        let address = self.b.ins().iadd(base, addend);
        self.b.def_var(host, address);
        let beside = self.is_beside();
        self.groups.open.insert(plan.base, Open { plan, host, beside });
    }

    pub(super) fn base(&mut self, r: u8) -> Value {
        match r {
            0 => self.iconst(0),
            _ => {
                let var = self.x_var(r.into());
                self.b.use_var(var)
            }
        }
    }

    /// Checks `span` bytes from `base + low`; gives host address minus virtual address. `miss` calls a
    /// helper that leaves it in the hart's words.
    fn check(
        &mut self,
        base: Value,
        low: i64,
        span: i64,
        write: bool,
        miss: impl FnOnce(&mut Self, Value),
    ) -> Value {
        let address = if low == 0 { base } else { self.b.ins().iadd_imm_s(base, low) };
        let (cold, go_on) = (self.cold_block(), self.b.create_block());
        let result = self.b.append_block_param(go_on, I64);
        self.look_up_place(address, span, write, cold, go_on);
        self.go_on_in(cold);
        let address = self.address_anew(base, low);
        miss(self, address);
        let addend = self.addend();
        self.b.ins().jump(go_on, &[addend.into()]);
        self.go_on_in(go_on);
        result
    }

    /// Looks `span` bytes at `address` up as the site at hand does; goes on with the addend, or to `cold`.
    pub(super) fn look_up_place(
        &mut self,
        address: Value,
        span: i64,
        write: bool,
        cold: ir::Block,
        go_on: ir::Block,
    ) {
        match self.place.sites[self.first_insn + self.insn].slot {
            0 => {
                let right = match write {
                    true if self.is_beside() => Right::Beside,
                    true => Right::Store,
                    false => Right::Load,
                };
                self.look_in_tlb(address, span, right, cold, go_on);
            }
            slot => {
                let (hit, addend) = self.look_in_slot(slot, address, span);
                self.b.ins().brif(hit, go_on, &[addend.into()], cold, &[]);
            }
        }
    }

    /// `base + low`, for the cold path: made from the base by way of memory, or else the sum that the hot path
    /// made would have to be kept for it.
    fn address_anew(&mut self, base: Value, low: i64) -> Value {
        if low == 0 {
            return base;
        }
        self.set_word(native!(address), base);
        let (flags, offset) = (self.kinds.state, i64::from(native!(address)));
        let word = self.b.ins().iadd_imm_s(self.hart, offset);
        let base = self.b.ins().atomic_load(I64, flags, word);
        self.b.ins().iadd_imm_s(base, low)
    }

    /// Looks `span` bytes at `address` up in the soft-TLB; goes on with the addend, or to `cold`.
    pub(super) fn look_in_tlb(
        &mut self,
        address: Value,
        span: i64,
        right: Right,
        cold: ir::Block,
        go_on: ir::Block,
    ) {
        let flags = self.kinds.table;
        let shifted = self.b.ins().ushr_imm_s(address, 12 - 5);
        let index = self.b.ins().band_imm_s(shifted, (ENTRIES as i64 - 1) << 5);
        // Not a sum: the three loads are to go by one register.
        let lane = self.word(native!(lane));
        let entry = self.b.ins().bor(index, lane);
        let addend = self.b.ins().load(I64, flags, entry, Entry::ADDEND as i32);
        let tag = self.b.ins().load(I64, flags, entry, Entry::TAG as i32);
        let offset = self.b.ins().isub(address, tag);
        let inside = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThanOrEqual, offset, PAGE as i64 - span);
        let near = self.b.create_block();
        self.b.ins().brif(inside, near, &[], cold, &[]);
        self.go_on_in(near);
        let state = self.kinds.state;
        let space = self.b.ins().load(I32, state, self.hart, native!(space));
        let at = match right {
            Right::Load => Some(Entry::READ),
            Right::Store => Some(Entry::WRITE),
            Right::Beside => None,
        };
        let alive = match at {
            Some(at) => {
                let permitted = self.b.ins().load(I32, flags, entry, at as i32);
                self.b.ins().icmp(IntCC::Equal, permitted, space)
            }
            None => self.permits_beside(entry, space),
        };
        self.b.ins().brif(alive, go_on, &[addend.into()], cold, &[]);
    }

    /// The group whose check covers the access of `insn`.
    fn group_of(&self, insn: &Insn, size: Size, write: bool) -> Option<Open> {
        let (low, high) = (i64::from(insn.imm), i64::from(insn.imm) + (1 << size as u8) - 1);
        let open = self.groups.open.get(&insn.rs1)?;
        let covers = open.plan.low <= low && high <= open.plan.high && (open.plan.write || !write);
        covers.then_some(*open)
    }

    /// The host address of the access of `insn`; `value` is what a store stores.
    fn host(&mut self, insn: &Insn, size: Size, value: Option<Value>) -> Host {
        let imm = i64::from(insn.imm);
        if let Some(open) = self.group_of(insn, size, value.is_some()) {
            return (self.b.use_var(open.host), insn.imm);
        }
        let base = self.base(insn.rs1);
        let addend = self.check(base, imm, 1 << size as u8, value.is_some(), |lifter, address| {
            lifter.set_word(native!(address), address);
            match value {
                None => lifter.call(Helper::Load),
                Some(value) => {
                    let bits = lifter.bits_of(value);
                    lifter.set_word(native!(value), bits);
                    lifter.call(Helper::Store);
                }
            }
        });
        (self.b.ins().iadd(base, addend), insn.imm)
    }

    pub(super) fn bits_of(&mut self, value: Value) -> Value {
        match self.b.func.dfg.value_type(value) {
            F64 => self.b.ins().bitcast(I64, ir_flags(), value),
            F32 => {
                let word = self.b.ins().bitcast(I32, ir_flags(), value);
                self.b.ins().uextend(I64, word)
            }
            _ => value,
        }
    }

    /// Loads to an integer value.
    pub(super) fn load_int(&mut self, insn: &Insn, m: Mem) -> Value {
        let (host, offset) = self.host(insn, m.size, None);
        let flags = self.kinds.guest;
        let ins = self.b.ins();
        match (m.size, m.signed) {
            (Size::B, false) => ins.uload8(I64, flags, host, offset),
            (Size::B, true) => ins.sload8(I64, flags, host, offset),
            (Size::H, false) => ins.uload16(I64, flags, host, offset),
            (Size::H, true) => ins.sload16(I64, flags, host, offset),
            (Size::W, false) => ins.uload32(flags, host, offset),
            (Size::W, true) => ins.sload32(flags, host, offset),
            (Size::D, _) => ins.load(I64, flags, host, offset),
        }
    }

    /// Stores the low bytes of an integer or FP value.
    pub(super) fn store_value(&mut self, insn: &Insn, size: Size, value: Value) {
        let group = self.group_of(insn, size, true);
        if group.is_none() && self.is_beside() {
            return self.store_beside(insn, size, value);
        }
        let host = self.host(insn, size, Some(value));
        self.put(size, value, host);
        if group.is_some_and(|group| group.beside) {
            self.look_for_code(size, host);
        }
    }

    /// Loads a binary64 or binary32 value as it lies in memory.
    pub(super) fn load_float(&mut self, insn: &Insn, size: Size) -> Value {
        let (host, offset) = self.host(insn, size, None);
        let ty = if size == Size::D { F64 } else { F32 };
        let flags = self.kinds.guest;
        self.b.ins().load(ty, flags, host, offset)
    }
}

/// Flags of a bitcast: none.
pub(super) fn ir_flags() -> ir::MemFlagsData {
    ir::MemFlagsData::new()
}
