//! Any 32 bits, with any extensions: what decodes has one spelling, one encoding and a meaning, and needs what it
//! says it needs.
//!
//! ```text
//!  0..4 the bits   4..9 extensions that are absent (I is always there)   9..14 where it lies
//! ```

use vm_cpu::isa::asm::assemble;
use vm_cpu::isa::effects::Effects;
use vm_cpu::isa::row::Operands;
use vm_cpu::isa::{Extension, Extensions, Insn, decode, disassemble, encode, ir, rvc};

use super::Input;

/// Far enough from 0 that no branch wraps.
const LOWEST: u64 = 1 << 32;

/// The target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let bits = input.number::<4>() as u32;
    let absent = input.number::<5>();
    let at = LOWEST + (input.number::<5>() & !1);
    let there = |e: &Extension| *e == Extension::I || absent >> *e as u64 & 1 == 0;
    let present = Extension::ALL.iter().copied().filter(there).collect();
    let decoded = decode(bits, present);
    if bits & 3 != 3 {
        assert_eq!(decode(bits & 0xffff, present), decoded, "{bits:#x}: what follows a halfword matters");
    }
    let Some(insn) = decoded else { return };
    assert!(decode(bits, Extensions::all()).is_some(), "{insn:?} is legal only because something is absent");
    assert!(insn.op.row().needs.iter().all(|e| present.contains(e)), "{insn:?} needs more than {present:?}");
    match insn.len {
        4 => check_word(&insn, present, at),
        2 => check_half(&insn, present, at),
        len => panic!("{insn:?} is {len} bytes long"),
    }
    check_meaning(&insn);
}

/// Bits that are ignored may differ, so an encoding is held against what it decodes to: the same, or a hint that
/// is the same but for those bits.
fn check_word(insn: &Insn, present: Extensions, at: u64) {
    assert_eq!((insn.bits, insn.bits & 3), (insn.full, 3), "{insn:?}");
    let flags = insn.full & insn.op.row().flags;
    let word =
        encode(insn.op, &Operands::from(insn), flags).unwrap_or_else(|| panic!("{insn:?} has no encoding"));
    let again =
        decode(word, present).unwrap_or_else(|| panic!("{insn:?} is encoded as the illegal {word:#x}"));
    if again.op.row().within != Some(insn.op) {
        assert_eq!(again, Insn { bits: word, full: word, ..*insn }, "{insn:?} is encoded as another");
    }
    check_text(insn, at, &word.to_le_bytes());
}

/// A compressed instruction is the word it expands to, and its row finds the same bits again.
fn check_half(insn: &Insn, present: Extensions, at: u64) {
    let half = insn.bits as u16;
    let full = decode(insn.full, present).unwrap_or_else(|| panic!("{insn:?} expands to an illegal word"));
    assert_eq!(Insn { len: 2, bits: half.into(), ..full }, *insn);
    assert!(rvc::row(half, present).is_some(), "{insn:?} has no row");
    check_text(insn, at, &half.to_le_bytes());
}

/// The assembler reads what the disassembler writes.
fn check_text(insn: &Insn, at: u64, bytes: &[u8]) {
    let text = disassemble(insn, at);
    let program = assemble(at, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(program.bytes, bytes, "{text}");
}

/// Effects name registers that the instruction has, and no instruction writes `x0`.
fn check_meaning(insn: &Insn) {
    let effects = Effects::of(insn);
    let pair = |r: u8| 3u32 << (r & !1);
    let [rd, rs1, rs2, rs3] = [insn.rd, insn.rs1, insn.rs2, insn.rs3].map(|r| 1u32 << r);
    let named = rd | rs1 | rs2 | rs3 | pair(insn.rd) | pair(insn.rs2);
    let (reads, writes) = (effects.x_read | effects.f_read, effects.x_written | effects.f_written);
    assert!(reads & !named == 0 && writes & !(rd | pair(insn.rd)) == 0, "{insn:?}: {effects:?}");
    assert!((effects.x_read | effects.x_written) & 1 == 0, "{insn:?}: {effects:?}");
    assert!(ir::operations(insn).lines().all(|line| line.starts_with("  ")), "{insn:?}");
}
