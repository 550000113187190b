//! Stores beside code: at sites that were seen to make them, generated code itself looks whether it has
//! stored to code.
//!
//! ```text
//!  the page: may be written, or is shared (see `Tracker::share`)    no ──cold──► helper: the whole store
//!  store
//!  its word of granules: is there a bit of what was stored to?     yes ──cold──► helper: kills translations
//! ```
//! **Invariant.** The look comes after the store and before anything that another hart could tell by that the
//! store is done. Of a store that is not aligned the helper looks for itself, for it may touch two granules.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, Value};

use super::Lifter;
use crate::isa::Insn;
use crate::isa::emit::Size;
use crate::jit::abi::native;
use crate::jit::enter::Helper;
use vm_mmu::Entry;

impl Lifter<'_, '_> {
    /// Whether the check made at the instruction at hand is for stores that look for code.
    pub(super) fn is_beside(&self) -> bool {
        self.place.sites[self.first_insn + self.insn].beside
    }

    /// A store with a check of its own.
    pub(super) fn store_beside(&mut self, insn: &Insn, size: Size, value: Value) {
        let base = self.base(insn.rs1);
        let imm = i64::from(insn.imm);
        let address = if imm == 0 { base } else { self.b.ins().iadd_imm_s(base, imm) };
        let (cold, hit, done) = (self.cold_block(), self.b.create_block(), self.b.create_block());
        let addend = self.b.append_block_param(hit, I64);
        self.look_up_place(address, 1 << size as u8, true, cold, hit);
        self.go_on_in(hit);
        let host = self.b.ins().iadd(address, addend);
        self.put(size, value, (host, 0));
        self.look_for_code(size, (host, 0));
        self.b.ins().jump(done, &[]);
        self.go_on_in(cold);
        let bits = self.bits_of(value);
        self.set_word(native!(address), address);
        self.set_word(native!(value), bits);
        self.call(Helper::StoreBeside);
        self.b.ins().jump(done, &[]);
        self.go_on_in(done);
    }

    /// After a store to a host address: has translations killed if it hit code.
    pub(super) fn look_for_code(&mut self, size: Size, (base, offset): (Value, i32)) {
        let host = if offset == 0 { base } else { self.b.ins().iadd_imm_s(base, i64::from(offset)) };
        let words = self.fixed_word(native!(granules));
        let page = self.b.ins().ushr_imm_s(host, 12 - 3);
        let index = self.b.ins().band_imm_s(page, -8);
        let at = self.b.ins().iadd(words, index);
        // Atomic, and of guest memory's kind, so that it stays where it is.
        let flags = self.kinds.guest;
        let word = self.b.ins().atomic_load(I64, flags, at);
        let granule = self.b.ins().ushr_imm_s(host, 6);
        let shifted = self.b.ins().ushr(word, granule);
        let mut suspect = self.b.ins().band_imm_s(shifted, 1);
        if size != Size::B {
            let odd = self.b.ins().band_imm_s(host, (1 << size as u8) - 1);
            suspect = self.b.ins().bor(suspect, odd);
        }
        let (cold, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(suspect, cold, &[], go_on, &[]);
        self.go_on_in(cold);
        self.set_word(native!(address), host);
        self.call(Helper::Written);
        self.b.ins().jump(go_on, &[]);
        self.go_on_in(go_on);
    }

    /// Whether the entry of the soft-TLB, which permits loads, permits a store that looks for code.
    pub(super) fn permits_beside(&mut self, entry: Value) -> Value {
        let flags = self.kinds.table;
        let kind = self.b.ins().load(I32, flags, entry, Entry::FLAGS as i32);
        let permitted = self.b.ins().band_imm_s(kind, i64::from(Entry::BESIDE));
        self.b.ins().icmp_imm_s(IntCC::NotEqual, permitted, 0)
    }

    /// Stores the low bytes of an integer or FP value at a host address.
    pub(super) fn put(&mut self, size: Size, value: Value, (host, offset): (Value, i32)) {
        let flags = self.kinds.guest;
        let ty: ir::Type = self.b.func.dfg.value_type(value);
        let ins = self.b.ins();
        match size {
            _ if ty != I64 => ins.store(flags, value, host, offset),
            Size::B => ins.istore8(flags, value, host, offset),
            Size::H => ins.istore16(flags, value, host, offset),
            Size::W => ins.istore32(flags, value, host, offset),
            Size::D => ins.store(flags, value, host, offset),
        };
    }
}
