//! Shifts that rotate together are lifted as a rotation, words stay words, and short ways around are selections; what
//! only looks like it does not.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Opcode, Type};
use vm_cpu::aot::build::plan;
use vm_cpu::aot::profile::{Profile, ProfileBlock, ProfilePage};
use vm_cpu::isa::asm::assemble;
use vm_cpu::isa::{Extensions, Insn, Op, decode};
use vm_cpu::jit::compile::Compiler;

/// Behind each conditional branch, and where it leads.
fn branches(bytes: &[u8]) -> Vec<(u16, u16)> {
    let insns = bytes.chunks_exact(4).map(|insn| u32::from_le_bytes(insn.try_into().unwrap()));
    let decoded = insns.map(|bits| decode(bits, Extensions::all()).unwrap());
    let branch = |(at, insn): (usize, Insn)| {
        let conditional = matches!(insn.op, Op::beq | Op::bne | Op::blt | Op::bge | Op::bltu | Op::bgeu);
        conditional.then_some((4 * at as u16 + 4, (4 * at as i32 + insn.imm) as u16))
    };
    decoded.enumerate().filter_map(branch).collect()
}

/// The operations that a loop around `body` is lifted to, with the types of their first operands.
fn lifted(body: &str) -> Vec<(Opcode, Type)> {
    let source = format!("again: {body}\naddi a0, a0, -1\nbnez a0, again\nret");
    let mut bytes = assemble(0x8000_0000, &source).unwrap().bytes;
    let ends = branches(&bytes);
    let end = (bytes.len() - 4) as u16;
    let mut starts: Vec<u16> = ends.iter().flat_map(|&(end, target)| [end, target]).chain([0, end]).collect();
    starts.sort_unstable();
    starts.dedup();
    let block = |at: &u16| {
        let next = starts.iter().copied().find(|next| next > at).unwrap_or(end + 4);
        ProfileBlock { offset: *at, bytes: next - at, heat: 1000, ..ProfileBlock::default() }
    };
    let blocks = starts.iter().map(block).collect();
    bytes.resize(128, 0);
    let page = ProfilePage { gpa: 0x8000_0000, known: 3, bytes, blocks, ..ProfilePage::default() };
    let jobs = plan(&Profile { pages: vec![page] }, 1);
    let mut compiler = Compiler::new().unwrap();
    let function = jobs[0].lift(&mut compiler).function;
    let operations = function.layout.blocks().flat_map(|block| function.layout.block_insts(block));
    let operations = operations.filter_map(|inst| {
        let first = *function.dfg.inst_args(inst).first()?;
        Some((function.dfg.insts[inst].opcode(), function.dfg.value_type(first)))
    });
    operations.collect()
}

#[test]
fn two_shifts_and_what_joins_them_are_a_rotation() {
    let bodies = [
        "srliw a1, a2, 7\nslliw a3, a2, 25\nor a4, a1, a3",
        "slliw a3, a2, 1\nsrliw a1, a2, 31\nxor a4, a3, a1",
        "slliw a3, a2, 25\nsrliw a1, a2, 7\naddw a4, a1, a3",
        "lw a2, 0(a5)\nsrliw a1, a2, 7\nslliw a2, a2, 25\nor a2, a2, a1",
    ];
    for body in bodies {
        assert!(lifted(body).contains(&(Opcode::Rotl, I32)), "{body}");
    }
    for body in
        ["srli a1, a2, 7\nslli a3, a2, 57\nor a4, a1, a3", "slli a3, a2, 1\nsrli a1, a2, 63\nadd a4, a3, a1"]
    {
        assert!(lifted(body).contains(&(Opcode::Rotl, I64)), "{body}");
    }
}

#[test]
fn other_shifts_are_not() {
    let bodies = [
        "srliw a1, a2, 7\nslliw a3, a2, 24\nor a4, a1, a3",
        "srliw a1, a2, 7\nslliw a3, a5, 25\nor a4, a1, a3",
        "sraiw a1, a2, 7\nslliw a3, a2, 25\nor a4, a1, a3",
        "srliw a1, a2, 7\nslliw a3, a2, 25\nand a4, a1, a3",
        "srli a1, a2, 7\nslli a3, a2, 25\nor a4, a1, a3",
        "srliw a1, a2, 0\nslliw a3, a2, 0\nor a4, a1, a3",
        "srliw a1, a2, 7\naddi a2, a2, 1\nslliw a3, a2, 25\nor a4, a1, a3",
    ];
    for body in bodies {
        assert!(lifted(body).iter().all(|&(opcode, _)| opcode != Opcode::Rotl), "{body}");
    }
}

#[test]
fn words_are_compared_as_words_if_both_are() {
    // What the unit itself compares is the same for all.
    let words = |body: &str| lifted(body).iter().filter(|&&how| how == (Opcode::Icmp, I32)).count();
    let compared = |body: &str| words(body) > words("nop");
    assert!(compared("addw a1, a2, a3\nsubw a4, a2, a3\nsltu a5, a1, a4"));
    assert!(compared("addw a1, a2, a3\nslti a5, a1, -3"));
    assert!(!compared("addw a1, a2, a3\nsltu a5, a1, a6"));
    assert!(!compared("add a1, a2, a3\nsub a4, a2, a3\nsltu a5, a1, a4"));
}

#[test]
fn a_way_around_an_instruction_or_two_is_a_selection() {
    let selections =
        |body: &str| lifted(body).iter().filter(|&&(opcode, _)| opcode == Opcode::Select).count();
    // One for the register, and one for how many have been executed.
    assert_eq!(selections("beqz a1, over\nxor a2, a2, a3\nover: add a4, a2, a1"), 2);
    assert_eq!(selections("blt a1, a2, over\nli a5, -1\naddi a2, a1, 8\nover: add a4, a2, a5"), 3);
}

#[test]
fn what_may_stop_takes_long_or_has_other_ways_to_it_is_none() {
    let bodies = [
        "beqz a1, over\nld a2, 0(a3)\nover: add a4, a2, a1",
        "beqz a1, over\nsd a2, 0(a3)\nover: add a4, a2, a1",
        "beqz a1, over\nmul a2, a2, a3\nover: add a4, a2, a1",
        "beqz a1, over\naddi a2, a2, 1\naddi a3, a3, 1\naddi a5, a5, 1\nover: add a4, a2, a1",
        "beqz a3, in\nbeqz a1, over\nin: xor a2, a2, a3\nover: add a4, a2, a1",
    ];
    for body in bodies {
        assert!(lifted(body).iter().all(|&(opcode, _)| opcode != Opcode::Select), "{body}");
    }
}
