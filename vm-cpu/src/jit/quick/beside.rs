//! Stores beside code, at sites that were seen to make them: as in the lifter's `beside`.

use super::Writer;
use super::asm::{Alu, Cond, R15, RAX, RCX, RDX, Reg, Shift};
use super::exits::{Jump, Target};
use super::value::Operand;
use crate::isa::Insn;
use crate::isa::emit::{Mem, Size};
use crate::jit::abi::native;
use crate::jit::enter::Helper;
use vm_mmu::{Entry, PAGE};

impl Writer<'_> {
    /// Whether a check for stores at the instruction at hand is for such as look for code.
    pub(super) fn is_beside(&self) -> bool {
        self.sites[self.chosen[self.at].first + self.insn].beside
    }

    /// Cold code: after a look into the soft-TLB with the address in rax and the entry in rcx, goes back if the
    /// page is shared.
    pub(super) fn try_beside(&mut self, span: i32) {
        self.cold.mov(RDX, RAX);
        self.cold.alu_load(Alu::Sub, RDX, RCX, Entry::LOAD as i32);
        self.cold.alu_value(Alu::Cmp, RDX, PAGE as i32 - span);
        let outside = self.cold.skip_if(Cond::Above);
        self.cold.load(Mem::U32, RDX, RCX, Entry::FLAGS as i32);
        self.cold.alu_word_value(Alu::And, RDX, Entry::BESIDE as i32);
        let apart = self.cold.skip_if(Cond::Equal);
        self.cold.alu_load(Alu::Add, RAX, RCX, Entry::ADDEND as i32);
        self.come_back();
        self.cold.land(outside);
        self.cold.land(apart);
    }

    /// A store with a check of its own.
    pub(super) fn store_beside(&mut self, insn: &Insn, size: Size, value: Operand) {
        let base = self.read(insn.rs1);
        self.address(base, insn.imm);
        let mut done = 0;
        self.look_up(1 << size as u8, true, |writer| {
            writer.hand_over(value);
            writer.call_with_address(Helper::StoreBeside);
            done = writer.cold.jmp();
        });
        self.put_in_place(size, RAX, 0, value);
        self.look_for_code(size, RAX, 0);
        self.jumps.push(Jump { at: done, cold: true, to: Target::Hot(self.hot.len()) });
    }

    /// After a store to a host address: has translations killed if it hit code.
    pub(super) fn look_for_code(&mut self, size: Size, base: Reg, offset: i32) {
        if (base, offset) != (RAX, 0) {
            self.hot.lea(RAX, base, offset);
        }
        self.hot.mov(RCX, RAX);
        self.hot.shift(Shift::Shr, RCX, 12 - 3);
        self.hot.alu_value(Alu::And, RCX, -8);
        self.hot.alu_load(Alu::Add, RCX, R15, native!(granules));
        self.hot.load(Mem::U64, RDX, RCX, 0);
        self.hot.mov(RCX, RAX);
        self.hot.shift(Shift::Shr, RCX, 6);
        self.hot.shift_by_cl(Shift::Shr, RDX);
        self.hot.alu_word_value(Alu::And, RDX, 1);
        if size != Size::B {
            self.hot.mov(RCX, RAX);
            self.hot.alu_word_value(Alu::And, RCX, (1 << size as u8) - 1);
            self.hot.alu(Alu::Or, RDX, RCX);
        }
        let suspect = self.hot.jcc(Cond::NotEqual);
        self.go_cold(&[suspect]);
        self.call_with_address(Helper::Written);
        self.come_back();
    }
}
