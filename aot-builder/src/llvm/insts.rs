//! Instructions of a lifted region, one by one.

use std::collections::BTreeSet;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{I8, I16, I32};
use cranelift_codegen::ir::{
    AtomicRmwOp, ExternalName, GlobalValueData, Inst, InstructionData, MemFlags, Opcode, Type, Value,
};

use super::text::{TextError, Writer, name_of};

/// Words behind the text that a module names: kind and index.
pub(super) type Names = BTreeSet<(u32, u32)>;

/// What a word is called in a module.
pub(super) fn word(space: u32, index: u32) -> String {
    format!("w{space}.{index}")
}

/// The word that a symbol of an object names.
pub(super) fn word_of(symbol: &str) -> Option<(u32, u32)> {
    let (space, index) = symbol.strip_prefix('w')?.split_once('.')?;
    Some((space.parse().ok()?, index.parse().ok()?))
}

/// Calls a helper: operands travel in the hart's words, and every register is kept, so that the call is to LLVM
/// an instruction that touches memory.
const HELPER: &str = "call void asm sideeffect \"call *$0\", ";
const TOUCHES: &str = "{r15},~{memory},~{flags}";

impl Writer<'_> {
    /// Writes an instruction.
    pub fn inst(&mut self, inst: Inst) -> Result<(), TextError> {
        let data = self.func.dfg.insts[inst];
        let result = self.func.dfg.inst_results(inst).first().copied();
        match (data, result) {
            (InstructionData::UnaryImm { .. } | InstructionData::UnaryIeee32 { .. }, _)
            | (InstructionData::UnaryIeee64 { .. } | InstructionData::UnaryGlobalValue { .. }, _) => Ok(()),
            (InstructionData::NullAry { opcode: Opcode::Nop }, _) => Ok(()),
            (InstructionData::NullAry { opcode: Opcode::Fence }, _) => self.plain("fence seq_cst"),
            (InstructionData::NullAry { .. }, Some(to)) if data.opcode() == Opcode::GetPinnedReg => {
                self.plain(&format!("%{to} = ptrtoint ptr %hart to i64"))
            }
            (InstructionData::Unary { opcode, arg }, Some(to)) => self.unary(opcode, to, arg),
            (InstructionData::Binary { opcode, args }, Some(to)) => self.binary(opcode, to, args),
            (InstructionData::IntCompare { args, cond, .. }, Some(to)) => {
                let typed = self.typed(args[0])?;
                let other = self.operand(args[1]);
                let bit = self.step(format_args!("icmp {} {typed}, {other}", condition(cond)));
                self.plain(&format!("%{to} = zext i1 {bit} to i8"))
            }
            (InstructionData::FloatCompare { args, cond, .. }, Some(to)) => {
                self.compare_floats(to, args, cond)
            }
            (InstructionData::Ternary { opcode: Opcode::Select, args: [c, a, b] }, Some(to)) => {
                let (condition, a, b) = (self.truth(c)?, self.typed(a)?, self.typed(b)?);
                self.plain(&format!("%{to} = select i1 {condition}, {a}, {b}"))
            }
            (InstructionData::Ternary { opcode: Opcode::Fma, args }, Some(to)) => {
                self.strict("fma", to, &args, true)
            }
            (InstructionData::Load { opcode, arg, flags, offset }, Some(to)) => {
                self.load(opcode, to, arg, flags, offset)
            }
            (InstructionData::Store { opcode, args: [value, base], flags, offset }, None) => {
                self.store(opcode, value, base, flags, offset)
            }
            (InstructionData::LoadNoOffset { opcode: Opcode::AtomicLoad, arg, flags }, Some(to)) => {
                let (ty, bytes) = (self.type_of(to)?, self.bytes(to));
                let (at, kind) = (self.place(arg, 0), self.kind(flags));
                self.plain(&format!("%{to} = load atomic {ty}, ptr {at} seq_cst, align {bytes}{kind}"))
            }
            (InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. }, Some(to)) => {
                let (typed, ty) = (self.typed(arg)?, self.type_of(to)?);
                self.plain(&format!("%{to} = bitcast {typed} to {ty}"))
            }
            (InstructionData::AtomicRmw { args: [base, value], op, .. }, Some(to)) => {
                let (at, typed, bytes) = (self.place(base, 0), self.typed(value)?, self.bytes(value));
                let op = modification(op);
                self.plain(&format!("%{to} = atomicrmw {op} ptr {at}, {typed} seq_cst, align {bytes}"))
            }
            (InstructionData::AtomicCas { args: [base, expected, new], .. }, Some(to)) => {
                let (at, ty, bytes) = (self.place(base, 0), self.type_of(new)?, self.bytes(new));
                let (expected, new) = (self.typed(expected)?, self.typed(new)?);
                let pair = self
                    .step(format_args!("cmpxchg ptr {at}, {expected}, {new} seq_cst seq_cst, align {bytes}"));
                self.plain(&format!("%{to} = extractvalue {{ {ty}, i1 }} {pair}, 0"))
            }
            (InstructionData::CallIndirect { opcode, args, .. }, _) => {
                let args = args.as_slice(&self.func.dfg.value_lists);
                match (opcode, args) {
                    (Opcode::CallIndirect, &[callee]) => self.call_helper(callee),
                    (Opcode::ReturnCallIndirect, &[code, page, entry]) => self.go_to_unit(code, page, entry),
                    _ => Err(TextError::Opcode(opcode.to_string())),
                }
            }
            (InstructionData::MultiAry { opcode: Opcode::Return, args }, _) if args.is_empty() => {
                self.plain("ret void")
            }
            _ if data.opcode().is_branch() => self.branch(inst),
            _ => Err(TextError::Opcode(data.opcode().to_string())),
        }
    }

    /// A line by itself.
    pub fn plain(&mut self, text: &str) -> Result<(), TextError> {
        self.line(format_args!("  {text}"));
        Ok(())
    }

    fn bytes(&self, value: Value) -> u32 {
        self.func.dfg.value_type(value).bytes()
    }

    fn unary(&mut self, opcode: Opcode, to: Value, arg: Value) -> Result<(), TextError> {
        let (typed, ty) = (self.typed(arg)?, self.type_of(to)?);
        let text = match opcode {
            Opcode::Ireduce => format!("trunc {typed} to {ty}"),
            Opcode::Uextend => format!("zext {typed} to {ty}"),
            Opcode::Sextend => format!("sext {typed} to {ty}"),
            Opcode::Bnot => format!("xor {typed}, -1"),
            Opcode::Ineg => format!("sub {ty} 0, {}", self.operand(arg)),
            Opcode::Clz => format!("call {ty} @llvm.ctlz.{ty}({typed}, i1 false)"),
            Opcode::Ctz => format!("call {ty} @llvm.cttz.{ty}({typed}, i1 false)"),
            Opcode::Popcnt => format!("call {ty} @llvm.ctpop.{ty}({typed})"),
            Opcode::Bswap => format!("call {ty} @llvm.bswap.{ty}({typed})"),
            _ => return self.float_unary(opcode, to, arg),
        };
        self.plain(&format!("%{to} = {text}"))
    }

    fn binary(&mut self, opcode: Opcode, to: Value, [a, b]: [Value; 2]) -> Result<(), TextError> {
        let (typed, other, ty) = (self.typed(a)?, self.operand(b), self.type_of(to)?);
        let text = match opcode {
            Opcode::Iadd => format!("add {typed}, {other}"),
            Opcode::Isub => format!("sub {typed}, {other}"),
            Opcode::Imul => format!("mul {typed}, {other}"),
            Opcode::Band => format!("and {typed}, {other}"),
            Opcode::Bor => format!("or {typed}, {other}"),
            Opcode::Bxor => format!("xor {typed}, {other}"),
            Opcode::Ishl => format!("shl {typed}, {}", self.amount(a, b)?),
            Opcode::Ushr => format!("lshr {typed}, {}", self.amount(a, b)?),
            Opcode::Sshr => format!("ashr {typed}, {}", self.amount(a, b)?),
            Opcode::Rotl | Opcode::Rotr => {
                let (way, by) = (if opcode == Opcode::Rotl { "fshl" } else { "fshr" }, self.amount(a, b)?);
                format!("call {ty} @llvm.{way}.{ty}({typed}, {typed}, {ty} {by})")
            }
            Opcode::Smulhi | Opcode::Umulhi if ty == "i64" => return self.high_half(opcode, to, a, b),
            Opcode::Sdiv => format!("sdiv {typed}, {other}"),
            Opcode::Udiv => format!("udiv {typed}, {other}"),
            Opcode::Srem => format!("srem {typed}, {other}"),
            Opcode::Urem => format!("urem {typed}, {other}"),
            _ => return self.float_binary(opcode, to, [a, b]),
        };
        self.plain(&format!("%{to} = {text}"))
    }

    /// By how much `a` is shifted: what is beyond its bits does not count.
    fn amount(&mut self, a: Value, b: Value) -> Result<String, TextError> {
        let (from, to) = (self.func.dfg.value_type(b), self.func.dfg.value_type(a));
        let mask = i64::from(to.bits()) - 1;
        if let Some(by) = self.constant(b) {
            return Ok((by & mask).to_string());
        }
        let (typed, ty) = (self.typed(b)?, name_of(to)?);
        let wide = match from.bits().cmp(&to.bits()) {
            std::cmp::Ordering::Less => self.step(format_args!("zext {typed} to {ty}")),
            std::cmp::Ordering::Greater => self.step(format_args!("trunc {typed} to {ty}")),
            std::cmp::Ordering::Equal => self.operand(b),
        };
        Ok(self.step(format_args!("and {ty} {wide}, {mask}")))
    }

    fn high_half(&mut self, opcode: Opcode, to: Value, a: Value, b: Value) -> Result<(), TextError> {
        let extend = if opcode == Opcode::Smulhi { "sext" } else { "zext" };
        let (a, b) = (self.typed(a)?, self.typed(b)?);
        let a = self.step(format_args!("{extend} {a} to i128"));
        let b = self.step(format_args!("{extend} {b} to i128"));
        let product = self.step(format_args!("mul i128 {a}, {b}"));
        let high = self.step(format_args!("lshr i128 {product}, 64"));
        self.plain(&format!("%{to} = trunc i128 {high} to i64"))
    }

    /// A pointer to `base + offset`.
    fn place(&mut self, base: Value, offset: i64) -> String {
        let pinned = |data: &InstructionData| data.opcode() == Opcode::GetPinnedReg;
        let (of_hart, offset) = match self.definition(base).map(|(_, data)| *data) {
            Some(data) if pinned(&data) => (true, offset),
            // A constant place in the hart.
            Some(InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] }) => {
                match (self.definition(a).is_some_and(|(_, data)| pinned(data)), self.constant(b)) {
                    (true, Some(more)) => (true, offset.wrapping_add(more)),
                    _ => (false, offset),
                }
            }
            _ => (false, offset),
        };
        let pointer = if of_hart {
            "%hart".to_owned()
        } else {
            let base = self.operand(base);
            self.step(format_args!("inttoptr i64 {base} to ptr"))
        };
        match offset {
            0 => pointer,
            _ => self.step(format_args!("getelementptr i8, ptr {pointer}, i64 {offset}")),
        }
    }

    fn load(
        &mut self,
        opcode: Opcode,
        to: Value,
        base: Value,
        flags: MemFlags,
        offset: Offset32,
    ) -> Result<(), TextError> {
        if let Some(name) = self.word_behind(base)? {
            // Mostly for rare ways: to be done there, and not in front of a loop for all of it.
            return self.plain(&format!("%{to} = load volatile i64, ptr @{name}, align 8, !tbaa !5"));
        }
        let ty = self.type_of(to)?;
        let (narrow, extend): (Type, &str) = match opcode {
            Opcode::Load => (self.func.dfg.value_type(to), ""),
            Opcode::Uload8 => (I8, "zext"),
            Opcode::Sload8 => (I8, "sext"),
            Opcode::Uload16 => (I16, "zext"),
            Opcode::Sload16 => (I16, "sext"),
            Opcode::Uload32 => (I32, "zext"),
            Opcode::Sload32 => (I32, "sext"),
            _ => return Err(TextError::Opcode(opcode.to_string())),
        };
        let (align, kind) = (self.alignment(flags, narrow), self.kind(flags));
        let (at, narrow) = (self.place(base, i64::from(i32::from(offset))), name_of(narrow)?);
        let load = format!("load {narrow}, ptr {at}, align {align}{kind}");
        if extend.is_empty() {
            return self.plain(&format!("%{to} = {load}"));
        }
        let value = self.step(format_args!("{load}"));
        self.plain(&format!("%{to} = {extend} {narrow} {value} to {ty}"))
    }

    fn store(
        &mut self,
        opcode: Opcode,
        value: Value,
        base: Value,
        flags: MemFlags,
        offset: Offset32,
    ) -> Result<(), TextError> {
        let narrow = match opcode {
            Opcode::Store => self.func.dfg.value_type(value),
            Opcode::Istore8 => I8,
            Opcode::Istore16 => I16,
            Opcode::Istore32 => I32,
            _ => return Err(TextError::Opcode(opcode.to_string())),
        };
        let (align, kind) = (self.alignment(flags, narrow), self.kind(flags));
        let at = self.place(base, i64::from(i32::from(offset)));
        let stored = if narrow == self.func.dfg.value_type(value) {
            self.typed(value)?
        } else {
            let (typed, narrow) = (self.typed(value)?, name_of(narrow)?);
            format!("{narrow} {}", self.step(format_args!("trunc {typed} to {narrow}")))
        };
        self.plain(&format!("store {stored}, ptr {at}, align {align}{kind}"))
    }

    fn alignment(&self, flags: MemFlags, ty: Type) -> u32 {
        if self.func.dfg.mem_flags[flags].aligned() { ty.bytes() } else { 1 }
    }

    /// The word behind the text whose address a value is.
    fn word_behind(&mut self, value: Value) -> Result<Option<String>, TextError> {
        let Some((_, &InstructionData::UnaryGlobalValue { global_value, .. })) = self.definition(value)
        else {
            return Ok(None);
        };
        match &self.func.global_values[global_value] {
            GlobalValueData::Symbol { name: ExternalName::User(name), offset, .. } if offset.bits() == 0 => {
                let name = &self.func.params.user_named_funcs()[*name];
                self.names.insert((name.namespace, name.index));
                Ok(Some(word(name.namespace, name.index)))
            }
            other => Err(TextError::Name(other.to_string())),
        }
    }

    fn call_helper(&mut self, callee: Value) -> Result<(), TextError> {
        let base = match self.definition(callee) {
            Some((_, &InstructionData::Load { opcode: Opcode::Load, arg, .. })) => Some(arg),
            _ => None,
        };
        let Some(name) = base.map(|base| self.word_behind(base)).transpose()?.flatten() else {
            return Err(TextError::Name(format!("a call of {callee}")));
        };
        let attributes = if self.strict { " #3" } else { " #2" };
        self.plain(&format!("{HELPER}\"*m,{TOUCHES}\"(ptr elementtype(i64) @{name}, ptr %hart){attributes}"))
    }

    fn go_to_unit(&mut self, code: Value, page: Value, entry: Value) -> Result<(), TextError> {
        let (code, page, entry) = (self.operand(code), self.typed(page)?, self.typed(entry)?);
        let code = self.step(format_args!("inttoptr i64 {code} to ptr"));
        let any = "i64 poison";
        self.plain(&format!(
            "musttail call ghccc void {code}({any}, {any}, {any}, {any}, {any}, {entry}, {page}, {any}, {any}, \
             ptr %hart)"
        ))?;
        self.plain("ret void")
    }
}

fn condition(code: IntCC) -> &'static str {
    match code {
        IntCC::Equal => "eq",
        IntCC::NotEqual => "ne",
        IntCC::SignedLessThan => "slt",
        IntCC::SignedGreaterThanOrEqual => "sge",
        IntCC::SignedGreaterThan => "sgt",
        IntCC::SignedLessThanOrEqual => "sle",
        IntCC::UnsignedLessThan => "ult",
        IntCC::UnsignedGreaterThanOrEqual => "uge",
        IntCC::UnsignedGreaterThan => "ugt",
        IntCC::UnsignedLessThanOrEqual => "ule",
    }
}

fn modification(op: AtomicRmwOp) -> &'static str {
    match op {
        AtomicRmwOp::Add => "add",
        AtomicRmwOp::Sub => "sub",
        AtomicRmwOp::And => "and",
        AtomicRmwOp::Nand => "nand",
        AtomicRmwOp::Or => "or",
        AtomicRmwOp::Xor => "xor",
        AtomicRmwOp::Xchg => "xchg",
        AtomicRmwOp::Umin => "umin",
        AtomicRmwOp::Umax => "umax",
        AtomicRmwOp::Smin => "min",
        AtomicRmwOp::Smax => "max",
    }
}
