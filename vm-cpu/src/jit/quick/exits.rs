//! How blocks are entered and left, and how the pieces of a unit come together.

use std::mem::offset_of;

use super::asm::{Alu, Cond, R15, RAX, RCX, RDI, RDX, Reg, Shift};
use super::value::{Operand, Value, condition};
use super::{Quick, Writer};
use crate::interp::jumps::layout;
use crate::isa::emit::{Mem, Size};
use crate::jit::abi::{self, LAST_HALF, Leave, Return, native};
use crate::jit::enter::Helper;
use crate::jit::region::End;
use vm_mmu::PAGE;

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A place in the hot code, or in the cold.
    Hot(usize),
    Cold(usize),
    /// The body of a block.
    Body(usize),
    /// Back to the dispatcher, pc being set.
    Leave(Leave),
    /// The virtual address in rax, by the jump cache.
    Indirect,
    /// The same, if no call of late comes back there.
    Return,
    /// A helper, for the site in rcx.
    Helper(Helper),
}

/// A distance to be filled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    pub at: usize,
    pub cold: bool,
    pub to: Target,
}

impl Writer<'_> {
    /// The jumps at these places of the hot code lead to the cold code that follows.
    pub(super) fn go_cold(&mut self, places: &[usize]) {
        let to = Target::Cold(self.cold.len());
        self.jumps.extend(places.iter().map(|&at| Jump { at, cold: false, to }));
    }

    /// From the cold code back to where the hot code is.
    pub(super) fn come_back(&mut self) {
        self.jump_cold(Target::Hot(self.hot.len()));
    }

    pub(super) fn jump_cold(&mut self, to: Target) {
        let at = self.cold.jmp();
        self.jumps.push(Jump { at, cold: true, to });
    }

    pub(super) fn jump_hot(&mut self, to: Target) {
        let at = self.hot.jmp();
        self.jumps.push(Jump { at, cold: false, to });
    }

    /// Cold code: calls `helper` for the instruction at hand with the hart's state whole; rax may change.
    pub(super) fn call_cold(&mut self, helper: Helper) {
        Self::store_dirty(&self.regs, self.cold, RDX);
        self.cold.set_address(RCX, self.site());
        let at = self.cold.call();
        self.jumps.push(Jump { at, cold: true, to: Target::Helper(helper) });
    }

    /// Likewise, on the usual way.
    pub(super) fn call_hot(&mut self, helper: Helper) {
        self.settle();
        self.hot.set_address(RCX, self.site());
        let at = self.hot.call();
        self.jumps.push(Jump { at, cold: false, to: Target::Helper(helper) });
    }

    /// The entry and the body of the block at hand begin.
    pub(super) fn begin(&mut self, falls_in: bool) {
        let entry = if falls_in {
            let entry = self.cold.len();
            self.prologue(true);
            self.jump_cold(Target::Body(self.at));
            Target::Cold(entry)
        } else {
            let entry = self.hot.len();
            self.prologue(false);
            Target::Hot(entry)
        };
        self.entries.push(entry);
        self.bodies.push(self.hot.len());
        let block = self.chosen[self.at];
        let effects = &self.effects[block.first..block.first + block.len];
        let patience = match effects.iter().any(|effects| effects.float.is_some()) {
            true => self.float_patience,
            false => self.patience,
        };
        let counter = self.heat.start(self.page + u64::from(block.offset), patience, self.now);
        self.hot.set_address(RAX, counter);
        self.hot.inc_word(RAX);
        self.leave_at_start(Cond::NotSign, Leave::Hot);
        if let Some(condition) = self.float_condition() {
            self.hot.alu_memory(Size::D, Alu::Cmp, R15, condition, 0);
            self.leave_at_start(Cond::Equal, Leave::Interpret);
        }
        self.hot.alu_memory(Size::D, Alu::Add, R15, abi::retired_offset(), block.len as i32);
        if self.counted {
            self.hot.alu_memory(Size::D, Alu::Add, R15, native!(here), block.len as i32);
        }
    }

    /// Says that the unit was entered, and leaves if attention is wanted.
    fn prologue(&mut self, cold: bool) {
        let number = self.number as i32;
        let code = if cold { &mut *self.cold } else { &mut *self.hot };
        code.load(Mem::U64, RAX, R15, native!(touched));
        code.store_value(Size::B, RAX, number, 1);
        code.load(Mem::U64, RAX, R15, native!(attention));
        code.alu_memory(Size::W, Alu::Cmp, RAX, 0, 0);
        let at = code.jcc(Cond::NotEqual);
        self.jumps.push(Jump { at, cold, to: Target::Leave(Leave::Attention) });
    }

    /// Ends the block at hand by a branch to one of two offsets in the page; whether it falls into the next.
    pub(super) fn branch(&mut self, cond: Value, taken: i64, next: i64) -> bool {
        let cond = match cond {
            Value::Imm(known) => {
                self.settle();
                return self.go_to(if known != 0 { taken } else { next });
            }
            Value::Compared(op, a, b) => {
                self.settle();
                self.compare(a, b);
                condition(op)
            }
            other => {
                let bit = self.host(other);
                self.settle();
                self.compare(bit, Operand::Imm(0));
                Cond::NotEqual
            }
        };
        if self.follows(taken) && !self.follows(next) {
            self.go_if(cond.negated(), next);
            return true;
        }
        self.go_if(cond, taken);
        self.go_to(next)
    }

    /// Whether the block at `offset` is the next of the unit.
    fn follows(&self, offset: i64) -> bool {
        self.chosen.get(self.at + 1).is_some_and(|block| i64::from(block.offset) == offset)
    }

    /// The block at `offset`, if it comes later in the unit.
    fn later(&self, offset: i64) -> Option<usize> {
        let later = self.chosen[self.at + 1..].iter().position(|block| i64::from(block.offset) == offset);
        later.map(|at| self.at + 1 + at)
    }

    fn go_if(&mut self, cond: Cond, offset: i64) {
        let at = self.hot.jcc(cond);
        match self.later(offset) {
            Some(block) => self.jumps.push(Jump { at, cold: false, to: Target::Body(block) }),
            None => {
                self.go_cold(&[at]);
                self.leave_for(offset, true);
            }
        }
    }

    /// Goes to `offset`, all registers being settled; whether by falling into the next block.
    pub(super) fn go_to(&mut self, offset: i64) -> bool {
        if self.follows(offset) {
            return true;
        }
        match self.later(offset) {
            Some(block) => self.jump_hot(Target::Body(block)),
            None => self.leave_for(offset, false),
        }
        false
    }

    /// Leaves the unit for `offset` from the page's start.
    fn leave_for(&mut self, offset: i64, cold: bool) {
        let inside = (0..LAST_HALF).contains(&offset);
        let code = if cold { &mut *self.cold } else { &mut *self.hot };
        // Branches reach a mebibyte.
        code.lea(RAX, RDI, offset as i32);
        if !inside {
            let at = code.jmp();
            self.jumps.push(Jump { at, cold, to: Target::Indirect });
            return;
        }
        code.store(Size::D, R15, abi::pc_offset(), RAX);
        if self.alone {
            let at = code.jmp();
            self.jumps.push(Jump { at, cold, to: Target::Leave(Leave::Dispatch) });
            return;
        }
        let at = code.set_address(RAX, 0);
        code.jmp_memory(RAX, 0);
        let links = if cold { &mut *self.cold_links } else { &mut *self.links };
        links.push((at, self.page + offset as u64));
    }

    /// Leaves the unit for a virtual address, by an instruction that ends as told; a call comes back to `next`.
    pub(super) fn indirect(&mut self, target: Value, end: End, next: i64) {
        self.put(RCX, target);
        // It uses rax, as a scratch.
        self.settle();
        let to = match end {
            End::Indirect { returns: true, .. } if self.returns => Target::Return,
            End::Indirect { call: true, .. } => {
                self.expect_return(next);
                Target::Indirect
            }
            _ => Target::Indirect,
        };
        self.hot.mov(RAX, RCX);
        self.jump_hot(to);
    }

    /// The call at hand comes back to `next`, if to this page. Takes rax and rdx.
    pub(super) fn expect_return(&mut self, next: i64) {
        if !self.returns || next >= LAST_HALF {
            return;
        }
        let at = native!(returns) + Return::place(next);
        self.hot.lea(RAX, RDI, next as i32);
        self.hot.store(Size::D, R15, at + offset_of!(Return, pc) as i32, RAX);
        let cell = self.hot.set_address(RDX, 0);
        self.hot.store(Size::D, R15, at + offset_of!(Return, cell) as i32, RDX);
        self.links.push((cell, self.page + next as u64));
    }

    /// Puts the pieces together: the cold code after the hot, and all distances.
    pub(super) fn finish(&mut self) {
        let mut shared: Vec<(Target, usize)> = Vec::new();
        for index in 0..self.jumps.len() {
            let to = self.jumps[index].to;
            let common =
                matches!(to, Target::Leave(_) | Target::Indirect | Target::Return | Target::Helper(_));
            if common && !shared.iter().any(|&(target, _)| target == to) {
                shared.push((to, self.cold.len()));
                self.common(to);
            }
        }
        let base = self.hot.len();
        self.hot.bytes.extend_from_slice(&self.cold.bytes);
        let place = |target: Target, bodies: &[usize]| match target {
            Target::Hot(at) => at,
            Target::Cold(at) => base + at,
            Target::Body(block) => bodies[block],
            _ => shared.iter().find(|&&(known, _)| known == target).map_or(0, |&(_, at)| base + at),
        };
        for jump in self.jumps.iter() {
            let at = if jump.cold { base + jump.at } else { jump.at };
            let to = place(jump.to, self.bodies);
            self.hot.patch(at, (to as i64 - at as i64 - 4) as i32);
        }
        for entry in self.entries.iter_mut() {
            *entry = Target::Hot(place(*entry, self.bodies));
        }
        self.links.extend(self.cold_links.iter().map(|&(at, gpa)| (base + at, gpa)));
    }

    /// Code that several places of the unit share.
    fn common(&mut self, target: Target) {
        match target {
            Target::Leave(why) => self.give_back(why),
            Target::Indirect => self.look_up_jump(),
            Target::Return => self.return_by_call(),
            Target::Helper(helper) => {
                self.cold.store(Size::D, R15, native!(site), RCX);
                self.cold.store(Size::D, R15, native!(page), RDI);
                self.cold.store_value(Size::D, R15, native!(pending), 0);
                self.cold.set_address(RAX, helper.address(false));
                self.cold.jmp_reg(RAX);
            }
            Target::Hot(_) | Target::Cold(_) | Target::Body(_) => {}
        }
    }

    fn give_back(&mut self, why: Leave) {
        self.cold.store_value(Size::D, R15, native!(exit), why as i32);
        self.cold.ret();
    }

    /// To the virtual address in rax, where some call of late comes back to or the jump cache leads.
    fn return_by_call(&mut self) {
        let code = &mut *self.cold;
        let first = native!(returns);
        code.mov(RCX, RAX);
        code.shift(Shift::Shl, RCX, Return::LEFT);
        code.alu_word_value(Alu::And, RCX, Return::MASK);
        code.alu(Alu::Add, RCX, R15);
        code.alu_load(Alu::Cmp, RAX, RCX, first + offset_of!(Return, pc) as i32);
        let other = code.skip_if(Cond::NotEqual);
        code.store(Size::D, R15, abi::pc_offset(), RAX);
        code.mov(RDI, RAX);
        code.alu_value(Alu::And, RDI, -(PAGE as i32));
        code.load(Mem::U64, RCX, RCX, first + offset_of!(Return, cell) as i32);
        code.jmp_memory(RCX, 0);
        code.land(other);
        self.look_up_jump();
    }

    /// To the virtual address in rax: `Jumps::get`, in code.
    fn look_up_jump(&mut self) {
        let code = &mut *self.cold;
        let (slot, key): (Reg, Reg) = (RCX, RDX);
        code.store(Size::D, R15, abi::pc_offset(), RAX);
        if self.alone {
            return self.give_back(Leave::Dispatch);
        }
        code.mov(slot, RAX);
        code.shift(Shift::Shl, slot, layout::LEFT);
        code.mov(key, RAX);
        code.shift(Shift::Shr, key, 12);
        code.imul_value(key, key, layout::FACTOR);
        code.alu(Alu::Add, slot, key);
        code.alu_word_value(Alu::And, slot, layout::MASK);
        code.alu_load(Alu::Add, slot, R15, native!(jumps));
        code.mov(key, RAX);
        code.alu_load(Alu::Or, key, R15, native!(user));
        code.alu_load(Alu::Cmp, key, slot, layout::PC);
        let other = code.skip_if(Cond::NotEqual);
        code.load(Mem::U32, key, R15, native!(fetch_space));
        code.alu_load_word(Alu::Cmp, key, slot, layout::SPACE);
        let dead = code.skip_if(Cond::NotEqual);
        code.mov(RDI, RAX);
        code.alu_value(Alu::And, RDI, -(PAGE as i32));
        code.load(Mem::U64, slot, slot, layout::CELL);
        code.jmp_memory(slot, 0);
        code.land(other);
        code.land(dead);
        self.give_back(Leave::Dispatch);
    }
}

impl Quick {
    /// The code of the last unit.
    pub(super) fn code(&self) -> &[u8] {
        &self.hot.bytes
    }
}
