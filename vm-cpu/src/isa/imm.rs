//! Immediates as the manual draws them: which bits of the word are which bits of the value.
//!
//! ```text
//!  31      30:25     24:20 19:15 14:12 11:8     7
//!  imm[12] imm[10:5] rs2   rs1   func  imm[4:1] imm[11]     BRANCH = (31,1→12) (25,6→5) (8,4→1) (7,1→11)
//! ```
//! One description serves reading and writing, so the two cannot differ.

#![allow(missing_docs, reason = "one comment speaks for a group")]

/// `len` bits of the word from `at` are the bits of the value from `to`.
#[derive(Clone, Copy, Debug)]
struct Part {
    at: u32,
    len: u32,
    to: u32,
}

/// Where an immediate lies in a 16- or 32-bit word.
#[derive(Clone, Copy, Debug)]
pub struct Imm {
    parts: &'static [Part],
    /// The topmost bit of the value is its sign.
    signed: bool,
    /// Value if there are no parts.
    constant: i32,
}

macro_rules! imm {
    ($signed:ident: $(($at:literal, $len:literal => $to:literal))*) => {
        Imm { parts: &[$(Part { at: $at, len: $len, to: $to }),*], signed: imm!($signed), constant: 0 }
    };
    (signed) => { true };
    (unsigned) => { false };
}

/// No immediate.
pub const NONE: Imm = Imm::constant(0);
/// I-format; also the offset of a load.
pub const I: Imm = imm!(signed: (20, 12 => 0));
/// S-format: the offset of a store.
pub const S: Imm = imm!(signed: (25, 7 => 5) (7, 5 => 0));
/// B-format: bytes from the branch to its target.
pub const B: Imm = imm!(signed: (31, 1 => 12) (25, 6 => 5) (8, 4 => 1) (7, 1 => 11));
/// U-format, already shifted left by 12.
pub const U: Imm = imm!(signed: (12, 20 => 12));
/// J-format: bytes from the jump to its target.
pub const J: Imm = imm!(signed: (31, 1 => 20) (21, 10 => 1) (20, 1 => 11) (12, 8 => 12));
/// Shift amounts for 64 and 32 bits.
pub const SHAMT6: Imm = imm!(unsigned: (20, 6 => 0));
pub const SHAMT5: Imm = imm!(unsigned: (20, 5 => 0));
/// CSR number.
pub const CSR: Imm = imm!(unsigned: (20, 12 => 0));
/// The number of a may-be-operation, one and two sources.
pub const MOP_R: Imm = imm!(unsigned: (30, 1 => 4) (26, 2 => 2) (20, 2 => 0));
pub const MOP_RR: Imm = imm!(unsigned: (30, 1 => 2) (26, 2 => 0));

/// Compressed: `c.addi4spn`.
pub const C_ADDI4SPN: Imm = imm!(unsigned: (11, 2 => 4) (7, 4 => 6) (6, 1 => 2) (5, 1 => 3));
/// Compressed: offsets of `c.lw`, `c.ld`, and Zcb's `c.lbu`, `c.lhu` (and the stores).
pub const C_W: Imm = imm!(unsigned: (10, 3 => 3) (6, 1 => 2) (5, 1 => 6));
pub const C_D: Imm = imm!(unsigned: (10, 3 => 3) (5, 2 => 6));
pub const C_B: Imm = imm!(unsigned: (6, 1 => 0) (5, 1 => 1));
pub const C_H: Imm = imm!(unsigned: (5, 1 => 1));
/// Compressed: `c.addi`, `c.li`, `c.andi`; and the same bits as a shift amount.
pub const C_I: Imm = imm!(signed: (12, 1 => 5) (2, 5 => 0));
pub const C_SHAMT: Imm = imm!(unsigned: (12, 1 => 5) (2, 5 => 0));
/// Compressed: `c.lui`, `c.addi16sp`.
pub const C_LUI: Imm = imm!(signed: (12, 1 => 17) (2, 5 => 12));
pub const C_ADDI16SP: Imm = imm!(signed: (12, 1 => 9) (6, 1 => 4) (5, 1 => 6) (3, 2 => 7) (2, 1 => 5));
/// Compressed: `c.lwsp`, `c.ldsp`, `c.swsp`, `c.sdsp`.
pub const C_LWSP: Imm = imm!(unsigned: (12, 1 => 5) (4, 3 => 2) (2, 2 => 6));
pub const C_LDSP: Imm = imm!(unsigned: (12, 1 => 5) (5, 2 => 3) (2, 3 => 6));
pub const C_SWSP: Imm = imm!(unsigned: (9, 4 => 2) (7, 2 => 6));
pub const C_SDSP: Imm = imm!(unsigned: (10, 3 => 3) (7, 3 => 6));
/// Compressed: branches and jumps.
pub const C_BRANCH: Imm = imm!(signed: (12, 1 => 8) (10, 2 => 3) (5, 2 => 6) (3, 2 => 1) (2, 1 => 5));
pub const C_JUMP: Imm = imm!(signed:
    (12, 1 => 11) (11, 1 => 4) (9, 2 => 8) (8, 1 => 10) (7, 1 => 6) (6, 1 => 7) (3, 3 => 1) (2, 1 => 5));

impl Imm {
    /// An immediate that takes no bits.
    pub const fn constant(value: i32) -> Imm {
        Imm { parts: &[], signed: false, constant: value }
    }

    /// The bits of the word that it takes.
    pub const fn bits(&self) -> u32 {
        let (mut bits, mut n) = (0, 0);
        while n < self.parts.len() {
            bits |= ones(self.parts[n].len) << self.parts[n].at;
            n += 1;
        }
        bits
    }

    /// Reads it from `word`.
    #[inline]
    pub fn get(&self, word: u32) -> i32 {
        let (mut value, mut top) = (self.constant as u32, 0);
        for p in self.parts {
            value |= (word >> p.at & ones(p.len)) << p.to;
            top = top.max(p.to + p.len);
        }
        if self.signed { (value << (32 - top)) as i32 >> (32 - top) } else { value as i32 }
    }

    /// The bits that stand for `value`, or none if it does not fit.
    pub fn put(&self, value: i32) -> Option<u32> {
        let part = |p: &Part| (value as u32 >> p.to & ones(p.len)) << p.at;
        let word = self.parts.iter().map(part).fold(0, |a, b| a | b);
        (self.get(word) == value).then_some(word)
    }
}

const fn ones(len: u32) -> u32 {
    (1 << len) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_offset_is_assembled_in_the_manuals_order() {
        assert_eq!(B.get(0x8000_0000), -4096);
        assert_eq!(B.get(0x0000_0080), 0x800);
        assert_eq!(B.get(0x7e00_0f00), 0x7fe);
        assert_eq!(J.get(0x8000_0000), -0x10_0000);
        assert_eq!(J.get(0x0010_0000), 0x800);
        assert_eq!(U.get(0xffff_ffff), -4096);
    }

    #[test]
    fn a_value_that_does_not_fit_has_no_encoding() {
        assert_eq!(I.put(2048), None);
        assert_eq!(I.put(-2048), Some(0x8000_0000));
        assert_eq!(B.put(3), None);
        assert_eq!(C_ADDI16SP.put(8), None);
        assert_eq!(Imm::constant(255).put(254), None);
        assert_eq!(Imm::constant(255).put(255), Some(0));
    }
}
