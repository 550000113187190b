//! How units are left and go on: within the region, through a cell, by way of the jump cache.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, Value};

use super::Lifter;
use crate::interp::jumps::layout;
use crate::isa::effects::Effects;
use crate::isa::emit::Flow;
use crate::isa::{Insn, execute};
use crate::jit::abi::{self, LAST_HALF, Leave, Return, native};
use crate::jit::region::{End, end_of};
use vm_mmu::PAGE;

impl Lifter<'_, '_> {
    /// Lifts one instruction; true if the block ends with it.
    pub(super) fn step(&mut self, insn: &Insn, effects: &Effects) -> bool {
        if effects.orders {
            self.groups.forget();
        }
        self.open_group(insn);
        let flow = match execute(self, insn) {
            Ok(flow) => flow,
            // Whatever always stops is for the runtime, and does not get here.
            Err(()) => return true,
        };
        match flow {
            Flow::Next => return false,
            Flow::Branch { cond, off } => self.branch(insn, cond, off),
            Flow::Jump { off } => {
                let to = self.offset() + off;
                if let End::Jump(_, true) = end_of(insn, effects)
                    && self.region.block_at(to).is_none()
                {
                    self.expect_return(insn);
                }
                self.go_to(to);
            }
            Flow::JumpReg { target } => match end_of(insn, effects) {
                End::Indirect { returns: true, .. } => {
                    self.return_within(target);
                    self.settle(target);
                    self.return_by_call(target);
                    self.by_jump_cache(target, true);
                }
                End::Indirect { call: true, .. } => {
                    self.expect_return(insn);
                    self.indirect(target);
                }
                _ => self.indirect(target),
            },
            Flow::Sync | Flow::Switch => self.go_to(self.offset() + i64::from(insn.len)),
        }
        true
    }

    fn branch(&mut self, insn: &Insn, cond: Value, off: i64) {
        self.settle_floats();
        let here = self.offset();
        let (taken, next) = (here + off, here + i64::from(insn.len));
        if self.select(cond, taken) {
            return;
        }
        // Each way has a block of its own, even within the region: what only that way needs is computed there.
        let (taken_block, next_block) = (self.b.create_block(), self.b.create_block());
        self.sides.extend([(taken_block, (self.at, 0)), (next_block, (self.at, 1))]);
        // The way that comes second is laid out next, so that a loop takes one jump.
        match self.compared {
            Some((value, code, a, b)) if value == cond && off <= 0 => {
                let other = self.b.ins().icmp(code.complement(), a, b);
                self.b.ins().brif(other, next_block, &[], taken_block, &[]);
            }
            _ => _ = self.b.ins().brif(cond, taken_block, &[], next_block, &[]),
        }
        let dirty = self.dirty;
        for (block, to) in [(taken_block, taken), (next_block, next)] {
            self.go_on_in(block);
            match self.region.block_at(to) {
                Some(at) => {
                    let to = self.way_to(at);
                    self.b.ins().jump(to, &[]);
                }
                None => {
                    self.dirty = dirty;
                    self.exit_to(to);
                }
            }
        }
    }

    /// Ends the block by going to `offset` from the page's start.
    pub(super) fn go_to(&mut self, offset: i64) {
        match self.region.block_at(offset) {
            Some(at) => {
                self.settle_floats();
                self.b.ins().jump(self.blocks[at], &[]);
            }
            None => self.exit_to(offset),
        }
    }

    /// Leaves the region for `offset`.
    fn exit_to(&mut self, offset: i64) {
        if !(0..LAST_HALF).contains(&offset) {
            let target = self.address_of(offset);
            return self.indirect(target);
        }
        self.spill();
        self.set_pc(offset);
        self.settle_count();
        let cell = self.cell(offset as u16);
        self.jump_through(cell, self.page);
    }

    /// A return to a call of this region is a jump; what is left is any other.
    fn return_within(&mut self, target: Value) {
        self.settle_floats();
        let region = self.region;
        for &offset in &region.returns {
            let Some(at) = region.block_at(offset.into()) else { continue };
            let expected = self.address_of(offset.into());
            let equal = self.b.ins().icmp(IntCC::Equal, target, expected);
            let other = self.b.create_block();
            self.b.ins().brif(equal, self.blocks[at], &[], other, &[]);
            self.go_on_in(other);
        }
    }

