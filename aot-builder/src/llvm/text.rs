//! A lifted region as a function in LLVM's language.
//!
//! ```text
//!  define ghccc void @u3(…, i64 %entry, i64 %page, …, ptr %hart)      rsi, rdi, r15: the convention of units
//!    b0:      get_pinned_reg ─► %hart    brif ─► br i1 …, weights    block parameters ─► phi
//!    e12.1:   an edge that carries arguments has a block of its own
//! ```
//! Values keep their numbers: `v7` is `%v7`. What takes several steps has temporaries, `%t0`, `%t1`, ….
//!
//! **Invariant.** An opcode, a type or a callee that is not known here is refused by name, never guessed: its
//! region is left to Cranelift.

use std::collections::HashMap;
use std::fmt::{self, Write};

use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstructionData, MemFlags, Opcode, Type, Value, ValueDef,
};
use thiserror::Error;
use vm_cpu::aot::lifted::Lifted;

use super::insts::Names;

/// Why a region has no text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TextError {
    /// An instruction that has no counterpart here.
    #[error("expected an instruction that has a form in LLVM's language, found {0}")]
    Opcode(String),
    /// A type that no value of a region has.
    #[error("expected an integer or floating point type, found {0}")]
    Type(String),
    /// What is called or named is no helper and no word of the unit.
    #[error("expected a word behind the text, found {0}")]
    Name(String),
}

/// How often an edge between blocks is taken: parts of this.
pub const WHOLE: u64 = 1 << 20;
/// Of an edge that leads to what happens rarely.
const RARE: u64 = 1 << 4;

/// The text of one function in the making.
pub(super) struct Writer<'a> {
    pub func: &'a Function,
    lifted: &'a Lifted,
    pub out: String,
    /// Temporaries so far.
    temporaries: usize,
    /// For each block with parameters: labels of the edges that lead there, and their arguments.
    arriving: HashMap<Block, Vec<(String, Vec<Value>)>>,
    /// Words that it names.
    pub names: &'a mut Names,
    /// It has operations with flags.
    pub strict: bool,
    /// Pairs of weights, as the module's metadata has them.
    pub weights: &'a mut Weights,
}

/// Branch weights of a module, each pair once.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pairs: HashMap<(u64, u64), usize>,
    pub text: String,
}

impl Weights {
    /// The number of a pair, from `first` on.
    fn number(&mut self, pair: (u64, u64)) -> usize {
        let next = self.pairs.len() + FIRST_WEIGHTS;
        *self.pairs.entry(pair).or_insert_with(|| {
            _ = writeln!(self.text, "!{next} = !{{!\"branch_weights\", i32 {}, i32 {}}}", pair.0, pair.1);
            next
        })
    }
}

/// Metadata below this number is the same in each module.
const FIRST_WEIGHTS: usize = 16;

/// Writes a region as a function of this number; what it needs of the module goes to `names` and `weights`.
pub(super) fn function(
    number: usize,
    lifted: &Lifted,
    names: &mut Names,
    weights: &mut Weights,
) -> Result<String, TextError> {
    let func = &lifted.function;
    let strict = func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block))
        .any(|inst| super::float::is_strict(func, inst));
    let mut writer = Writer {
        func,
        lifted,
        out: String::new(),
        temporaries: 0,
        arriving: HashMap::new(),
        names,
        strict,
        weights,
    };
    writer.whole(number)?;
    Ok(writer.out)
}

