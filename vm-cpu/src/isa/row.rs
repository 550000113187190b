//! What a row of the encoding table becomes, and the laws a table obeys.
//!
//! **Invariant** (proved by the compiler, since every table is a constant):
//! the operands of a row cover its diagram's open bits exactly, each once; two rows share a word only if
//! one is declared to lie `within` the other, and then every word of the inner is one of the outer.

use super::Op;
use super::emit::Insn;
use super::ext::Extensions;
use super::imm::{self, Imm};
use super::operand::{Format, Operand, RD, RM, RS1, RS2, RS3};
use super::pattern::Pattern;

/// One 32-bit instruction: encoding, operands, what it needs.
#[derive(Debug)]
pub struct Row {
    /// Mnemonic.
    pub name: &'static str,
    /// Encoding.
    pub pattern: Pattern,
    /// Operands in assembler order.
    pub format: Format,
    /// Extensions that must all be there.
    pub needs: Extensions,
    /// A row whose words this one takes a part of.
    pub within: Option<Op>,
    /// Register fields that are operands.
    regs: u32,
    /// Fields that stay in the word: `rm`, `aq`, `rl`, `pred`, `succ`.
    pub flags: u32,
    imm: Imm,
}

impl Row {
    pub(super) const fn new(
        name: &'static str,
        diagram: &str,
        format: Format,
        needs: Extensions,
        within: Option<Op>,
    ) -> Row {
        let pattern = Pattern::parse(diagram, 32);
        let (mut regs, mut flags, mut imm, mut bits, mut n) = (0, 0, imm::NONE, 0, 0);
        while n < format.len() {
            let operand = format[n];
            assert!(bits & operand.bits() == 0, "two operands of a row share bits");
            assert!(
                operand.bits() == 0 || operand.bits() & pattern.open != 0,
                "an operand of a row has no bits in its diagram"
            );
            bits |= operand.bits();
            regs |= operand.regs();
            flags |= operand.flags();
            if operand.imm().bits() != 0 {
                assert!(imm.bits() == 0, "two operands of a row are immediates");
                imm = operand.imm();
            }
            n += 1;
        }
        assert!(bits & !pattern.mask == pattern.open, "the operands of a row do not fit its diagram");
        Row { name, pattern, format, needs, within, regs, flags, imm }
    }

    /// Whether `word` is an encoding of this row that is not reserved.
    #[inline]
    pub(super) fn hits(&self, word: u32) -> bool {
        self.pattern.hits(word) && !(self.flags & RM != 0 && matches!(word >> 12 & 7, 5 | 6))
    }

    /// Reads the operands of `word`, which is one of this row.
    #[inline]
    pub(super) fn decode(&self, op: Op, word: u32) -> Insn {
        let regs = word & self.regs;
        let field = |at: u32| (regs >> at & 0x1f) as u8;
        Insn {
            op,
            len: 4,
            at: 0,
            rd: field(7),
            rs1: field(15),
            rs2: field(20),
            rs3: field(27),
            imm: self.imm.get(word),
            bits: word,
            full: word,
        }
    }

    /// The word for operands and for `flags` (bits in place); none if they do not fit.
    pub(super) fn encode(&self, o: &Operands, flags: u32) -> Option<u32> {
        let field = |r: u8, at: u32| u32::from(r) << at;
        if (o.rd | o.rs1 | o.rs2 | o.rs3) >= 32 {
            return None;
        }
        let regs = field(o.rd, 7) | field(o.rs1, 15) | field(o.rs2, 20) | field(o.rs3, 27);
        let fields = regs & !self.regs == 0 && flags & !self.flags == 0;
        let word = self.pattern.value | regs | flags | self.imm.put(o.imm)?;
        (fields && self.hits(word)).then_some(word)
    }
}

/// What an [`Insn`] says apart from its flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operands {
    /// Destination, or 0.
    pub rd: u8,
    /// First source, or 0.
    pub rs1: u8,
    /// Second source, or 0.
    pub rs2: u8,
    /// Third source, or 0.
    pub rs3: u8,
    /// Immediate, or 0.
    pub imm: i32,
}

impl From<&Insn> for Operands {
    fn from(i: &Insn) -> Operands {
        Operands { rd: i.rd, rs1: i.rs1, rs2: i.rs2, rs3: i.rs3, imm: i.imm }
    }
}

/// Proves that no two rows share a word, except a row that is `within` another.
pub(super) const fn check_disjoint(rows: &[Row]) {
    let mut a = 0;
    while a < rows.len() {
        let mut b = 0;
        while b < a {
            if !rows[a].pattern.disjoint(&rows[b].pattern) {
                let nested = is_inner(&rows[a], b, &rows[b]) || is_inner(&rows[b], a, &rows[a]);
                assert!(nested, "two rows of the encoding table overlap");
            }
            b += 1;
        }
        a += 1;
    }
}

const fn is_inner(inner: &Row, outer_index: usize, outer: &Row) -> bool {
    match inner.within {
        Some(op) => op as usize == outer_index && inner.pattern.within(&outer.pattern),
        None => false,
    }
}

const _: () = assert!(RD | RS1 | RS2 | RS3 == 0xf9ff_8f80, "register fields lie where `decode` reads them");
const _: () = assert!(Operand::Rm.bits() == RM);

#[cfg(test)]
mod tests {
    use super::super::operand::format;
    use super::*;

    const R: &str = "0000000 ..... ..... 000 ..... 0110011";

    fn row(diagram: &str, f: Format, within: Option<Op>) -> Row {
        Row::new("row", diagram, f, Extensions::NONE, within)
    }

    #[test]
    #[should_panic(expected = "do not fit its diagram")]
    fn a_row_with_an_operand_too_few_is_refused() {
        row(R, format::UNARY, None);
    }

    #[test]
    #[should_panic(expected = "share bits")]
    fn a_row_with_one_field_twice_is_refused() {
        row(R, &[Operand::Rd, Operand::Rs1, Operand::Rs2, Operand::Rd], None);
    }

    #[test]
    #[should_panic(expected = "no bits in its diagram")]
    fn a_row_with_an_operand_on_fixed_bits_is_refused() {
        row(R, &[Operand::Rd, Operand::Rs1, Operand::Rs2, Operand::Rm], None);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_rows_are_refused() {
        let outer = "....... ..... ..... 000 ..... 0110011";
        let order: Format = &[Operand::Rd, Operand::Rs1, Operand::Simm];
        check_disjoint(&[row(outer, order, None), row(R, format::R, None)]);
    }

    #[test]
    fn a_row_declared_within_another_is_accepted() {
        let outer = "....... ..... ..... 000 ..... 0110011";
        let order: Format = &[Operand::Rd, Operand::Rs1, Operand::Simm];
        let first = Op::ALL[0];
        check_disjoint(&[row(outer, order, None), row(R, format::R, Some(first))]);
    }
}
