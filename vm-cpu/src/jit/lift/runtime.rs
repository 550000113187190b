//! Calls of helpers: operands through the hart's words, every register kept.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Signature, Value};
use cranelift_codegen::isa::CallConv;

use super::Lifter;
use crate::isa::Insn;
use crate::isa::effects::Effects;
use crate::jit::abi::native;
use crate::jit::enter::Helper;
use crate::jit::live::writes;

impl Lifter<'_, '_> {
    /// Calls `helper` for the instruction at hand, which may leave the unit there: the hart's state is made
    /// whole first.
    pub(super) fn call(&mut self, helper: Helper) {
        self.spill();
        self.set_word(native!(pending), self.counted);
        self.call_for(helper, self.first_insn + self.insn);
    }

    /// Calls `helper` for an instruction, with all other operands in place.
    pub(super) fn call_for(&mut self, helper: Helper, site: usize) {
        let site = self.site(site);
        self.set_word(native!(site), site);
        let signature = match self.helper_sig {
            Some(signature) => signature,
            None => *self.helper_sig.insert(self.b.import_signature(Signature::new(CallConv::PreserveAll))),
        };
        let address = self.helper(helper);
        self.b.ins().call_indirect(signature, address, &[]);
    }

    /// Has the runtime carry out an instruction; true if the block ends with it.
    pub(super) fn execute_by_runtime(&mut self, insn: &Insn, effects: &Effects) -> bool {
        self.groups.forget();
        self.make_canonical();
        self.call(Helper::Execute);
        self.dirty = 0;
        self.float.forget(effects);
        self.reload(writes(effects));
        if !(effects.ends || effects.traps) {
            self.leave_foreign_slots(self.offset() + i64::from(insn.len));
        }
        if effects.ends || effects.traps {
            self.go_to(self.offset() + i64::from(insn.len));
            return true;
        }
        false
    }

    /// What a helper left in [`Native::addend`](crate::jit::abi::Native::addend).
    pub(super) fn addend(&mut self) -> Value {
        let flags = self.kinds.state;
        self.b.ins().load(I64, flags, self.hart, native!(addend))
    }
}
