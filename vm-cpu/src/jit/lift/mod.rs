//! A region as Cranelift's intermediate code: [`Emit`](crate::isa::emit::Emit) by recording.
//!
//! ```text
//!  entry block: which entry? ─► prologue an entry: attention, registers it needs
//!  basic block: count, [attention if a loop's head], instructions ─► successor │ exit through a cell
//!  cold:        store dirty registers, call a helper, go on or leave
//! ```
//! Guest registers are variables; `dirty` says which of them the hart's state does not hold yet.

mod atomic;
mod beside;
mod control;
mod emit;
mod float;
mod hammock;
mod memory;
mod narrow;
mod place;
mod rounds;
mod runtime;
mod slots;
mod system;

pub(super) use self::float::{computes, float_condition_of, leaves_raw, stale_after};
pub use self::place::{Binding, HELPER_WORDS, LINK_WORDS, NUMBER_WORD, Place, SITES_WORD, space};

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F64, I32, I64};
use cranelift_codegen::ir::{self, AbiParam, InstBuilder, MemFlagsData, SigRef, Signature, SourceLoc, Value};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

use super::abi::{self, Leave, native};
use super::live;
use super::region::{Region, RegionBlock};

/// Instructions that a loop executes before it looks at the hart's attention: a microsecond.
const PATIENCE: i64 = 4096;

/// Optimisations that can be turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// One check for several accesses by the same base register.
    pub group: bool,
    /// An inline cache for each access.
    pub slots: bool,
    /// Stores beside code without the runtime.
    pub beside: bool,
    /// The host has a fused multiply-add.
    pub fma: bool,
    /// Floating point on the host's FPU.
    pub float: bool,
    /// Words computed as words, and rotations made of shifts.
    pub narrow: bool,
    /// Several rounds of a short loop as one, whose accesses are checked together.
    pub unroll: bool,
    /// A branch over an instruction or two as a selection of what they compute.
    pub select: bool,
    /// CSRs of traps and critical sections, LR/SC and `cbo.zero` in place.
    pub system: bool,
    /// Returns look where calls of late come back to.
    pub returns: bool,
    /// Units lead to no other unit, and leave loops at their heads: steps of lock-step.
    pub alone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            group: true,
            slots: true,
            beside: true,
            fma: std::is_x86_feature_detected!("fma"),
            float: true,
            narrow: true,
            unroll: true,
            select: true,
            system: true,
            returns: true,
            alone: false,
        }
    }
}

/// Kinds of memory, which do not alias.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    /// The hart's words.
    state: MemFlagsData,
    /// Words of the hart that stay as they are while the unit runs.
    fixed: MemFlagsData,
    /// The soft-TLB, cells, the jump cache.
    table: MemFlagsData,
    /// Guest memory.
    guest: MemFlagsData,
}

/// The state of lifting.
pub(super) struct Lifter<'a, 'p> {
    b: FunctionBuilder<'a>,
    region: &'a Region,
    place: Place<'p>,
    kinds: Kinds,
    /// r15.
    hart: Value,
    /// Virtual address of the page.
    page: Value,
    unit_sig: SigRef,
    helper_sig: Option<SigRef>,
    /// Values may be in vector registers.
    vectors: bool,
    blocks: Vec<ir::Block>,
    x: [Option<Variable>; 32],
    f: [Option<Variable>; 32],
    /// Which FP registers hold an operation's result, of those that are mixed in the block at hand.
    results: Option<Variable>,
    /// How many values have been put in sinks.
    sinks: usize,
    /// Instructions executed that `Core::retired` does not know of.
    count: Variable,
    // Of the block at hand.
    at: usize,
    insn: usize,
    first_insn: usize,
    counted: Value,
    dirty: u64,
    groups: memory::BlockGroups,
    rounds: rounds::State,
    float: float::State,
    /// The last comparison, to invert or select by.
    compared: Option<(Value, IntCC, Value, Value)>,
    /// Blocks of branches so far.
    sides: Sides,
}

