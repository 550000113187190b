//! Floating point on the host's FPU, where [`facts`](crate::fp::facts) says that it is exact.
//!
//! An FP register is a variable that holds its raw image. Results of arithmetic may be NaNs with a
//! payload: they are made canonical where somebody could see it (stores, moves, the hart's state). An image
//! that was loaded has to stay as it is. Where ways meet that bring the one and the other, a mask says at run
//! time which it is. Flags gather in MXCSR.
//!
//! **Invariant.** Host operations are pure to the compiler, but their flags are not: a result that
//! nobody uses is put in a sink of the hart, so that the operation is done, and an operation whose operands
//! do not change in a loop gets one of them through memory, so that it is not done before its time.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::Lifter;
use super::memory::ir_flags;
use crate::isa::Insn;
use crate::isa::effects::Effects;
use crate::isa::emit::{Fmt, Fp, Int, Mem, Rm, Size};
use crate::jit::abi::{SINKS, native};
use crate::jit::enter::Helper;
use crate::jit::region::RegionBlock;

/// The canonical NaNs.
const NAN_D: u64 = 0x7ff8_0000_0000_0000;
const NAN_S: u32 = 0x7fc0_0000;
const BOX: i64 = -1 << 32;

/// What is known of the FP registers in the block at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Registers that may hold a NaN that is not canonical.
    raw: u32,
    /// Those of them of which the unit's mask says whether they hold an operation's result, and not an image.
    mixed: u32,
    /// Registers written by an operation that nothing has made sure of.
    loose: u32,
    /// Registers whose value may be the same whenever this point is passed.
    stale: u32,
    /// Values of binary32 of registers that hold them boxed.
    single: [Option<Value>; 32],
    /// The FP value behind an integer value just made, with its format: to go to a register as it is.
    made: Option<(Value, Value, Fmt)>,
    /// The same for an image that is no operation's result, and has to stay as it is.
    moved: Option<(Value, Value)>,
}

impl State {
    /// At the start of a block.
    pub fn of(block: &RegionBlock) -> State {
        State { raw: block.raw, mixed: block.mixed, stale: block.stale, ..State::default() }
    }

    /// The registers have been made whole, and `effects` may have changed some.
    pub fn forget(&mut self, effects: &Effects) {
        *self = State { stale: stale_after(self.stale, effects), ..State::default() };
    }
}

impl Lifter<'_, '_> {
    /// The word that must not be 0 for the unit to do floating point by itself, if it does: to read registers takes
    /// less than to change them.
    pub(super) fn float_condition(&self) -> Option<i32> {
        let all = self.region.blocks.iter().flat_map(|block| &block.effects);
        let own = all.filter(|e| !e.runtime && self.covers(e));
        own.filter_map(float_condition_of).max_by_key(|&word| word == native!(fp_ready))
    }

    /// Whether FP registers are variables of the unit.
    pub(super) fn touches_floats(&self) -> bool {
        let touches = |e: &Effects| e.f_read | e.f_written != 0 || e.float.is_some();
        self.region.blocks.iter().any(|block| block.effects.iter().any(touches))
    }

    /// Whether an instruction without need of the runtime can be lifted.
    pub(super) fn covers(&self, effects: &Effects) -> bool {
        if effects.direct && !self.place.options.system {
            return false;
        }
        let Some((op, fmt, rm)) = effects.float else {
            let half = effects.access.is_some_and(|(size, _)| size == Size::H);
            let floats = effects.f_read | effects.f_written != 0;
            return !floats || self.place.options.float && !half;
        };
        if !self.place.options.float || fmt == Fmt::H {
            return false;
        }
        match op {
            Fp::Add | Fp::Sub | Fp::Mul | Fp::Div | Fp::Sqrt => nearest(rm),
            Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd => nearest(rm) && self.place.options.fma,
            Fp::Eq | Fp::Lt | Fp::Le | Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx | Fp::Min | Fp::Max => true,
            Fp::FromInt(_) => nearest(rm),
            Fp::FromFmt(Fmt::S) => fmt == Fmt::D,
            Fp::FromFmt(Fmt::D) => fmt == Fmt::S && nearest(rm),
            Fp::ToInt(_) => rm == Rm::Rtz,
            _ => false,
        }
    }

