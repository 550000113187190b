//! CSRs that traps and critical sections access, in place; what is out of the ordinary is the runtime's.

use super::Writer;
use super::asm::{Alu, Cond, R15, RAX, RCX, RDX, Reg, Shift, Unary};
use super::value::Value;
use crate::csr::direct::{self, Direct};
use crate::isa::Insn;
use crate::isa::emit::{CsrOp, Mem, Size};
use crate::jit::abi::{self, native};
use crate::jit::enter::Helper;

impl Writer<'_> {
    /// Accesses a CSR; gives the old value.
    pub(super) fn access_csr(
        &mut self,
        insn: &Insn,
        way: Direct,
        op: CsrOp,
        src: Value,
        write: bool,
    ) -> Value {
        let to = self.temporary();
        self.put(RCX, src);
        match way {
            Direct::Word { offset, pc } => {
                self.hot.alu_memory(Size::D, Alu::Cmp, R15, native!(user), 0);
                let user = self.hot.jcc(Cond::NotEqual);
                let word = abi::csr_offset(offset);
                self.hot.load(Mem::U64, to, R15, word);
                if write {
                    self.change(op, to);
                    if pc {
                        self.hot.alu_load(Alu::And, RCX, R15, native!(pc_mask));
                    }
                    self.hot.store(Size::D, R15, word, RCX);
                }
                self.go_cold(&[user]);
            }
            Direct::Status => {
                self.hot.alu_memory(Size::D, Alu::Cmp, R15, native!(status_ready), 0);
                let unready = self.hot.jcc(Cond::Equal);
                self.hot.mov(RAX, RCX);
                self.hot.alu_value(Alu::And, RAX, !(direct::ENABLE as i32));
                let more = self.hot.jcc(Cond::NotEqual);
                let word = abi::csr_offset(direct::STATUS);
                self.hot.load(Mem::U64, to, R15, word);
                self.change(op, to);
                self.hot.store(Size::D, R15, word, RCX);
                if insn.rd != 0 {
                    self.show(to);
                }
                self.go_cold(&[unready, more]);
            }
        }
        self.call_cold(Helper::Execute);
        self.cold.load(Mem::U64, to, R15, abi::x_offset(insn.rd.into()));
        self.come_back();
        Value::Host(to)
    }

    /// `rcx` = what `old` becomes by the operand in rcx.
    fn change(&mut self, op: CsrOp, old: Reg) {
        match op {
            CsrOp::Write => {}
            CsrOp::Set => self.hot.alu(Alu::Or, RCX, old),
            CsrOp::Clear => {
                self.hot.unary(Unary::Not, RCX);
                self.hot.alu(Alu::And, RCX, old);
            }
        }
    }

    /// `sstatus`, of the word that it shows: with the summary in the top bit if floating point is dirty.
    fn show(&mut self, status: Reg) {
        let (shift, dirty) =
            (direct::DIRTY.trailing_zeros() as u8, direct::DIRTY >> direct::DIRTY.trailing_zeros());
        self.hot.mov(RDX, status);
        self.hot.shift(Shift::Shr, RDX, shift);
        self.hot.alu_value(Alu::And, RDX, dirty as i32);
        self.hot.set(RAX, direct::SHOWN as i64);
        self.hot.alu(Alu::And, status, RAX);
        self.hot.alu_value(Alu::Cmp, RDX, dirty as i32);
        let clean = self.hot.skip_if(Cond::NotEqual);
        self.hot.set(RAX, direct::SUMMARY as i64);
        self.hot.alu(Alu::Or, status, RAX);
        self.hot.land(clean);
    }
}
