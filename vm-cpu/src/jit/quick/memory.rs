//! Guest memory: the look into the soft-TLB, written out at each access, and what comes of a miss.
//!
//! ```text
//!  rax = address   rcx = entry   rdx = address - entry.{load,store}
//!     hit: rax = host address ──► the access
//!    miss ──► cold: hart's state made whole, helper, rax = bounce buffer ──► the access, harmless
//! ```
//! Accesses of a block that are of one [group](crate::jit::groups) are checked once, for the range they cover;
//! the host address of the first one's base then stays in a register.

use super::Writer;
use super::asm::{Alu, Cond, R15, RAX, RCX, RDX, Reg, Shift};
use super::value::{Operand, Value};
use crate::isa::Insn;
use crate::isa::effects::Effects;
use crate::isa::emit::{Amo, Mem, Size};
use crate::jit::abi::{Site, native};
use crate::jit::enter::Helper;
use crate::jit::groups::Groups;
use vm_mmu::{ENTRIES, Entry, PAGE};

/// A group whose check has been made.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Its number in the block, and its last access.
    number: usize,
    last: usize,
    /// Host address of the base register of its first access.
    host: Reg,
    /// Its stores look for code.
    beside: bool,
}

/// Groups of the block at hand.
#[derive(Debug, Default)]
pub(super) struct BlockGroups {
    plan: Groups,
    open: Vec<Open>,
}

impl BlockGroups {
    /// Finds the groups of a block.
    pub fn plan(&mut self, sites: &[Site], effects: &[Effects]) {
        self.plan.plan(sites, effects, |effects| effects.float.is_some());
        self.open.clear();
    }

    /// A group has lost its register.
    pub fn close_host(&mut self, host: Reg) {
        self.open.retain(|open| open.host != host);
    }
}