    /// Raw bits of an FP register, canonical.
    pub(super) fn f_bits(&mut self, r: u8) -> Value {
        let value = self.canonical_f(r.into());
        self.image(value)
    }

    /// The bits of a value that goes to a register, or elsewhere, as it is.
    fn image(&mut self, value: Value) -> Value {
        let bits = self.b.ins().bitcast(I64, ir_flags(), value);
        self.float.moved = Some((bits, value));
        bits
    }

    /// The FP register as it may be seen: it stays so.
    fn canonical_f(&mut self, r: usize) -> Value {
        let var = self.f_var(r);
        let value = self.b.use_var(var);
        if self.float.raw >> r & 1 == 0 {
            return value;
        }
        let value = self.canonical_d(r, value);
        self.b.def_var(var, value);
        self.float.raw &= !(1 << r);
        self.float.mixed &= !(1 << r);
        self.float.loose &= !(1 << r);
        value
    }

    /// The same where the unit is left: without a branch, which would be among what runs often.
    pub(super) fn canonical_f_at_exit(&mut self, r: usize) -> Value {
        let var = self.f_var(r);
        let value = self.b.use_var(var);
        if self.float.raw >> r & 1 == 0 {
            return value;
        }
        let nan = self.nan_for(r, value);
        let bad = self.is_nan(r, value);
        self.b.ins().select(bad, nan, value)
    }

    fn canonical_d(&mut self, r: usize, value: Value) -> Value {
        let bad = self.is_nan(r, value);
        let (cold, go_on) = (self.cold_block(), self.b.create_block());
        let result = self.b.append_block_param(go_on, F64);
        self.b.ins().brif(bad, cold, &[], go_on, &[value.into()]);
        self.go_on_in(cold);
        let nan = self.nan_for(r, value);
        self.b.ins().jump(go_on, &[nan.into()]);
        self.go_on_in(go_on);
        result
    }

    /// Whether register `r` holds a NaN. A comparison tells that of results, which are never signaling.
    fn is_nan(&mut self, r: usize, value: Value) -> Value {
        if self.float.mixed >> r & 1 == 0 {
            return self.b.ins().fcmp(FloatCC::Unordered, value, value);
        }
        let bits = self.b.ins().bitcast(I64, ir_flags(), value);
        let magnitude = self.b.ins().ishl_imm_s(bits, 1);
        let infinity = self.iconst((f64::INFINITY.to_bits() << 1) as i64);
        self.b.ins().icmp(IntCC::UnsignedGreaterThan, magnitude, infinity)
    }

    /// What register `r` is to hold instead of the NaN `value`.
    fn nan_for(&mut self, r: usize, value: Value) -> Value {
        let nan = self.b.ins().f64const(f64::from_bits(NAN_D));
        let Some(results) = self.results.filter(|_| self.float.mixed >> r & 1 != 0) else { return nan };
        let results = self.b.use_var(results);
        let result = self.b.ins().band_imm_s(results, 1 << r);
        let is_result = self.b.ins().icmp_imm_s(IntCC::NotEqual, result, 0);
        self.b.ins().select(is_result, nan, value)
    }

    /// At an entry: what the registers hold are images.
    pub(super) fn begin_results(&mut self) {
        if let Some(results) = self.results {
            let none = self.iconst(0);
            self.b.def_var(results, none);
        }
    }

    /// Before an edge within the region: the mask says of each register that is mixed behind it what it holds.
    fn settle_results(&mut self) {
        let Some(results) = self.results else { return };
        let behind = self.this().successors.iter().fold(0, |all, &to| all | self.region.blocks[to].mixed);
        let set = i64::from(behind & self.float.raw & !self.float.mixed);
        let value = if behind & self.float.mixed == 0 {
            self.iconst(set)
        } else {
            let before = self.b.use_var(results);
            let clear = i64::from(behind & !self.float.raw);
            let less = if clear == 0 { before } else { self.b.ins().band_imm_s(before, !clear) };
            if set == 0 { less } else { self.b.ins().bor_imm_s(less, set) }
        };
        self.b.def_var(results, value);
    }

