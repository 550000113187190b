//! Every row, and every 16-bit word: what one direction writes, the other reads.

use super::super::asm::assemble;
use super::super::row::Operands;
use super::super::{Extensions, Insn, Op, decode, disassemble, encode, rvc};
use proptest::prelude::*;

const ALL: Extensions = Extensions::all();

/// A word of the row of `op`; what is ignored is 0.
fn word(op: Op, open: u32) -> u32 {
    let p = op.row().pattern;
    p.value | open & p.open
}

/// Rows that `decode` finds when everything is there: not those for a machine without C.
fn rows() -> impl Iterator<Item = Op> {
    Op::ALL.iter().copied().filter(|op| !op.row().needs.has(Extensions::IALIGN32))
}

fn assembled(text: &str) -> Vec<u8> {
    assemble(0x1000, text).unwrap_or_else(|e| panic!("{e}")).bytes
}

proptest! {
    #[test]
    fn encode_inverts_decode_and_assemble_inverts_disassemble(open in any::<u32>()) {
        for op in rows() {
            let word = word(op, open);
            let Some(i) = decode(word, ALL) else {
                prop_assert!(matches!(word >> 12 & 7, 5 | 6), "{}: {word:#x} is illegal", op.name());
                continue;
            };
            prop_assert!(i.op == op || i.op.row().within == Some(op));
            let again = encode(i.op, &Operands::from(&i), word & i.op.row().flags);
            prop_assert_eq!(again, Some(word), "{}", op.name());
            let text = disassemble(&i, 0x1000);
            prop_assert_eq!(assembled(&text), word.to_le_bytes(), "{}", text);
        }
    }

    #[test]
    fn what_encodes_decodes_to_itself(rd in 0..33u8, rs1 in 0..33u8, rs2 in 0..33u8, imm in -0x900..0x900i32) {
        for op in rows() {
            let operands = Operands { rd, rs1, rs2, rs3: 0, imm };
            if let Some(word) = encode(op, &operands, 0) {
                let i = decode(word, ALL).expect("it was encoded");
                prop_assert_eq!((i.op, Operands::from(&i)), (op, operands));
            }
        }
    }

    #[test]
    fn decoding_any_bits_never_panics(bits in any::<u32>()) {
        if let Some(i) = decode(bits, ALL) {
            prop_assert!(!disassemble(&i, u64::from(bits) << 33).is_empty());
        }
    }
}

#[test]
fn every_row_has_an_encoding_that_decodes_to_it() {
    for &op in Op::ALL {
        let ext = if op.row().needs.has(Extensions::IALIGN32) { ALL.without(Extensions::C) } else { ALL };
        assert_eq!(decode(word(op, 0), ext).map(|i| i.op), Some(op), "{}", op.name());
    }
}

#[test]
fn a_row_needs_each_of_its_extensions() {
    for op in rows() {
        for extension in op.row().needs.iter() {
            let without = ALL.without(Extensions::of(&[extension]));
            let found = decode(word(op, 0), without).map(|i| i.op);
            assert!(found != Some(op), "{} without {extension}", op.name());
        }
    }
}

fn halves() -> impl Iterator<Item = (u16, Insn)> {
    (0..=u16::MAX).filter(|half| half & 3 != 3).filter_map(|half| Some((half, decode(half.into(), ALL)?)))
}

#[test]
fn a_compressed_instruction_is_the_word_it_expands_to() {
    for (half, i) in halves() {
        let full = decode(i.full, ALL).unwrap_or_else(|| panic!("{half:#x} expands to an illegal word"));
        assert_eq!(Insn { len: 2, bits: half.into(), ..full }, i, "{half:#x}");
    }
}

#[test]
fn every_compressed_instruction_assembles_to_its_bits() {
    for (half, i) in halves() {
        let text = disassemble(&i, 0x1000);
        assert_eq!(assembled(&text), half.to_le_bytes(), "{text}");
    }
}

#[test]
fn high_bits_above_a_compressed_instruction_do_not_matter() {
    for (half, i) in halves().step_by(97) {
        assert_eq!(decode(u32::from(half) | 0xdead_0000, ALL), Some(i));
    }
}

#[test]
fn each_compressed_row_is_reached() {
    let names: std::collections::HashSet<_> =
        halves().filter_map(|(half, _)| rvc::row(half, ALL)).map(|row| row.name).collect();
    for row in rvc::ROWS {
        assert!(names.contains(row.name), "{}", row.name);
    }
}

#[test]
fn reserved_compressed_encodings_are_illegal() {
    for (half, why) in [
        (0x0000, "all zeros"),
        (0x0004, "c.addi4spn by 0"),
        (0x2001, "c.addiw to x0"),
        (0x6101, "c.addi16sp by 0"),
        (0x6001, "c.lui x0 by 0"),
        (0x4002, "c.lwsp to x0"),
        (0x6002, "c.ldsp to x0"),
        (0x8002, "c.jr x0"),
        (0x9c79, "reserved beside c.not"),
        (0x8c40, "reserved beside c.sh"),
        (0x9000, "reserved in quadrant 0"),
    ] {
        assert_eq!(decode(half, ALL), None, "{why}");
    }
}

#[test]
fn compressed_hints_are_legal_and_do_nothing() {
    for (half, op) in [
        (0x0001, Op::addi),
        (0x0005, Op::addi),
        (0x0081, Op::addi),
        (0x4005, Op::addi),
        (0x6005, Op::lui),
        (0x0002, Op::slli),
        (0x8006, Op::add),
        (0x9006, Op::add),
    ] {
        let i = decode(half, ALL).unwrap_or_else(|| panic!("{half:#x} is a hint"));
        assert_eq!(i.op, op);
        assert!(i.rd == 0 || (i.rd == i.rs1 && i.imm == 0), "{half:#x} changes x{}", i.rd);
    }
}