impl Writer<'_> {
    /// No check made so far holds any longer.
    pub(super) fn forget_groups(&mut self) {
        self.regs.bases = 0;
        self.groups.open.clear();
    }

    /// After an instruction: a group whose last access it was needs its register no longer.
    pub(super) fn groups_after(&mut self) {
        let (regs, now) = (&mut self.regs, self.insn);
        self.groups.open.retain(|open| {
            let keep = open.last > now;
            if !keep {
                regs.release_base(open.host);
            }
            keep
        });
    }

    /// Makes the check of the group that begins at the instruction at hand.
    pub(super) fn open_group(&mut self, insn: &Insn) {
        let Some((number, plan)) = self.groups.plan.begins(self.insn) else { return };
        let base = self.read(insn.rs1);
        self.address(base, plan.low);
        let span = plan.high - plan.low + 1;
        self.look_up(span, plan.write, |writer| {
            writer.cold.lea(RDX, RAX, plan.high - plan.low);
            writer.cold.store(Size::D, R15, native!(value), RDX);
            writer.cold.store_value(Size::D, R15, native!(addend), plan.write.into());
            writer.call_with_address(Helper::Range);
            writer.cold.load(Mem::U64, RAX, R15, native!(address));
            writer.cold.alu_load(Alu::Add, RAX, R15, native!(addend));
        });
        let host = self.temporary();
        self.hot.lea(host, RAX, -plan.low);
        self.keep_as_base(host);
        let beside = plan.write && self.is_beside();
        self.groups.open.push(Open { number, last: plan.last, host, beside });
    }

    /// `rax = base + offset`
    pub(super) fn address(&mut self, base: Value, offset: i32) {
        match base {
            Value::Host(base) => self.hot.lea(RAX, base, offset),
            Value::Imm(base) => self.put(RAX, Value::Imm(base.wrapping_add(offset.into()))),
            Value::Page(base) => self.put(RAX, Value::Page(base.wrapping_add(offset.into()))),
            Value::Sum(base, plus) => self.hot.lea(RAX, base, plus.wrapping_add(offset)),
            Value::Compared(..) => {
                self.put(RAX, base);
                self.hot.lea(RAX, RAX, offset);
            }
        }
    }

    /// From a virtual address in rax to a host address there, if all `span` bytes are permitted; else `miss`
    /// has to see to it, in the cold code.
    pub(super) fn look_up(&mut self, span: i32, write: bool, miss: impl FnOnce(&mut Self)) {
        self.hot.mov_word(RCX, RAX);
        self.hot.shift_word(Shift::Shr, RCX, 12 - 5);
        self.hot.alu_word_value(Alu::And, RCX, (ENTRIES as i32 - 1) << 5);
        self.hot.alu_load(Alu::Add, RCX, R15, native!(lane));
        self.hot.mov(RDX, RAX);
        let tag = if write { Entry::STORE } else { Entry::LOAD };
        self.hot.alu_load(Alu::Sub, RDX, RCX, tag as i32);
        self.hot.alu_value(Alu::Cmp, RDX, PAGE as i32 - span);
        let missed = self.hot.jcc(Cond::Above);
        self.hot.alu_load(Alu::Add, RAX, RCX, Entry::ADDEND as i32);
        self.go_cold(&[missed]);
        if write && self.is_beside() {
            self.try_beside(span);
        }
        miss(self);
        self.come_back();
    }

    /// Cold code: calls a helper with the address in rax.
    pub(super) fn call_with_address(&mut self, helper: Helper) {
        self.cold.store(Size::D, R15, native!(address), RAX);
        self.call_cold(helper);
    }

    /// The group whose check covers the access at hand, and where in it that lies.
    fn group(&self) -> Option<(Open, i32)> {
        let (member, _) = self.groups.plan.of(self.insn)?;
        let open = self.groups.open.iter().find(|open| open.number == member.plan)?;
        Some((*open, member.offset))
    }

    /// The host address of the access of `insn`, as a register and an offset.
    fn place(&mut self, insn: &Insn, size: Size, stored: Option<Operand>) -> (Reg, i32) {
        if let Some((open, offset)) = self.group() {
            return (open.host, offset);
        }
        let base = self.read(insn.rs1);
        self.address(base, insn.imm);
        self.look_up(1 << size as u8, stored.is_some(), |writer| {
            let helper = match stored {
                None => Helper::Load,
                Some(value) => {
                    writer.hand_over(value);
                    Helper::Store
                }
            };
            writer.call_with_address(helper);
            // What was loaded is there, and what was stored may be stored there again.
            writer.cold.lea(RAX, R15, native!(bounce));
        });
        (RAX, 0)
    }

    pub(super) fn load_value(&mut self, insn: &Insn, m: Mem) -> Value {
        let (base, offset) = self.place(insn, m.size, None);
        let to = self.temporary();
        self.hot.load(m, to, base, offset);
        Value::Host(to)
    }

    pub(super) fn store_value(&mut self, insn: &Insn, size: Size, value: Value) {
        let value = self.operand(value);
        let group = self.group();
        if group.is_none() && self.is_beside() {
            return self.store_beside(insn, size, value);
        }
        let (base, offset) = self.place(insn, size, Some(value));
        self.put_in_place(size, base, offset, value);
        if group.is_some_and(|(group, _)| group.beside) {
            self.look_for_code(size, base, offset);
        }
    }

    pub(super) fn put_in_place(&mut self, size: Size, base: Reg, offset: i32, value: Operand) {
        match value {
            Operand::Host(value) => self.hot.store(size, base, offset, value),
            Operand::Imm(value) => self.hot.store_value(size, base, offset, value),
        }
    }

    /// Cold code: makes a value that is stored a helper's operand.
    pub(super) fn hand_over(&mut self, value: Operand) {
        match value {
            Operand::Host(value) => self.cold.store(Size::D, R15, native!(value), value),
            Operand::Imm(value) => self.cold.store_value(Size::D, R15, native!(value), value),
        }
    }

    /// Atomic read-modify-write at the address in `rs1`; gives the old value, sign-extended. What the
    /// soft-TLB does not permit, the runtime does as a whole. `None` if it always should.
    pub(super) fn atomic(&mut self, insn: &Insn, size: Size, op: Amo, operand: Value) -> Option<Value> {
        if matches!(op, Amo::Min | Amo::Max | Amo::Minu | Amo::Maxu) {
            return None;
        }
        let base = self.read(insn.rs1);
        let operand = self.host(operand);
        let to = self.temporary();
        self.address(base, 0);
        self.hot.test_byte(RAX, (1 << size as u8) - 1);
        let misaligned = self.hot.jcc(Cond::NotEqual);
        // After it the result is where the helper leaves it.
        let mut cold = None;
        self.look_up_for_update(misaligned, &mut cold);
        self.modify(size, op, to, operand, insn.rd == 0);
        if size != Size::D && insn.rd != 0 {
            self.hot.extend(Mem::S32, to, to);
        }
        self.go_cold(&cold.unwrap_or_default());
        self.call_cold(Helper::Execute);
        self.cold.load(Mem::U64, to, R15, crate::jit::abi::x_offset(insn.rd.into()));
        self.come_back();
        Some(Value::Host(to))
    }

    /// As [`Writer::look_up`] for a page that may be written, the ways to a miss being given back.
    fn look_up_for_update(&mut self, misaligned: usize, cold: &mut Option<[usize; 2]>) {
        self.hot.mov_word(RCX, RAX);
        self.hot.shift_word(Shift::Shr, RCX, 12 - 5);
        self.hot.alu_word_value(Alu::And, RCX, (ENTRIES as i32 - 1) << 5);
        self.hot.alu_load(Alu::Add, RCX, R15, native!(lane));
        self.hot.mov(RDX, RAX);
        self.hot.alu_load(Alu::Sub, RDX, RCX, Entry::STORE as i32);
        self.hot.alu_value(Alu::Cmp, RDX, PAGE as i32);
        let missed = self.hot.jcc(Cond::NotBelow);
        self.hot.alu_load(Alu::Add, RAX, RCX, Entry::ADDEND as i32);
        *cold = Some([misaligned, missed]);
    }

    /// At the host address in rax; `to` becomes what was there, unless that is `unused`.
    fn modify(&mut self, size: Size, op: Amo, to: Reg, operand: Reg, unused: bool) {
        let alu = match op {
            Amo::Swap => {
                self.hot.mov(to, operand);
                return self.hot.xchg(size, RAX, to);
            }
            Amo::Add => {
                self.hot.mov(to, operand);
                return self.hot.lock_xadd(size, RAX, to);
            }
            Amo::And => Alu::And,
            Amo::Or => Alu::Or,
            _ => Alu::Xor,
        };
        if unused {
            return self.hot.lock_alu(size, alu, RAX, operand);
        }
        self.hot.mov(RCX, RAX);
        self.hot.load(Mem { size, signed: false }, RAX, RCX, 0);
        let again = self.hot.len();
        self.hot.mov(RDX, RAX);
        self.hot.alu(alu, RDX, operand);
        self.hot.lock_cmpxchg(size, RCX, RDX);
        self.hot.back_if(Cond::NotEqual, again);
        self.hot.mov(to, RAX);
    }
}