/// Blocks that ways of the guest's branches begin with: of which block of the region, and which way, 0 for the one
/// taken.
pub type Sides = HashMap<ir::Block, (usize, usize)>;

/// Signature of a unit.
pub fn unit_signature() -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.extend([AbiParam::new(I64), AbiParam::new(I64)]);
    signature
}

/// Fills `func` with the region's code; gives the ways of its branches.
pub fn lift(
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    config: cranelift_codegen::isa::TargetFrontendConfig,
    region: &Region,
    place: Place<'_>,
) -> Sides {
    func.signature = unit_signature();
    let mut next = 0;
    let mut kind = |name: &str| {
        next += 1;
        let data = ir::AliasRegionData { user_id: next, description: name.to_owned().into() };
        Some(func.dfg.alias_regions.insert(data))
    };
    let trusted = MemFlagsData::trusted();
    let (state, table, guest) = (kind("hart"), kind("tables"), kind("guest"));
    let kinds = Kinds {
        state: trusted.with_alias_region(state),
        fixed: trusted.with_alias_region(state).with_readonly().with_can_move(),
        table: trusted.with_alias_region(table),
        guest: MemFlagsData::new().with_notrap().with_alias_region(guest),
    };
    let mut b = FunctionBuilder::new(func, context);
    let start = b.create_block();
    b.append_block_params_for_function_params(start);
    b.switch_to_block(start);
    b.seal_block(start);
    let hart = b.ins().get_pinned_reg(I64);
    let &[page, entry] = b.block_params(start) else { return Sides::new() };
    b.ins().store(kinds.state, page, hart, native!(page));
    let unit_sig = b.import_signature(unit_signature());
    let count = b.declare_var(I64);
    let blocks = region.blocks.iter().map(|_| b.create_block()).collect();
    let counted = page;
    let mut lifter = Lifter {
        b,
        region,
        place,
        kinds,
        hart,
        page,
        unit_sig,
        helper_sig: None,
        vectors: false,
        blocks,
        x: [None; 32],
        f: [None; 32],
        results: None,
        sinks: 0,
        count,
        at: 0,
        insn: 0,
        first_insn: 0,
        counted,
        dirty: 0,
        groups: memory::BlockGroups::default(),
        rounds: rounds::State::default(),
        float: float::State::default(),
        compared: None,
        sides: Sides::new(),
    };
    lifter.vectors = lifter.touches_floats();
    if region.blocks.iter().any(|block| block.mixed != 0) {
        lifter.results = Some(lifter.b.declare_var(I64));
    }
    lifter.enter(entry);
    for at in 0..region.blocks.len() {
        lifter.block(at);
        lifter.first_insn += region.blocks[at].insns.len();
    }
    let sides = std::mem::take(&mut lifter.sides);
    lifter.b.seal_all_blocks();
    lifter.b.finalize(config);
    sides
}

impl Lifter<'_, '_> {
    fn this(&self) -> &RegionBlock {
        &self.region.blocks[self.at]
    }

    fn iconst(&mut self, value: i64) -> Value {
        self.b.ins().iconst(I64, value)
    }

    /// Loads a word of the hart.
    fn word(&mut self, offset: i32) -> Value {
        let flags = self.kinds.state;
        self.b.ins().load(I64, flags, self.hart, offset)
    }

    /// Loads a word of the hart that does not change while a unit runs: at once for the whole unit if it
    /// loops.
    fn fixed_word(&mut self, offset: i32) -> Value {
        let flags = self.kinds.fixed;
        self.b.ins().load(I64, flags, self.hart, offset)
    }

    fn set_word(&mut self, offset: i32, value: Value) {
        let flags = self.kinds.state;
        self.b.ins().store(flags, value, self.hart, offset);
    }

    /// A block for what happens rarely.
    fn cold_block(&mut self) -> ir::Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    /// Continues in `block`, whose predecessors are all known.
    fn go_on_in(&mut self, block: ir::Block) {
        self.b.seal_block(block);
        self.b.switch_to_block(block);
    }