impl Writer<'_> {
    fn whole(&mut self, number: usize) -> Result<(), TextError> {
        let func = self.func;
        let Some(start) = func.layout.entry_block() else {
            return Err(TextError::Opcode("no block".to_owned()));
        };
        let &[page, entry] = func.dfg.block_params(start) else {
            return Err(TextError::Type("another signature".to_owned()));
        };
        self.gather()?;
        self.line(format_args!(
            "define ghccc void @u{number}(i64 %r13, i64 %rbp, i64 %r12, i64 %rbx, i64 %r14, i64 %{entry}, \
             i64 %{page}, i64 %r8, i64 %r9, ptr dereferenceable({}) align 16 %hart) #{} section \".text.u{number}\" {{",
            vm_cpu::jit::abi::FRAME_BYTES,
            u8::from(self.strict)
        ));
        for block in func.layout.blocks() {
            self.line(format_args!("{block}:"));
            if block != start {
                self.phis(block)?;
            }
            for inst in func.layout.block_insts(block) {
                if func.layout.is_cold(block) && func.layout.last_inst(block) == Some(inst) {
                    // Or what is rare would be done always, to spare a jump, and loads of both ways made one.
                    self.line(format_args!("  call void asm sideeffect \"\", \"~{{memory}}\"() #2"));
                }
                self.inst(inst)?;
            }
        }
        self.line(format_args!("}}"));
        Ok(())
    }

    /// Notes which edges carry arguments.
    fn gather(&mut self) -> Result<(), TextError> {
        let func = self.func;
        for block in func.layout.blocks() {
            let Some(inst) = func.layout.last_inst(block) else { continue };
            let targets =
                func.dfg.insts[inst].branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables);
            for (at, call) in targets.iter().enumerate() {
                let args = self.arguments(call)?;
                if !args.is_empty() {
                    let from = if targets.len() == 1 { block.to_string() } else { edge(inst, at) };
                    let to = call.block(&func.dfg.value_lists);
                    self.arriving.entry(to).or_default().push((from, args));
                }
            }
        }
        Ok(())
    }

    fn arguments(&self, call: &BlockCall) -> Result<Vec<Value>, TextError> {
        let args = call.args(&self.func.dfg.value_lists);
        args.map(|arg| match arg {
            BlockArg::Value(value) => Ok(value),
            other => Err(TextError::Opcode(format!("{other:?}"))),
        })
        .collect()
    }

    fn phis(&mut self, block: Block) -> Result<(), TextError> {
        let func = self.func;
        let arriving = self.arriving.remove(&block).unwrap_or_default();
        for (at, &param) in func.dfg.block_params(block).iter().enumerate() {
            let ty = name_of(func.dfg.value_type(param))?;
            if arriving.is_empty() {
                // Nobody gets here.
                self.line(format_args!("  %{param} = freeze {ty} poison"));
                continue;
            }
            let from: Vec<String> = arriving
                .iter()
                .map(|(label, args)| format!("[ {}, %{label} ]", self.operand(args[at])))
                .collect();
            self.line(format_args!("  %{param} = phi {ty} {}", from.join(", ")));
        }
        Ok(())
    }

    /// A line of text.
    pub fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        _ = self.out.write_fmt(text);
        self.out.push('\n');
    }

    /// A new temporary.
    pub fn temporary(&mut self) -> String {
        self.temporaries += 1;
        format!("%t{}", self.temporaries - 1)
    }

    /// A temporary that is `text`.
    pub fn step(&mut self, text: fmt::Arguments<'_>) -> String {
        let name = self.temporary();
        self.line(format_args!("  {name} = {text}"));
        name
    }

    /// The instruction that defines a value, if one does.
    pub fn definition(&self, value: Value) -> Option<(Inst, &InstructionData)> {
        let dfg = &self.func.dfg;
        match dfg.value_def(dfg.resolve_aliases(value)) {
            ValueDef::Result(inst, 0) => Some((inst, &dfg.insts[inst])),
            _ => None,
        }
    }

    /// The constant that a value is.
    pub fn constant(&self, value: Value) -> Option<i64> {
        match self.definition(value)?.1 {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                Some(signed(*imm, self.func.dfg.value_type(value)))
            }
            _ => None,
        }
    }

    /// A value as an operand.
    pub fn operand(&self, value: Value) -> String {
        let value = self.func.dfg.resolve_aliases(value);
        if let Some(number) = self.constant(value) {
            return number.to_string();
        }
        match self.definition(value) {
            Some((_, InstructionData::UnaryIeee64 { imm, .. })) => {
                format!("bitcast (i64 {} to double)", imm.bits() as i64)
            }
            Some((_, InstructionData::UnaryIeee32 { imm, .. })) => {
                format!("bitcast (i32 {} to float)", imm.bits() as i32)
            }
            _ => format!("%{value}"),
        }
    }

    pub fn type_of(&self, value: Value) -> Result<&'static str, TextError> {
        name_of(self.func.dfg.value_type(value))
    }

    /// `TYPE OPERAND`.
    pub fn typed(&self, value: Value) -> Result<String, TextError> {
        Ok(format!("{} {}", self.type_of(value)?, self.operand(value)))
    }

    /// What an access may say of itself: its kind of memory, and that it does not change.
    pub fn kind(&self, flags: MemFlags) -> String {
        let data = self.func.dfg.mem_flags[flags];
        let region = data.alias_region().map(|region| self.func.dfg.alias_regions[region].user_id);
        // As `MODULE` numbers them: hart, tables, guest.
        let kind = region.filter(|id| (1..=3).contains(id)).map(|id| format!(", !tbaa !{}", 3 + id));
        let fixed = if data.readonly() { ", !invariant.load !0" } else { "" };
        kind.unwrap_or_default() + fixed
    }

    /// The end of a block.
    pub fn branch(&mut self, inst: Inst) -> Result<(), TextError> {
        let dfg = &self.func.dfg;
        match dfg.insts[inst] {
            InstructionData::Jump { destination, .. } => {
                let to = destination.block(&dfg.value_lists);
                self.line(format_args!("  br label %{to}"));
            }
            InstructionData::Brif { arg, blocks, .. } => {
                let condition = self.truth(arg)?;
                let targets = blocks.map(|call| call.block(&dfg.value_lists));
                let odds = self.odds(targets).map(|pair| format!(", !prof !{}", self.weights.number(pair)));
                let odds = odds.unwrap_or_default();
                let labels = [0, 1].map(|at| self.label(inst, at, &blocks[at], targets[at]));
                let [yes, no] = &labels;
                self.line(format_args!("  br i1 {condition}, label %{yes}, label %{no}{odds}"));
                self.edges(inst, &blocks);
            }
            InstructionData::BranchTable { arg, table, .. } => {
                let calls = dfg.jump_tables[table].all_branches();
                let label = |at: usize| self.label(inst, at, &calls[at], calls[at].block(&dfg.value_lists));
                let ty = self.type_of(arg)?;
                let cases: Vec<String> =
                    (1..calls.len()).map(|at| format!("{ty} {}, label %{}", at - 1, label(at))).collect();
                let (operand, default) = (self.operand(arg), label(0));
                let cases = cases.join(" ");
                self.line(format_args!("  switch {ty} {operand}, label %{default} [ {cases} ]"));
                self.edges(inst, calls);
            }
            ref other => return Err(TextError::Opcode(other.opcode().to_string())),
        }
        Ok(())
    }

    /// Where an edge of a branch leads: to its own block, if it carries something.
    fn label(&self, inst: Inst, at: usize, call: &BlockCall, to: Block) -> String {
        if call.len(&self.func.dfg.value_lists) == 0 { to.to_string() } else { edge(inst, at) }
    }

    fn edges(&mut self, inst: Inst, calls: &[BlockCall]) {
        let lists = &self.func.dfg.value_lists;
        for (at, call) in calls.iter().enumerate() {
            if call.len(lists) != 0 {
                let to = call.block(lists);
                self.line(format_args!("{}:\n  br label %{to}", edge(inst, at)));
            }
        }
    }

    /// How often each way of a branch is taken, if it is known. What was never seen to happen may.
    fn odds(&self, targets: [Block; 2]) -> Option<(u64, u64)> {
        let cold = targets.map(|to| self.func.layout.is_cold(to));
        match cold {
            [true, false] => Some((RARE, WHOLE)),
            [false, true] => Some((WHOLE, RARE)),
            _ => {
                let (yes, no) = self.lifted.odds(targets[0])?;
                let unused = 32 - (yes | no).leading_zeros().min(32);
                Some(((yes >> unused).max(1), (no >> unused).max(1)))
            }
        }
    }

    /// An `i1` that is whether `value` is not 0.
    pub fn truth(&mut self, value: Value) -> Result<String, TextError> {
        let typed = self.typed(value)?;
        Ok(self.step(format_args!("icmp ne {typed}, 0")))
    }
}

fn edge(inst: Inst, at: usize) -> String {
    format!("{inst}.{at}")
}

/// The type in LLVM's language.
pub(super) fn name_of(ty: Type) -> Result<&'static str, TextError> {
    match ty {
        I8 => Ok("i8"),
        I16 => Ok("i16"),
        I32 => Ok("i32"),
        I64 => Ok("i64"),
        F32 => Ok("float"),
        F64 => Ok("double"),
        other => Err(TextError::Type(other.to_string())),
    }
}

fn signed(imm: Imm64, ty: Type) -> i64 {
    let unused = 64 - ty.bits().min(64);
    imm.bits() << unused >> unused
}