    /// Writes an FP register from an integer value: the operation's result behind it, if there is one.
    pub(super) fn set_f_bits(&mut self, r: u8, bits: Value) {
        let r = usize::from(r);
        self.keep(r);
        let (value, operation) = match self.float.made.take() {
            Some((made, value, fmt)) if made == bits => {
                self.float.single[r] = (fmt == Fmt::S).then_some(value);
                self.float.raw = self.float.raw & !(1 << r) | u32::from(fmt == Fmt::D) << r;
                self.float.mixed &= !(1 << r);
                let image = if fmt == Fmt::S { self.boxed(value) } else { value };
                (image, true)
            }
            _ => {
                self.float.single[r] = None;
                self.float.raw &= !(1 << r);
                self.float.mixed &= !(1 << r);
                let value = match self.float.moved {
                    Some((moved, value)) if moved == bits => value,
                    _ => self.b.ins().bitcast(F64, ir_flags(), bits),
                };
                (value, false)
            }
        };
        if operation {
            self.float.loose |= 1 << r;
        } else {
            self.float.loose &= !(1 << r);
        }
        self.float.stale = stale_after(self.float.stale, &self.this().effects[self.insn]);
        let var = self.f_var(r);
        self.b.def_var(var, value);
        self.dirty |= 1 << (32 + r);
    }

    /// The image of a binary32 value; its NaN canonical.
    fn boxed(&mut self, value: Value) -> Value {
        let bits = self.b.ins().bitcast(I32, ir_flags(), value);
        let bad = self.b.ins().fcmp(FloatCC::Unordered, value, value);
        let nan = self.b.ins().iconst(I32, i64::from(NAN_S));
        let bits = self.b.ins().select(bad, nan, bits);
        let wide = self.b.ins().uextend(I64, bits);
        let image = self.b.ins().bor_imm_s(wide, BOX);
        self.b.ins().bitcast(F64, ir_flags(), image)
    }

    /// Sees to it that the operation behind register `r` is done, though its result is about to go.
    fn keep(&mut self, r: usize) {
        if self.float.loose >> r & 1 != 0 {
            let value = match self.float.single[r] {
                Some(single) => single,
                None => {
                    let var = self.f_var(r);
                    self.b.use_var(var)
                }
            };
            self.sink(value);
            self.float.loose &= !(1 << r);
        }
    }

    /// Has a value computed here: gives the offset of the hart's word that it is put in. Each use of a unit has a word
    /// of its own, or else the compiler would leave out what the next one overwrites.
    fn sink(&mut self, value: Value) -> i32 {
        let (flags, number) = (self.kinds.state, self.sinks);
        let word = native!(sinks) + (number % SINKS * size_of::<u64>()) as i32;
        self.b.ins().store(flags, value, self.hart, word);
        if number >= SINKS {
            self.b.ins().sequence_point();
        }
        self.sinks += 1;
        word
    }

    /// Before an edge within the region: sees to it that every operation is done, and that the blocks behind know
    /// what the registers hold.
    pub(super) fn settle_floats(&mut self) {
        self.settle_results();
        for r in 0..32 {
            if self.float.loose >> r & 1 != 0 && !self.is_computed_behind(r) {
                self.keep(r);
            }
        }
    }

    /// Whether a value that the block at hand has put in FP register `r` is computed on every way from there: by what
    /// uses it, or where it meets another one in a loop's head, which may leave with either. Another exit that uses
    /// it is not on every way.
    fn is_computed_behind(&self, r: usize) -> bool {
        self.this().successors.iter().all(|&to| {
            let block = &self.region.blocks[to];
            let meets = block.head && block.dirty >> (32 + r) & 1 != 0;
            block.computed >> r & 1 != 0 || meets && !self.region.leads(self.at, to)
        })
    }

    /// Every FP register as it may be seen.
    pub(super) fn make_canonical(&mut self) {
        for r in 0..32 {
            if self.float.raw >> r & 1 != 0 {
                self.canonical_f(r);
            }
        }
    }