    fn x_var(&mut self, r: usize) -> Variable {
        match self.x[r] {
            Some(var) => var,
            None => *self.x[r].insert(self.b.declare_var(I64)),
        }
    }

    fn f_var(&mut self, r: usize) -> Variable {
        match self.f[r] {
            Some(var) => var,
            None => *self.f[r].insert(self.b.declare_var(F64)),
        }
    }

    /// Branches on the entry's number, and makes each entry ready for its block.
    fn enter(&mut self, entry: Value) {
        let entries: Vec<usize> = self.region.entries().collect();
        let prologues: Vec<ir::Block> = entries.iter().map(|_| self.b.create_block()).collect();
        match prologues[..] {
            [only] => _ = self.b.ins().jump(only, &[]),
            [first, second] => _ = self.b.ins().brif(entry, second, &[], first, &[]),
            _ => {
                let pool = &mut self.b.func.dfg.value_lists;
                let calls: Vec<_> =
                    prologues.iter().map(|&to| ir::BlockCall::new(to, std::iter::empty(), pool)).collect();
                let data = ir::JumpTableData::new(calls[0], &calls);
                let table = self.b.create_jump_table(data);
                let entry = self.b.ins().ireduce(I32, entry);
                self.b.ins().br_table(entry, table);
            }
        }
        for (&at, prologue) in entries.iter().zip(prologues) {
            self.go_on_in(prologue);
            self.prologue(at);
        }
    }

    fn prologue(&mut self, at: usize) {
        self.touch();
        let quiet = self.b.create_block();
        let called = self.cold_block();
        let attention = self.attention();
        self.b.ins().brif(attention, called, &[], quiet, &[]);
        self.go_on_in(called);
        self.leave(Leave::Attention);
        self.go_on_in(quiet);
        if let Some(condition) = self.float_condition() {
            let ready = self.word(condition);
            let (on, off) = (self.b.create_block(), self.cold_block());
            self.b.ins().brif(ready, on, &[], off, &[]);
            self.go_on_in(off);
            self.leave(Leave::Interpret);
            self.go_on_in(on);
        }
        self.own_slots(at);
        self.reload(self.region.blocks[at].live);
        self.begin_results();
        let zero = self.iconst(0);
        self.b.def_var(self.count, zero);
        self.b.ins().jump(self.blocks[at], &[]);
    }

    /// Loads registers from the hart's state.
    fn reload(&mut self, registers: u64) {
        for r in 1..32 {
            if registers >> r & 1 != 0 {
                let value = self.word(abi::x_offset(r));
                let var = self.x_var(r);
                self.b.def_var(var, value);
            }
        }
        for r in 0..32 {
            if registers >> (32 + r) & 1 != 0 {
                let flags = self.kinds.state;
                let value = self.b.ins().load(F64, flags, self.hart, abi::f_offset(r));
                let var = self.f_var(r);
                self.b.def_var(var, value);
            }
        }
    }

    /// Stores the registers that the hart's state does not hold.
    fn spill(&mut self) {
        for r in 1..32 {
            if self.dirty >> r & 1 != 0 {
                let var = self.x_var(r);
                let value = self.b.use_var(var);
                self.set_word(abi::x_offset(r), value);
            }
        }
        for r in 0..32 {
            if self.dirty >> (32 + r) & 1 != 0 {
                let value = self.canonical_f_at_exit(r);
                self.set_word(abi::f_offset(r), value);
            }
        }
    }

    /// Not 0 if the hart's attention is wanted. Atomic, so that no look stands for a later one.
    fn attention(&mut self) -> Value {
        let word = self.word(native!(attention));
        let flags = self.kinds.table;
        self.b.ins().atomic_load(I32, flags, word)
    }

    fn block(&mut self, at: usize) {
        self.at = at;
        self.b.switch_to_block(self.blocks[at]);
        self.say_whose(0);
        self.begin();
        if self.region.blocks[at].head {
            self.look_up();
        }
        self.unroll();
        self.round();
        self.end_of_rounds();
    }

