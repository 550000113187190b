//! Floating point, with flags and all: operations that may set one are LLVM's constrained intrinsics, which are
//! neither folded nor left out nor done at another time.
//!
//! **Invariant.** The only operations that LLVM may move are those that set no flag: on bits, and whether the
//! result of arithmetic, which is never a signalling NaN, is a NaN.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32, F64, I64};
use cranelift_codegen::ir::{Function, Inst, Opcode, Value};

use super::text::{TextError, Writer, name_of};

/// Whether an instruction may set a flag.
pub(super) fn is_strict(func: &Function, inst: Inst) -> bool {
    use Opcode::*;
    let opcode = func.dfg.insts[inst].opcode();
    makes_float(opcode) || matches!(opcode, Fcmp | FcvtToSintSat)
}

/// Operations whose result is a number or a quiet NaN.
fn makes_float(opcode: Opcode) -> bool {
    use Opcode::*;
    matches!(
        opcode,
        Fadd | Fsub | Fmul | Fdiv | Sqrt | Fma | Fpromote | Fdemote | FcvtFromSint | FcvtFromUint
    )
}

/// Rounding is what MXCSR says.
const DYNAMIC: &str = "metadata !\"round.dynamic\", ";
const STRICT: &str = "metadata !\"fpexcept.strict\"";

impl Writer<'_> {
    /// An operation that sets flags, on operands of its result's type.
    pub fn strict(&mut self, name: &str, to: Value, args: &[Value], rounds: bool) -> Result<(), TextError> {
        let (ty, suffix) = (self.type_of(to)?, suffix(self.func.dfg.value_type(to))?);
        let args: Vec<String> = args.iter().map(|&arg| self.typed(arg)).collect::<Result<_, _>>()?;
        let (args, rounding) = (args.join(", "), if rounds { DYNAMIC } else { "" });
        self.plain(&format!(
            "%{to} = call {ty} @llvm.experimental.constrained.{name}.{suffix}({args}, {rounding}{STRICT}) #3"
        ))
    }

    pub fn float_binary(&mut self, opcode: Opcode, to: Value, args: [Value; 2]) -> Result<(), TextError> {
        let name = match opcode {
            Opcode::Fadd => "fadd",
            Opcode::Fsub => "fsub",
            Opcode::Fmul => "fmul",
            Opcode::Fdiv => "fdiv",
            _ => return Err(TextError::Opcode(opcode.to_string())),
        };
        self.strict(name, to, &args, true)
    }

    pub fn float_unary(&mut self, opcode: Opcode, to: Value, arg: Value) -> Result<(), TextError> {
        let (typed, ty) = (self.typed(arg)?, self.type_of(to)?);
        let text = match opcode {
            Opcode::Sqrt => return self.strict("sqrt", to, &[arg], true),
            Opcode::Fneg => format!("fneg {typed}"),
            Opcode::Fabs => {
                let suffix = suffix(self.func.dfg.value_type(to))?;
                format!("call {ty} @llvm.fabs.{suffix}({typed})")
            }
            Opcode::Fpromote => self.conversion("fpext", to, arg, "")?,
            Opcode::Fdemote => self.conversion("fptrunc", to, arg, DYNAMIC)?,
            Opcode::FcvtFromSint => self.conversion("sitofp", to, arg, DYNAMIC)?,
            Opcode::FcvtFromUint => return self.convert_unsigned(to, arg),
            // The lifter converts here only what is in range.
            Opcode::FcvtToSintSat => self.conversion("fptosi", to, arg, "")?,
            _ => return Err(TextError::Opcode(opcode.to_string())),
        };
        self.plain(&format!("%{to} = {text}"))
    }

    fn conversion(&self, name: &str, to: Value, arg: Value, rounding: &str) -> Result<String, TextError> {
        let types = &self.func.dfg;
        let (to, from) = (types.value_type(to), types.value_type(arg));
        let (ty, typed) = (name_of(to)?, self.typed(arg)?);
        let (to, from) = (suffix(to)?, suffix(from)?);
        Ok(format!(
            "call {ty} @llvm.experimental.constrained.{name}.{to}.{from}({typed}, {rounding}{STRICT}) #3"
        ))
    }

    /// An unsigned integer: what does not fit a signed one is halved, its last bit kept, and doubled after.
    fn convert_unsigned(&mut self, to: Value, arg: Value) -> Result<(), TextError> {
        let (kind, ty) = (self.func.dfg.value_type(to), self.type_of(to)?);
        if self.func.dfg.value_type(arg) != I64 {
            return Err(TextError::Opcode(Opcode::FcvtFromUint.to_string()));
        }
        let (x, suffix) = (self.operand(arg), suffix(kind)?);
        let large = self.step(format_args!("icmp slt i64 {x}, 0"));
        let half = self.step(format_args!("lshr i64 {x}, 1"));
        let last = self.step(format_args!("and i64 {x}, 1"));
        let half = self.step(format_args!("or i64 {half}, {last}"));
        let small = self.step(format_args!("select i1 {large}, i64 {half}, i64 {x}"));
        let name = "@llvm.experimental.constrained";
        let value = self
            .step(format_args!("call {ty} {name}.sitofp.{suffix}.i64(i64 {small}, {DYNAMIC}{STRICT}) #3"));
        let twice = self.step(format_args!(
            "call {ty} {name}.fadd.{suffix}({ty} {value}, {ty} {value}, {DYNAMIC}{STRICT}) #3"
        ));
        self.plain(&format!("%{to} = select i1 {large}, {ty} {twice}, {ty} {value}"))
    }

    /// A quiet comparison, as `ucomisd` makes it.
    pub fn compare_floats(&mut self, to: Value, args: [Value; 2], cond: FloatCC) -> Result<(), TextError> {
        let [a, b] = args.map(|arg| self.func.dfg.resolve_aliases(arg));
        let (typed, other, code) = (self.typed(a)?, self.typed(b)?, condition(cond));
        let made = self.definition(a).is_some_and(|(_, data)| makes_float(data.opcode()));
        let bit = if a == b && made {
            let other = self.operand(b);
            self.step(format_args!("fcmp {code} {typed}, {other}"))
        } else {
            let suffix = suffix(self.func.dfg.value_type(a))?;
            self.step(format_args!(
                "call i1 @llvm.experimental.constrained.fcmp.{suffix}({typed}, {other}, metadata !\"{code}\", {STRICT}) #3"
            ))
        };
        self.plain(&format!("%{to} = zext i1 {bit} to i8"))
    }
}

/// How intrinsics name a type.
fn suffix(ty: cranelift_codegen::ir::Type) -> Result<&'static str, TextError> {
    match ty {
        F32 => Ok("f32"),
        F64 => Ok("f64"),
        _ => name_of(ty),
    }
}

fn condition(code: FloatCC) -> &'static str {
    match code {
        FloatCC::Ordered => "ord",
        FloatCC::Unordered => "uno",
        FloatCC::Equal => "oeq",
        FloatCC::NotEqual => "une",
        FloatCC::OrderedNotEqual => "one",
        FloatCC::UnorderedOrEqual => "ueq",
        FloatCC::LessThan => "olt",
        FloatCC::LessThanOrEqual => "ole",
        FloatCC::GreaterThan => "ogt",
        FloatCC::GreaterThanOrEqual => "oge",
        FloatCC::UnorderedOrLessThan => "ult",
        FloatCC::UnorderedOrLessThanOrEqual => "ule",
        FloatCC::UnorderedOrGreaterThan => "ugt",
        FloatCC::UnorderedOrGreaterThanOrEqual => "uge",
    }
}