    /// What a store stores: an FP register as it may be seen, or the integer value.
    pub(super) fn stored(&mut self, insn: &Insn, value: Value) -> Value {
        let effects = &self.this().effects[self.insn];
        let Some((size, true)) = effects.access else { return value };
        if effects.f_read == 0 {
            return value;
        }
        match size {
            Size::D => self.canonical_f(insn.rs2.into()),
            _ => value,
        }
    }

    /// Loads to an integer value, or to an FP register.
    pub(super) fn load_any(&mut self, insn: &Insn, m: Mem) -> Value {
        if self.this().effects[self.insn].f_written == 0 || m.size != Size::D {
            return self.load_int(insn, m);
        }
        let value = self.load_float(insn, Size::D);
        // Not an operation's result: it goes to its register bit by bit.
        self.float.made = None;
        self.image(value)
    }

    /// An operand in its format; a badly boxed one reads as the canonical NaN.
    fn operand(&mut self, fmt: Fmt, r: u8) -> Value {
        let r = usize::from(r);
        self.float.loose &= !(1 << r);
        if fmt == Fmt::D {
            let var = self.f_var(r);
            return self.b.use_var(var);
        }
        if let Some(value) = self.float.single[r] {
            return value;
        }
        // What an operation on binary64 values left may look like a boxed value until it is canonical.
        let image = self.canonical_f(r);
        let bits = self.b.ins().bitcast(I64, ir_flags(), image);
        let high = self.b.ins().sshr_imm_s(bits, 32);
        let well = self.b.ins().icmp_imm_s(IntCC::Equal, high, -1);
        let low = self.b.ins().ireduce(I32, bits);
        let nan = self.b.ins().iconst(I32, i64::from(NAN_S));
        let bits = self.b.ins().select(well, low, nan);
        let value = self.b.ins().bitcast(F32, ir_flags(), bits);
        self.float.single[r] = Some(value);
        value
    }

    /// An operand that the compiler takes for new whenever this point is passed, unless one of the `others`
    /// is.
    fn fresh_operand(&mut self, fmt: Fmt, r: u8, others: &[u8]) -> Value {
        let value = self.operand(fmt, r);
        if [r].iter().chain(others).any(|&r| self.float.stale >> r & 1 == 0) {
            return value;
        }
        let word = self.sink(value);
        // Not in the format that was stored, or the compiler would see what it is.
        let flags = self.kinds.state;
        let (bits, ty) = if fmt == Fmt::D { (I64, F64) } else { (I32, F32) };
        let image = self.b.ins().load(bits, flags, self.hart, word);
        let value = self.b.ins().bitcast(ty, ir_flags(), image);
        let r = usize::from(r);
        self.float.stale &= !(1 << r);
        if fmt == Fmt::S {
            self.float.single[r] = Some(value);
        } else {
            let var = self.f_var(r);
            self.b.def_var(var, value);
        }
        value
    }

    /// An operation of the host's FPU: the register image or the integer it gives.
    pub(super) fn float_operation(&mut self, i: &Insn, op: Fp, fmt: Fmt) -> Value {
        match op {
            Fp::Eq | Fp::Lt | Fp::Le => self.compare(i, op, fmt),
            Fp::ToInt(int) => self.convert_to_int(i, int, fmt),
            Fp::FromInt(int) => {
                let value = self.convert_from_int(i, int, fmt);
                self.make(value, fmt)
            }
            Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx => self.sign(i, op, fmt),
            Fp::Min | Fp::Max => self.extreme_of(i, op, fmt),
            Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd => self.fused(i, op, fmt),
            Fp::FromFmt(from) => {
                let a = self.fresh_operand(from, i.rs1, &[]);
                let value = match from {
                    Fmt::S => self.b.ins().fpromote(F64, a),
                    _ => self.b.ins().fdemote(F32, a),
                };
                self.make(value, fmt)
            }
            Fp::Sqrt => {
                let a = self.fresh_operand(fmt, i.rs1, &[]);
                let value = self.b.ins().sqrt(a);
                self.make(value, fmt)
            }
            _ => {
                let a = self.fresh_operand(fmt, i.rs1, &[i.rs2]);
                let b = self.operand(fmt, i.rs2);
                let value = match op {
                    Fp::Add => self.b.ins().fadd(a, b),
                    Fp::Sub => self.b.ins().fsub(a, b),
                    Fp::Mul => self.b.ins().fmul(a, b),
                    _ => self.b.ins().fdiv(a, b),
                };
                self.make(value, fmt)
            }
        }
    }

