//! Accesses that are atomic or cover a cache block: on host memory in place where the soft-TLB permits the
//! store, else the runtime's as a whole.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, Type, Value};

use super::Lifter;
use super::memory::Right;
use crate::isa::Insn;
use crate::isa::emit::{Amo, Size};
use crate::jit::abi::{self, native};
use crate::jit::enter::Helper;

/// Bytes that `cbo.zero` clears.
const CACHE_BLOCK: i64 = 64;

fn kind(size: Size) -> Type {
    if size == Size::D { I64 } else { I32 }
}

impl Lifter<'_, '_> {
    /// Carries out an instruction on `span` bytes at `address`, aligned to as much: by `act`, which gets the
    /// host's address and gives what `rd` becomes, if `wanted` is 0 and they may be stored to.
    fn in_place(
        &mut self,
        insn: &Insn,
        address: Value,
        span: i64,
        unwanted: Option<Value>,
        act: impl FnOnce(&mut Self, Value) -> Value,
    ) -> Value {
        let (cold, hit, go_on) = (self.cold_block(), self.b.create_block(), self.b.create_block());
        let addend = self.b.append_block_param(hit, I64);
        let result = self.b.append_block_param(go_on, I64);
        let low = self.b.ins().band_imm_s(address, span - 1);
        for unfit in [Some(low), unwanted].into_iter().flatten() {
            let fit = self.b.create_block();
            self.b.ins().brif(unfit, cold, &[], fit, &[]);
            self.go_on_in(fit);
        }
        self.look_in_tlb(address, span, Right::Store, cold, hit);
        self.go_on_in(hit);
        let host = self.b.ins().iadd(address, addend);
        let value = act(self, host);
        self.b.ins().jump(go_on, &[value.into()]);
        self.go_on_in(cold);
        self.call(Helper::Execute);
        let value = self.word(abi::x_offset(insn.rd.into()));
        self.b.ins().jump(go_on, &[value.into()]);
        self.go_on_in(go_on);
        result
    }

    /// Atomic read-modify-write; gives the old value, sign-extended.
    pub(super) fn atomic(&mut self, insn: &Insn, size: Size, op: Amo, operand: Value) -> Value {
        let base = self.base(insn.rs1);
        self.in_place(insn, base, 1 << size as u8, None, |lifter, host| {
            lifter.modify(host, size, op, operand)
        })
    }

    fn modify(&mut self, host: Value, size: Size, op: Amo, operand: Value) -> Value {
        let op = match op {
            Amo::Swap => AtomicRmwOp::Xchg,
            Amo::Add => AtomicRmwOp::Add,
            Amo::Xor => AtomicRmwOp::Xor,
            Amo::And => AtomicRmwOp::And,
            Amo::Or => AtomicRmwOp::Or,
            Amo::Min => AtomicRmwOp::Smin,
            Amo::Max => AtomicRmwOp::Smax,
            Amo::Minu => AtomicRmwOp::Umin,
            Amo::Maxu => AtomicRmwOp::Umax,
        };
        let (flags, ty) = (self.kinds.guest, kind(size));
        let operand = self.low(size, operand);
        let old = self.b.ins().atomic_rmw(ty, flags, op, host, operand);
        self.widened(size, old)
    }

    fn low(&mut self, size: Size, value: Value) -> Value {
        if size == Size::D { value } else { self.b.ins().ireduce(I32, value) }
    }

    fn widened(&mut self, size: Size, value: Value) -> Value {
        if size == Size::D { value } else { self.b.ins().sextend(I64, value) }
    }

    /// `lr`: the value, which is remembered with its host address.
    pub(super) fn reserve(&mut self, insn: &Insn, size: Size) -> Value {
        let base = self.base(insn.rs1);
        let strict = self.fixed_word(native!(strict));
        self.in_place(insn, base, 1 << size as u8, Some(strict), |lifter, host| {
            let flags = lifter.kinds.guest;
            let value = lifter.b.ins().atomic_load(kind(size), flags, host);
            let seen = if size == Size::D { value } else { lifter.b.ins().uextend(I64, value) };
            let bytes = lifter.iconst(1 << size as u8);
            lifter.set_word(abi::reservation::cell(), host);
            lifter.set_word(abi::reservation::size(), bytes);
            lifter.set_word(abi::reservation::value(), seen);
            lifter.widened(size, value)
        })
    }

    /// `sc`: a compare-and-swap with what `lr` saw, if that was here; gives 1 if it failed.
    pub(super) fn store_reserved(&mut self, insn: &Insn, size: Size, new: Value) -> Value {
        let base = self.base(insn.rs1);
        let strict = self.fixed_word(native!(strict));
        self.in_place(insn, base, 1 << size as u8, Some(strict), |lifter, host| {
            let (swap, done) = (lifter.b.create_block(), lifter.b.create_block());
            let failed = lifter.b.append_block_param(done, I64);
            let cell = lifter.word(abi::reservation::cell());
            let bytes = lifter.word(abi::reservation::size());
            let seen = lifter.word(abi::reservation::value());
            let (none, one) = (lifter.iconst(0), lifter.iconst(1));
            lifter.set_word(abi::reservation::cell(), none);
            let here = lifter.b.ins().icmp(IntCC::Equal, cell, host);
            let alike = lifter.b.ins().icmp_imm_s(IntCC::Equal, bytes, 1 << size as u8);
            let alive = lifter.b.ins().band(here, alike);
            lifter.b.ins().brif(alive, swap, &[], done, &[one.into()]);
            lifter.go_on_in(swap);
            let (expected, new) = (lifter.low(size, seen), lifter.low(size, new));
            let flags = lifter.kinds.guest;
            let old = lifter.b.ins().atomic_cas(flags, host, expected, new);
            let differs = lifter.b.ins().icmp(IntCC::NotEqual, old, expected);
            let differs = lifter.b.ins().uextend(I64, differs);
            lifter.b.ins().jump(done, &[differs.into()]);
            lifter.go_on_in(done);
            failed
        })
    }

    /// `cbo.zero`.
    pub(super) fn clear_block(&mut self, insn: &Insn) {
        let base = self.base(insn.rs1);
        let block = self.b.ins().band_imm_s(base, -CACHE_BLOCK);
        let forbidden = self.fixed_word(native!(zero_forbidden));
        self.in_place(insn, block, CACHE_BLOCK, Some(forbidden), |lifter, host| {
            let (flags, zero) = (lifter.kinds.guest, lifter.iconst(0));
            for at in (0..CACHE_BLOCK as i32).step_by(8) {
                lifter.b.ins().store(flags, zero, host, at);
            }
            zero
        });
    }
}