    /// What is known of registers where the block at hand begins.
    fn begin(&mut self) {
        self.dirty = self.this().dirty;
        self.float = float::State::of(self.this());
    }

    /// The instructions of the block at hand.
    fn round(&mut self) {
        let at = self.at;
        self.begin();
        self.compared = None;
        let own = self.first_insn..self.first_insn + self.region.blocks[at].insns.len();
        self.groups = memory::BlockGroups::default();
        if self.place.options.group && !self.is_single_round() {
            self.groups.plan.plan(&self.place.sites[own], &self.region.blocks[at].effects, |_| false);
        }
        let before = self.b.use_var(self.count);
        let len = self.this().insns.len() as i64;
        let counted = self.b.ins().iadd_imm_s(before, len);
        self.b.def_var(self.count, counted);
        self.counted = counted;
        let region = self.region;
        let block = &region.blocks[at];
        for (index, (insn, effects)) in block.insns.iter().zip(&block.effects).enumerate() {
            self.insn = index;
            self.say_whose(index);
            if effects.runtime || !self.covers(effects) {
                if self.execute_by_runtime(insn, effects) {
                    return;
                }
                continue;
            }
            if live::stores_first(block, effects) {
                self.make_canonical();
                self.spill();
                self.dirty = 0;
            }
            if self.step(insn, effects) {
                return;
            }
        }
        self.go_to(i64::from(block.end));
    }

    /// What follows is code of an instruction of the block. Nobody asks where code of this process is from.
    fn say_whose(&mut self, insn: usize) {
        if matches!(self.place.binding, Binding::Ahead { .. }) {
            self.b.set_srcloc(SourceLoc::new((self.first_insn + insn) as u32));
        }
    }

    /// In a loop's head: every [`PATIENCE`] instructions, leaves if attention is wanted.
    fn look_up(&mut self) {
        let alone = self.place.options.alone;
        let patience = if alone { 1 } else { PATIENCE };
        let count = self.b.use_var(self.count);
        let due = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, count, patience);
        let (looks, called, quiet) = (self.cold_block(), self.cold_block(), self.cold_block());
        let go_on = self.b.create_block();
        self.b.ins().brif(due, looks, &[], go_on, &[]);
        self.go_on_in(looks);
        let attention = if alone { count } else { self.attention() };
        self.counted = count;
        self.settle_count();
        self.b.ins().brif(attention, called, &[], quiet, &[]);
        self.go_on_in(called);
        self.spill();
        self.set_pc(i64::from(self.this().offset));
        self.leave(Leave::Attention);
        self.go_on_in(quiet);
        let zero = self.iconst(0);
        self.b.def_var(self.count, zero);
        self.b.ins().jump(go_on, &[]);
        self.go_on_in(go_on);
    }

    /// Offset in the page of the instruction at hand.
    fn offset(&self) -> i64 {
        let block = self.this();
        i64::from(block.offset) + 2 * i64::from(block.insns[self.insn].at)
    }

    /// Virtual address at `offset` from the page's start.
    fn address_of(&mut self, offset: i64) -> Value {
        self.b.ins().iadd_imm_s(self.page, offset)
    }

    fn set_pc(&mut self, offset: i64) {
        let pc = self.address_of(offset);
        self.set_word(abi::pc_offset(), pc);
    }

    /// Adds what was counted to `Core::retired`.
    fn settle_count(&mut self) {
        let before = self.word(abi::retired_offset());
        let after = self.b.ins().iadd(before, self.counted);
        self.set_word(abi::retired_offset(), after);
        self.count_here();
    }

    /// Returns to the dispatcher; state, pc and count are settled.
    fn leave(&mut self, why: Leave) {
        let why = self.iconst(why as i64);
        self.set_word(native!(exit), why);
        self.b.ins().return_(&[]);
    }
}