    /// Remembers an operation's result for the register it goes to; gives what stands for it until then.
    fn make(&mut self, value: Value, fmt: Fmt) -> Value {
        let placeholder = self.iconst(0);
        self.float.made = Some((placeholder, value, fmt));
        placeholder
    }

    /// Does the instruction at hand by the runtime if `rare`, else goes on; gives the block to come back
    /// to with the result.
    fn unless(&mut self, rare: Value) -> cranelift_codegen::ir::Block {
        let (cold, usual, end) = (self.cold_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().brif(rare, cold, &[], usual, &[]);
        self.go_on_in(cold);
        self.call(Helper::Execute);
        let effects = self.this().effects[self.insn];
        let result = if effects.f_written != 0 {
            let r = effects.f_written.trailing_zeros() as usize;
            let flags = self.kinds.state;
            let ty = match effects.float {
                Some((_, Fmt::S, _)) => F32,
                _ => F64,
            };
            // The low half of a boxed image is the binary32 value.
            self.b.ins().load(ty, flags, self.hart, crate::jit::abi::f_offset(r))
        } else {
            let r = effects.x_written.trailing_zeros() as usize % 32;
            self.word(crate::jit::abi::x_offset(r))
        };
        let ty = self.b.func.dfg.value_type(result);
        self.b.append_block_param(end, ty);
        self.b.ins().jump(end, &[result.into()]);
        self.go_on_in(usual);
        end
    }

    fn finish(&mut self, end: cranelift_codegen::ir::Block, value: Value) -> Value {
        self.b.ins().jump(end, &[value.into()]);
        self.go_on_in(end);
        self.b.block_params(end)[0]
    }

    fn fused(&mut self, i: &Insn, op: Fp, fmt: Fmt) -> Value {
        let a = self.fresh_operand(fmt, i.rs1, &[i.rs2, i.rs3]);
        let (b, c) = (self.operand(fmt, i.rs2), self.operand(fmt, i.rs3));
        let a = if matches!(op, Fp::Nmsub | Fp::Nmadd) { self.b.ins().fneg(a) } else { a };
        let c = if matches!(op, Fp::Msub | Fp::Nmadd) { self.b.ins().fneg(c) } else { c };
        let value = self.b.ins().fma(a, b, c);
        // Infinity times zero plus a quiet NaN is invalid in RISC-V alone.
        let rare = self.b.ins().fcmp(FloatCC::Unordered, value, value);
        let end = self.unless(rare);
        let value = self.finish(end, value);
        self.make(value, fmt)
    }

    /// `feq` is quiet; `flt` and `fle` are not, so a NaN is for the runtime.
    fn compare(&mut self, i: &Insn, op: Fp, fmt: Fmt) -> Value {
        let (a, b) = (self.fresh_operand(fmt, i.rs1, &[i.rs2]), self.operand(fmt, i.rs2));
        let rare = self.b.ins().fcmp(FloatCC::Unordered, a, b);
        let end = self.unless(rare);
        let code = match op {
            Fp::Eq => FloatCC::Equal,
            Fp::Lt => FloatCC::LessThan,
            _ => FloatCC::LessThanOrEqual,
        };
        let bit = self.b.ins().fcmp(code, a, b);
        let value = self.b.ins().uextend(I64, bit);
        self.finish(end, value)
    }

    /// Truncation, where the operand is surely in range.
    fn convert_to_int(&mut self, i: &Insn, int: Int, fmt: Fmt) -> Value {
        let a = self.fresh_operand(fmt, i.rs1, &[]);
        let (magnitude, limit) = match int {
            Int::W => (self.b.ins().fabs(a), 31),
            Int::L => (self.b.ins().fabs(a), 63),
            Int::Wu => (a, 32),
            Int::Lu => (a, 63),
        };
        let limit = self.float_const(fmt, (limit as f64).exp2());
        let mut fits = self.b.ins().fcmp(FloatCC::LessThan, magnitude, limit);
        if matches!(int, Int::Wu | Int::Lu) {
            let zero = self.float_const(fmt, 0.0);
            let positive = self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, a, zero);
            fits = self.b.ins().band(fits, positive);
        }
        let rare = self.b.ins().icmp_imm_s(IntCC::Equal, fits, 0);
        let end = self.unless(rare);
        let value = match int {
            Int::W => {
                let word = self.b.ins().fcvt_to_sint_sat(I32, a);
                self.b.ins().sextend(I64, word)
            }
            Int::Wu => {
                let wide = self.b.ins().fcvt_to_sint_sat(I64, a);
                let word = self.b.ins().ireduce(I32, wide);
                self.b.ins().sextend(I64, word)
            }
            Int::L | Int::Lu => self.b.ins().fcvt_to_sint_sat(I64, a),
        };
        // Even if nobody wants the number, it may be inexact.
        self.sink(value);
        self.finish(end, value)
    }

