//! The unit's inline caches: that they are of this address space, and an access through one.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{self, InstBuilder, Value};
use std::mem::offset_of;

use super::Lifter;
use crate::jit::abi::{Leave, native};
use crate::jit::enter::{Helper, slot_offset};
use crate::jit::slots::{Slot, SlotSpan};
use vm_mmu::PAGE;

impl Lifter<'_, '_> {
    /// At an entry: makes the unit's slots valid for what the hart's stamp names.
    pub(super) fn own_slots(&mut self, at: usize) {
        let Some(range) = self.place.slots else { return };
        let (go_on, others) = self.check_header(range);
        self.go_on_in(others);
        let operands = [
            (native!(address), i64::from(range.first)),
            (native!(value), range.len.into()),
            (native!(addend), range.key.into()),
            (native!(stores), range.stores.into()),
        ];
        for (word, operand) in operands {
            let operand = self.iconst(operand);
            self.set_word(word, operand);
        }
        let number = self.number();
        self.set_word(native!(slot), number);
        let first: usize = self.region.blocks[..at].iter().map(|block| block.insns.len()).sum();
        self.call_for(Helper::Slots, first);
        self.b.ins().jump(go_on, &[]);
        self.go_on_in(go_on);
    }

    /// After the runtime has carried out the instruction at hand: leaves if that changed the stamp.
    pub(super) fn leave_foreign_slots(&mut self, next: i64) {
        let Some(range) = self.place.slots else { return };
        let (go_on, others) = self.check_header(range);
        self.go_on_in(others);
        let rest = self.this().insns.len() - self.insn - 1;
        let counted = self.counted;
        self.counted = self.b.ins().iadd_imm_s(counted, -(rest as i64));
        self.set_pc(next);
        self.settle_count();
        self.leave(Leave::Dispatch);
        self.counted = counted;
        self.go_on_in(go_on);
    }

    /// Branches on whether the unit's slots are valid: to the first block if so, else to the second.
    fn check_header(&mut self, range: SlotSpan) -> (ir::Block, ir::Block) {
        let stamp = self.word(native!(stamp));
        let wanted = self.b.ins().iadd_imm_s(stamp, i64::from(range.key));
        let header = self.slot_word(range.first, offset_of!(Slot, tag));
        let ours = self.b.ins().icmp(IntCC::Equal, wanted, header);
        let (go_on, others) = (self.b.create_block(), self.cold_block());
        self.b.ins().brif(ours, go_on, &[], others, &[]);
        (go_on, others)
    }

    fn slot_word(&mut self, slot: u32, field: usize) -> Value {
        let flags = self.kinds.table;
        self.b.ins().load(I64, flags, self.hart, slot_offset(slot) + field as i32)
    }

    /// Looks `span` bytes at `address` up in a slot: whether they hit, and host minus virtual address if so.
    pub(super) fn look_in_slot(&mut self, slot: u16, address: Value, span: i64) -> (Value, Value) {
        let slot = u32::from(slot);
        let addend = self.slot_word(slot, offset_of!(Slot, addend));
        let tag = self.slot_word(slot, offset_of!(Slot, tag));
        let offset = self.b.ins().isub(address, tag);
        let most = PAGE as i64 - span;
        (self.b.ins().icmp_imm_s(IntCC::UnsignedLessThanOrEqual, offset, most), addend)
    }
}
