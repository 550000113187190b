//! Shifts that rotate together are lifted as a rotation, and words stay words; what only looks like it does not.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Opcode, Type};
use vm_cpu::aot::build::plan;
use vm_cpu::aot::profile::{Profile, ProfileBlock, ProfilePage};
use vm_cpu::isa::asm::assemble;
use vm_cpu::jit::compile::Compiler;

/// The operations that a loop around `body` is lifted to, with the types of their first operands.
fn lifted(body: &str) -> Vec<(Opcode, Type)> {
    let source = format!("again: {body}\naddi a0, a0, -1\nbnez a0, again\nret");
    let mut bytes = assemble(0x8000_0000, &source).unwrap().bytes;
    let end = (bytes.len() - 4) as u16;
    bytes.resize(128, 0);
    let block = |offset, bytes, heat| ProfileBlock { offset, bytes, heat, entered: false };
    let blocks = vec![block(0, end, 1000), block(end, 4, 900)];
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