    fn float_const(&mut self, fmt: Fmt, value: f64) -> Value {
        match fmt {
            Fmt::D => self.b.ins().f64const(value),
            _ => self.b.ins().f32const(value as f32),
        }
    }

    /// Of a number that the compiler takes for new whenever this point is passed.
    fn convert_from_int(&mut self, i: &Insn, int: Int, fmt: Fmt) -> Value {
        let ty = if fmt == Fmt::D { F64 } else { F32 };
        let x = if i.rs1 == 0 {
            self.iconst(0)
        } else {
            let var = self.x_var(i.rs1.into());
            self.b.use_var(var)
        };
        let offset = i64::from(native!(zero));
        let zero = self.b.ins().iadd_imm_s(self.hart, offset);
        let flags = self.kinds.state;
        let zero = self.b.ins().atomic_load(I64, flags, zero);
        let x = self.b.ins().bor(x, zero);
        match int {
            Int::W => {
                let word = self.b.ins().ireduce(I32, x);
                self.b.ins().fcvt_from_sint(ty, word)
            }
            Int::Wu => {
                let word = self.b.ins().ireduce(I32, x);
                let wide = self.b.ins().uextend(I64, word);
                self.b.ins().fcvt_from_sint(ty, wide)
            }
            Int::L => self.b.ins().fcvt_from_sint(ty, x),
            Int::Lu => self.b.ins().fcvt_from_uint(ty, x),
        }
    }

    /// Sign injection on the images; a copy of a register is the register.
    fn sign(&mut self, i: &Insn, op: Fp, fmt: Fmt) -> Value {
        if fmt == Fmt::S {
            return self.sign_of_single(i, op);
        }
        if i.rs1 == i.rs2 {
            let value = self.canonical_f(i.rs1.into());
            let value = match op {
                Fp::Sgnj => value,
                Fp::Sgnjn => self.b.ins().fneg(value),
                _ => self.b.ins().fabs(value),
            };
            return self.image(value);
        }
        let a = self.f_bits(i.rs1);
        let b = self.f_bits(i.rs2);
        let mixed = match op {
            Fp::Sgnjx => {
                let sign = self.b.ins().band_imm_s(b, i64::MIN);
                return self.b.ins().bxor(a, sign);
            }
            Fp::Sgnjn => self.b.ins().bnot(b),
            _ => b,
        };
        let sign = self.b.ins().band_imm_s(mixed, i64::MIN);
        let rest = self.b.ins().band_imm_s(a, i64::MAX);
        self.b.ins().bor(rest, sign)
    }