    /// The call at hand leaves the region: notes where it comes back to.
    fn expect_return(&mut self, insn: &Insn) {
        let back = self.offset() + i64::from(insn.len);
        if !self.knows_returns() || back >= LAST_HALF {
            return;
        }
        let at = native!(returns) + Return::place(back);
        let pc = self.address_of(back);
        self.set_word(at + offset_of!(Return, pc) as i32, pc);
        let cell = self.cell(back as u16);
        self.set_word(at + offset_of!(Return, cell) as i32, cell);
    }

    fn knows_returns(&self) -> bool {
        self.place.options.returns && !self.place.options.alone
    }

    /// Leaves the region for where some call of late comes back to, if that is `target`; else goes on.
    fn return_by_call(&mut self, target: Value) {
        if !self.knows_returns() {
            return;
        }
        let flags = self.kinds.state;
        let place = self.b.ins().ishl_imm_u(target, i64::from(Return::LEFT));
        let place = self.b.ins().band_imm_s(place, i64::from(Return::MASK));
        let known = self.b.ins().iadd(self.hart, place);
        let first = native!(returns);
        let pc = self.b.ins().load(I64, flags, known, first + offset_of!(Return, pc) as i32);
        let same = self.b.ins().icmp(IntCC::Equal, pc, target);
        let (hit, other) = (self.b.create_block(), self.cold_block());
        self.b.ins().brif(same, hit, &[], other, &[]);
        self.go_on_in(hit);
        let cell = self.b.ins().load(I64, flags, known, first + offset_of!(Return, cell) as i32);
        let page = self.b.ins().band_imm_s(target, -(PAGE as i64));
        self.jump_through(cell, page);
        self.go_on_in(other);
    }

    /// Makes the hart's state whole for leaving the region for the virtual address `target`.
    fn settle(&mut self, target: Value) {
        self.spill();
        self.set_word(abi::pc_offset(), target);
        self.settle_count();
    }

    /// Leaves the region for the virtual address `target`, by the jump cache.
    fn indirect(&mut self, target: Value) {
        self.settle(target);
        self.by_jump_cache(target, false);
    }

    /// The same, the hart's state being whole; if `rarely`, as cold code.
    fn by_jump_cache(&mut self, target: Value, rarely: bool) {
        let slot = self.jump_slot(target);
        let flags = self.kinds.table;
        let user = self.fixed_word(native!(user));
        let key = self.b.ins().bor(target, user);
        let found = self.b.ins().load(I64, flags, slot, layout::PC);
        let same = self.b.ins().icmp(IntCC::Equal, key, found);
        let (hit, alive, miss) = (self.b.create_block(), self.b.create_block(), self.cold_block());
        if rarely && self.knows_returns() {
            self.b.set_cold_block(hit);
            self.b.set_cold_block(alive);
        }
        self.b.ins().brif(same, hit, &[], miss, &[]);
        self.go_on_in(hit);
        let space = self.b.ins().load(I32, flags, slot, layout::SPACE);
        let now = self.fixed_word(native!(fetch_space));
        let now = self.b.ins().ireduce(I32, now);
        let same = self.b.ins().icmp(IntCC::Equal, space, now);
        self.b.ins().brif(same, alive, &[], miss, &[]);
        self.go_on_in(alive);
        let cell = self.b.ins().load(I64, flags, slot, layout::CELL);
        let page = self.b.ins().band_imm_s(target, -(PAGE as i64));
        self.jump_through(cell, page);
        self.go_on_in(miss);
        self.leave(Leave::Dispatch);
    }

    /// Address of the jump cache's slot for a virtual address: `jumps::place`, in code.
    fn jump_slot(&mut self, target: Value) -> Value {
        let within = self.b.ins().ishl_imm_u(target, i64::from(layout::LEFT));
        let page = self.b.ins().ushr_imm_s(target, 12);
        let start = self.b.ins().imul_imm_s(page, i64::from(layout::FACTOR));
        let place = self.b.ins().iadd(within, start);
        let offset = self.b.ins().band_imm_s(place, i64::from(layout::MASK));
        let jumps = self.fixed_word(native!(jumps));
        self.b.ins().iadd(jumps, offset)
    }

    /// Jumps to what the cell holds.
    fn jump_through(&mut self, cell: Value, page: Value) {
        if self.place.options.alone {
            return self.leave(Leave::Dispatch);
        }
        let flags = self.kinds.table;
        let code = self.b.ins().load(I64, flags, cell, 0);
        let zero = self.iconst(0);
        let signature: ir::SigRef = self.unit_sig;
        self.b.ins().return_call_indirect(signature, code, &[page, zero]);
    }
}
