//! From bits to [`Insn`].
//!
//! Rows are found through buckets keyed by major opcode and `funct3`, or by `funct7` for floating-point
//! arithmetic, whose `funct3` is mostly a rounding mode. A bucket lists the rows that some word of it
//! can match, more specific ones first, so a row `within` another is found before the other.

use super::Op;
use super::emit::Insn;
use super::ext::{Extension, Extensions};
use super::row::Operands;
use super::{rvc, table};
use std::sync::LazyLock;

/// Decodes the instruction at the low end of `bits` (16 valid bits suffice if it is compressed).
/// None is an illegal instruction: unknown, reserved, or of an extension that is not in `ext`.
pub fn decode(bits: u32, ext: Extensions) -> Option<Insn> {
    if bits & 3 == 3 {
        decode_word(bits, ext)
    } else if ext.contains(Extension::C) {
        rvc::decode(bits as u16, ext)
    } else {
        None
    }
}

fn decode_word(word: u32, ext: Extensions) -> Option<Insn> {
    let ext = if ext.contains(Extension::C) { ext } else { ext.with(Extensions::IALIGN32) };
    let op = BUCKETS.of(word).iter().copied().find(|op| {
        let row = op.row();
        row.hits(word) && ext.has(row.needs)
    })?;
    Some(op.row().decode(op, word))
}

/// The word of `op` with these operands; `flags` are `rm`, `aq`, `rl`, `pred`, `succ` in place. None if
/// an operand does not fit, or is not one of `op`'s. Inverse of [`decode`].
pub fn encode(op: Op, operands: &Operands, flags: u32) -> Option<u32> {
    op.row().encode(operands, flags)
}

const OP_FP: u32 = 0b1010011;
const FP_BUCKETS: usize = 32 * 8;
const BUCKET_COUNT: usize = FP_BUCKETS + 128;

/// Bits that choose a bucket, and which one.
const fn bucket_mask(word: u32) -> u32 {
    if word & 0x7f == OP_FP { 0xfe00_007f } else { 0x0000_707f }
}

const fn bucket(word: u32) -> usize {
    let funct7 = (word >> 25) as usize;
    let (opcode, funct3) = ((word >> 2 & 0x1f) as usize, (word >> 12 & 7) as usize);
    if word & 0x7f == OP_FP { FP_BUCKETS + funct7 } else { opcode * 8 + funct3 }
}

struct Buckets {
    starts: [u16; BUCKET_COUNT + 1],
    ops: Vec<Op>,
}

impl Buckets {
    fn of(&self, word: u32) -> &[Op] {
        let b = bucket(word);
        &self.ops[usize::from(self.starts[b])..usize::from(self.starts[b + 1])]
    }
}

static BUCKETS: LazyLock<Buckets> = LazyLock::new(|| {
    let mut lists: Vec<Vec<Op>> = vec![Vec::new(); BUCKET_COUNT];
    for &op in Op::ALL {
        let p = op.row().pattern;
        let mut seen = [false; BUCKET_COUNT];
        let free = bucket_mask(p.value) & !p.mask;
        for choice in submasks(free) {
            let b = bucket(p.value | choice);
            if !std::mem::replace(&mut seen[b], true) {
                lists[b].push(op);
            }
        }
    }
    let mut buckets = Buckets { starts: [0; BUCKET_COUNT + 1], ops: Vec::new() };
    for (b, mut list) in lists.into_iter().enumerate() {
        list.sort_by_key(|op| {
            (op.row().within.is_none(), std::cmp::Reverse(op.row().pattern.mask.count_ones()))
        });
        buckets.ops.extend(list);
        buckets.starts[b + 1] = buckets.ops.len() as u16;
    }
    buckets
});

/// Every subset of the bits of `mask`.
fn submasks(mask: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(0u32), move |&s| {
        let next = s.wrapping_sub(mask) & mask;
        (next != 0).then_some(next)
    })
}

const _: () = assert!(table::ROWS.len() < u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Extensions = Extensions::all();

    fn op(bits: u32, ext: Extensions) -> Option<Op> {
        decode(bits, ext).map(|i| i.op)
    }

    #[test]
    fn operands_land_in_their_fields() {
        let i = decode(0xfe52_0ce3, ALL).unwrap();
        assert_eq!((i.op, i.rd, i.rs1, i.rs2, i.imm, i.len), (Op::beq, 0, 4, 5, -8, 4));
        let i = decode(0x0031_82b3, ALL).unwrap();
        assert_eq!((i.op, i.rd, i.rs1, i.rs2, i.imm), (Op::add, 5, 3, 3, 0));
        let i = decode(0x3412_d073, ALL).unwrap();
        assert_eq!((i.op, i.rd, i.rs1, i.imm), (Op::csrrwi, 0, 5, 0x341));
        let i = decode(0xfff0_0293, ALL).unwrap();
        assert_eq!((i.op, i.rd, i.rs1, i.imm), (Op::addi, 5, 0, -1));
    }

    #[test]
    fn an_absent_extension_makes_its_rows_illegal() {
        let mul = 0x0231_02b3;
        assert_eq!(op(mul, ALL), Some(Op::mul));
        assert_eq!(op(mul, ALL.without(Extensions::M)), None);
        assert_eq!(op(0x4501, ALL.without(Extensions::C)), None);
        assert_eq!(op(0x2100, ALL.without(Extensions::D)), None);
        assert_eq!(op(0x2100, ALL), Some(Op::fld));
    }

    #[test]
    fn an_absent_hint_falls_back_to_the_row_around_it() {
        let pause = 0x0100_000f;
        assert_eq!(op(pause, ALL), Some(Op::pause));
        assert_eq!(op(pause, ALL.without(Extensions::Zihintpause)), Some(Op::fence));
    }

    #[test]
    fn jumps_check_alignment_only_where_compressed_instructions_do_not_exist() {
        for (bits, with, without) in [
            (0x0020_006f, Op::jal, Op::jal_ialign32),
            (0x0000_8067, Op::jalr, Op::jalr_ialign32),
            (0x0020_8163, Op::beq, Op::beq_ialign32),
            (0x0020_f163, Op::bgeu, Op::bgeu_ialign32),
        ] {
            assert_eq!(op(bits, ALL), Some(with));
            assert_eq!(op(bits, ALL.without(Extensions::C)), Some(without));
        }
    }

    #[test]
    fn reserved_rounding_modes_are_illegal() {
        for rm in 0..8 {
            let legal = !matches!(rm, 5 | 6);
            assert_eq!(decode(0x0000_0053 | rm << 12, ALL).is_some(), legal, "fadd.s, rm {rm}");
            assert_eq!(decode(0x0000_0043 | rm << 12, ALL).is_some(), legal, "fmadd.s, rm {rm}");
        }
    }

    #[test]
    fn odd_registers_of_a_quad_compare_and_swap_are_illegal() {
        let amocas_q = |rd: u32, rs2: u32| 0x2800_402f | rd << 7 | rs2 << 20 | 5 << 15;
        assert_eq!(op(amocas_q(4, 6), ALL), Some(Op::amocas_q));
        assert_eq!(op(amocas_q(5, 6), ALL), None);
        assert_eq!(op(amocas_q(4, 7), ALL), None);
    }

    #[test]
    fn words_longer_than_32_bits_and_words_without_meaning_are_illegal() {
        assert_eq!(op(0x0000_001f, ALL), None);
        assert_eq!(op(0xffff_ffff, ALL), None);
        assert_eq!(op(0, ALL), None);
    }
}