    fn sign_of_single(&mut self, i: &Insn, op: Fp) -> Value {
        let (a, b) = (self.seen_single(i.rs1), self.seen_single(i.rs2));
        let sign_bit = i64::from(i32::MIN) & 0xffff_ffff;
        let value = match op {
            Fp::Sgnjx => {
                let sign = self.b.ins().band_imm_s(b, sign_bit);
                self.b.ins().bxor(a, sign)
            }
            _ => {
                let mixed = if op == Fp::Sgnjn { self.b.ins().bnot(b) } else { b };
                let sign = self.b.ins().band_imm_s(mixed, sign_bit);
                let rest = self.b.ins().band_imm_s(a, 0x7fff_ffff);
                self.b.ins().bor(rest, sign)
            }
        };
        let low = self.b.ins().ireduce(I32, value);
        let wide = self.b.ins().uextend(I64, low);
        self.b.ins().bor_imm_s(wide, BOX)
    }

    /// Bits of a binary32 register as they may be seen, zero-extended.
    fn seen_single(&mut self, r: u8) -> Value {
        let image = self.f_bits(r);
        let high = self.b.ins().sshr_imm_s(image, 32);
        let well = self.b.ins().icmp_imm_s(IntCC::Equal, high, -1);
        let low = self.b.ins().band_imm_s(image, 0xffff_ffff);
        let nan = self.iconst(i64::from(NAN_S));
        self.b.ins().select(well, low, nan)
    }

    /// `fmin`, `fmax`: NaNs are for the runtime; of two zeros the signs decide.
    fn extreme_of(&mut self, i: &Insn, op: Fp, fmt: Fmt) -> Value {
        let (a, b) = (self.fresh_operand(fmt, i.rs1, &[i.rs2]), self.operand(fmt, i.rs2));
        let rare = self.b.ins().fcmp(FloatCC::Unordered, a, b);
        let end = self.unless(rare);
        let code = if op == Fp::Min { FloatCC::LessThan } else { FloatCC::GreaterThan };
        let first = self.b.ins().fcmp(code, a, b);
        let unequal = self.b.ins().select(first, a, b);
        let equal = self.b.ins().fcmp(FloatCC::Equal, a, b);
        let (int, float) = if fmt == Fmt::D { (I64, F64) } else { (I32, F32) };
        let (x, y) = (self.b.ins().bitcast(int, ir_flags(), a), self.b.ins().bitcast(int, ir_flags(), b));
        let signs = if op == Fp::Min { self.b.ins().bor(x, y) } else { self.b.ins().band(x, y) };
        let same = self.b.ins().bitcast(float, ir_flags(), signs);
        let value = self.b.ins().select(equal, same, unequal);
        let value = self.finish(end, value);
        self.make(value, fmt)
    }
}

/// FP registers whose value may be the same whenever this point is passed, after an instruction: if it makes
/// no more than a copy, that of what is stale is.
pub fn stale_after(stale: u32, effects: &Effects) -> u32 {
    let sign = matches!(effects.float, None | Some((Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx, ..)));
    let copy = sign && effects.access.is_none() && !effects.runtime;
    let copies_stale = copy && effects.f_read & !stale == 0;
    stale & !effects.f_written | if copies_stale { effects.f_written } else { 0 }
}

/// FP registers that come out of an instruction as an operation left them: perhaps with a NaN that is not
/// canonical. The others come out as they may be seen.
pub fn leaves_raw(effects: &Effects) -> u32 {
    match effects.float {
        Some((Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx, ..)) => 0,
        Some((_, Fmt::D, _)) => effects.f_written,
        _ => 0,
    }
}

/// FP registers whose values an instruction computes: what it makes of them is computed in turn.
pub fn computes(effects: &Effects) -> u32 {
    match effects.float {
        Some((Fp::Sgnj | Fp::Sgnjn | Fp::Sgnjx, ..)) => 0,
        Some(_) => effects.f_read,
        None if effects.access.is_some() => effects.f_read,
        None => 0,
    }
}

/// The word that must not be 0 for an instruction that the runtime is not needed for.
pub fn float_condition_of(effects: &Effects) -> Option<i32> {
    match effects.f_written != 0 || effects.float.is_some() {
        true => Some(native!(fp_ready)),
        false if effects.f_read != 0 => Some(native!(fp_on)),
        false => None,
    }
}

/// Rounding to nearest: what a unit's entry made sure of for the dynamic mode.
fn nearest(rm: Rm) -> bool {
    matches!(rm, Rm::Rne | Rm::Dyn)
}
