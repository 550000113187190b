//! CSRs that traps and critical sections access, in place; what is out of the ordinary is the runtime's.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::Lifter;
use crate::csr::direct::{self, Direct};
use crate::isa::Insn;
use crate::isa::emit::CsrOp;
use crate::jit::abi::{self, native};
use crate::jit::enter::Helper;

impl Lifter<'_, '_> {
    /// Accesses a CSR; gives the old value.
    pub(super) fn access_csr(
        &mut self,
        insn: &Insn,
        way: Direct,
        op: CsrOp,
        src: Value,
        write: bool,
    ) -> Value {
        let (hit, cold, go_on) = (self.b.create_block(), self.cold_block(), self.b.create_block());
        let result = self.b.append_block_param(go_on, I64);
        let old = match way {
            Direct::Word { offset, pc } => {
                let user = self.fixed_word(native!(user));
                self.b.ins().brif(user, cold, &[], hit, &[]);
                self.go_on_in(hit);
                let word = abi::csr_offset(offset);
                let old = self.word(word);
                if write {
                    let new = self.changed(op, old, src);
                    let new = if pc { self.aligned(new) } else { new };
                    self.set_word(word, new);
                }
                old
            }
            Direct::Status => {
                let ready = self.word(native!(status_ready));
                let more = self.b.ins().band_imm_s(src, !(direct::ENABLE as i64));
                let only = self.b.ins().icmp_imm_s(IntCC::Equal, more, 0);
                let unready = self.b.ins().icmp_imm_s(IntCC::Equal, ready, 0);
                let near = self.b.create_block();
                self.b.ins().brif(unready, cold, &[], near, &[]);
                self.go_on_in(near);
                self.b.ins().brif(only, hit, &[], cold, &[]);
                self.go_on_in(hit);
                let word = abi::csr_offset(direct::STATUS);
                let status = self.word(word);
                let new = self.changed(op, status, src);
                self.set_word(word, new);
                if insn.rd == 0 { status } else { self.shown(status) }
            }
        };
        self.b.ins().jump(go_on, &[old.into()]);
        self.go_on_in(cold);
        self.call(Helper::Execute);
        let old = self.word(abi::x_offset(insn.rd.into()));
        self.b.ins().jump(go_on, &[old.into()]);
        self.go_on_in(go_on);
        result
    }

    fn changed(&mut self, op: CsrOp, old: Value, src: Value) -> Value {
        match op {
            CsrOp::Write => src,
            CsrOp::Set => self.b.ins().bor(old, src),
            CsrOp::Clear => self.b.ins().band_not(old, src),
        }
    }

    fn aligned(&mut self, pc: Value) -> Value {
        let mask = self.fixed_word(native!(pc_mask));
        self.b.ins().band(pc, mask)
    }

    /// `sstatus`, of the word that it shows.
    fn shown(&mut self, status: Value) -> Value {
        let dirty = direct::DIRTY as i64;
        let fields = self.iconst(direct::SHOWN as i64);
        let shown = self.b.ins().band(status, fields);
        let float = self.b.ins().band_imm_s(status, dirty);
        let is_dirty = self.b.ins().icmp_imm_s(IntCC::Equal, float, dirty);
        let summary = self.iconst(direct::SUMMARY as i64);
        let with = self.b.ins().bor(shown, summary);
        self.b.ins().select(is_dirty, with, shown)
    }
}
