//! Guest memory: the one place that knows how generated code reaches it.
//!
//! ```text
//!  a site with a slot: see `slots`; without one:
//!  entry = lane + (va >> 12 & 8191) * 32
//!  va - entry.{load,store} <= 4096 - span   ──► host = va + entry.addend
//!      no ──cold──► helper: fills the soft-TLB and does the access; addend leads to a bounce buffer
//! ```
//! Accesses of a block that are of one [group](crate::jit::groups) are checked once, for the range they cover. If
//! that range is not plain memory of one page, the rest of the block is for the interpreter.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, Value};
use cranelift_frontend::Variable;

use super::Lifter;
use crate::isa::Insn;
use crate::isa::emit::{Mem, Size};
use crate::jit::abi::native;
use crate::jit::enter::Helper;
use crate::jit::groups::Groups;
use vm_mmu::{ENTRIES, Entry, PAGE};

/// A group whose check has been made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Its number in the block.
    pub number: usize,
    /// Host address of the base register of its first access.
    pub host: Variable,
    /// Its stores look for code.
    pub beside: bool,
}

/// Groups of the block at hand.
#[derive(Debug, Default)]
pub(super) struct BlockGroups {
    pub plan: Groups,
    open: Vec<Open>,
}

impl BlockGroups {
    /// No check made so far holds any longer.
    pub fn forget(&mut self) {
        self.open.clear();
    }
}

/// What a check is for.
#[derive(Clone, Copy, Debug)]
enum Accesses {
    Load,
    /// A store of this value.
    Store(Value),
    /// Several, some of them stores or none.
    Group {
        write: bool,
    },
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
        let Some((number, plan)) = self.groups.plan.begins(self.insn) else { return };
        if self.stream().is_some() {
            return;
        }
        let (low, span) = (i64::from(plan.low), i64::from(plan.high) - i64::from(plan.low) + 1);
        let base = self.base(insn.rs1);
        let addend = self.check(base, low, span, Accesses::Group { write: plan.write });
        let host = self.b.declare_var(I64);
        let address = self.b.ins().iadd(base, addend);
        self.b.def_var(host, address);
        let beside = self.is_beside();
        self.groups.open.push(Open { number, host, beside });
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

    /// Checks `span` bytes from `base + low`; gives host address minus virtual address.
    fn check(&mut self, base: Value, low: i64, span: i64, what: Accesses) -> Value {
        let address = if low == 0 { base } else { self.b.ins().iadd_imm_s(base, low) };
        let (cold, go_on) = (self.cold_block(), self.b.create_block());
        let result = self.b.append_block_param(go_on, I64);
        let (helper, write) = match what {
            Accesses::Load => (Helper::Load, false),
            Accesses::Store(_) => (Helper::Store, true),
            Accesses::Group { write } => (Helper::Range, write),
        };
        self.look_up_place(address, span, write, cold, go_on);
        self.go_on_in(cold);
        let address = self.address_anew(base, low);
        self.set_word(native!(address), address);
        if let Accesses::Group { write } = what {
            let last = self.b.ins().iadd_imm_s(address, span - 1);
            let write = self.iconst(write.into());
            self.set_word(native!(value), last);
            self.set_word(native!(addend), write);
        }
        if let Accesses::Store(value) = what {
            let bits = self.bits_of(value);
            self.set_word(native!(value), bits);
        }
        self.call(helper);
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
        let lane = self.word(native!(lane));
        let entry = self.b.ins().iadd(lane, index);
        let addend = self.b.ins().load(I64, flags, entry, Entry::ADDEND as i32);
        let tag = if right == Right::Store { Entry::STORE } else { Entry::LOAD };
        let tag = self.b.ins().load(I64, flags, entry, tag as i32);
        let offset = self.b.ins().isub(address, tag);
        let mut hit = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThanOrEqual, offset, PAGE as i64 - span);
        if right == Right::Beside {
            let permitted = self.permits_beside(entry);
            hit = self.b.ins().band(hit, permitted);
        }
        self.b.ins().brif(hit, go_on, &[addend.into()], cold, &[]);
    }

    /// The group whose check covers the access at hand, and where in it that lies.
    fn group(&self) -> Option<(Open, i32)> {
        if let Some(stream) = self.stream() {
            return Some(stream);
        }
        let (member, _) = self.groups.plan.of(self.insn)?;
        let open = self.groups.open.iter().find(|open| open.number == member.plan)?;
        Some((*open, member.offset))
    }

    /// The host address of the access of `insn`; `value` is what a store stores.
    fn host(&mut self, insn: &Insn, size: Size, value: Option<Value>) -> Host {
        let imm = i64::from(insn.imm);
        if let Some((open, offset)) = self.group() {
            return (self.b.use_var(open.host), offset);
        }
        let base = self.base(insn.rs1);
        let what = value.map_or(Accesses::Load, Accesses::Store);
        let addend = self.check(base, imm, 1 << size as u8, what);
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
        let group = self.group();
        if group.is_none() && self.is_beside() {
            return self.store_beside(insn, size, value);
        }
        let host = self.host(insn, size, Some(value));
        self.put(size, value, host);
        if group.is_some_and(|(group, _)| group.beside) {
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
