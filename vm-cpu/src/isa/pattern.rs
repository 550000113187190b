//! Bit diagrams, as the manual draws them, read by the compiler.
//!
//! From the most significant bit to the least: `0` and `1` are fixed, `.` belongs to an operand, `n` too,
//! but the bits so marked must not all be 0, `-` is ignored. Blanks separate fields. A diagram with any
//! other character or of the wrong width does not compile.

/// A parsed diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The fixed bits.
    pub mask: u32,
    /// Their values.
    pub value: u32,
    /// Bits of which one at least must be set; 0 if there is no such demand.
    pub nonzero: u32,
    /// Bits of operands.
    pub open: u32,
}

impl Pattern {
    /// Reads a diagram of `width` bits.
    ///
    /// # Panics
    /// If it is malformed; since tables are constants, that stops the compiler.
    pub const fn parse(text: &str, width: u32) -> Pattern {
        let mut p = Pattern { mask: 0, value: 0, nonzero: 0, open: 0 };
        let text = text.as_bytes();
        let (mut at, mut n) = (width, 0);
        while n < text.len() {
            if text[n] != b' ' {
                assert!(at > 0, "bit diagram: more bits than the word has");
                at -= 1;
                p.put(text[n], 1 << at);
            }
            n += 1;
        }
        assert!(at == 0, "bit diagram: fewer bits than the word has");
        p
    }

    const fn put(&mut self, mark: u8, bit: u32) {
        match mark {
            b'0' => self.mask |= bit,
            b'1' => {
                self.mask |= bit;
                self.value |= bit;
            }
            b'.' => self.open |= bit,
            b'n' => {
                self.open |= bit;
                self.nonzero |= bit;
            }
            b'-' => {}
            _ => panic!("bit diagram: expected one of 0 1 . n -"),
        }
    }

    /// Whether `word` is of this pattern.
    #[inline]
    pub const fn hits(&self, word: u32) -> bool {
        word & self.mask == self.value && (self.nonzero == 0 || word & self.nonzero != 0)
    }

    /// Whether no word is of both patterns.
    pub const fn disjoint(&self, other: &Pattern) -> bool {
        (self.value ^ other.value) & self.mask & other.mask != 0
            || self.zeroes(other.nonzero)
            || other.zeroes(self.nonzero)
    }

    /// Whether every word of this pattern is one of `outer`.
    pub const fn within(&self, outer: &Pattern) -> bool {
        self.mask & outer.mask == outer.mask && self.value & outer.mask == outer.value
    }

    const fn zeroes(&self, bits: u32) -> bool {
        bits != 0 && self.mask & bits == bits && self.value & bits == 0
    }
}

/// `amoadd_w` → `amoadd.w`: what a mnemonic looks like outside Rust. What follows `_ialign32` is cut.
pub const fn dotted<const N: usize>(ident: &str) -> [u8; N] {
    let (mut name, mut n) = ([0; N], 0);
    while n < N {
        let c = ident.as_bytes()[n];
        name[n] = if c == b'_' { b'.' } else { c };
        n += 1;
    }
    name
}

/// Length of [`dotted`]'s result.
pub const fn dotted_len(ident: &str) -> usize {
    let (ident, tail) = (ident.as_bytes(), b"_ialign32");
    if ident.len() <= tail.len() {
        return ident.len();
    }
    let mut n = 0;
    while n < tail.len() {
        if ident[ident.len() - tail.len() + n] != tail[n] {
            return ident.len();
        }
        n += 1;
    }
    ident.len() - tail.len()
}

/// The mnemonic that an identifier stands for, as a `&'static str`.
macro_rules! mnemonic {
    ($ident:ident) => {{
        const IDENT: &str = stringify!($ident);
        const NAME: &[u8] =
            &$crate::isa::pattern::dotted::<{ $crate::isa::pattern::dotted_len(IDENT) }>(IDENT);
        match std::str::from_utf8(NAME) {
            Ok(name) => name,
            Err(_) => panic!("a mnemonic is ASCII"),
        }
    }};
}
pub(super) use mnemonic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagram_reads_from_the_top_bit_down() {
        let p = Pattern::parse("10.. nn-1", 8);
        assert_eq!(p, Pattern { mask: 0xc1, value: 0x81, nonzero: 0x0c, open: 0x3c });
        assert!(p.hits(0x85) && !p.hits(0x81) && !p.hits(0x84));
    }

    #[test]
    #[should_panic(expected = "fewer bits")]
    fn a_short_diagram_is_refused() {
        Pattern::parse("1010 101", 8);
    }

    #[test]
    #[should_panic(expected = "more bits")]
    fn a_long_diagram_is_refused() {
        Pattern::parse("1010 1010 1", 8);
    }

    #[test]
    #[should_panic(expected = "expected one of")]
    fn a_foreign_mark_is_refused() {
        Pattern::parse("1010 10x0", 8);
    }

    #[test]
    fn an_overlap_is_seen_unless_a_fixed_bit_or_a_nonzero_group_parts_the_rows() {
        let of = |t| Pattern::parse(t, 4);
        assert!(of("1.0.").disjoint(&of("0...")));
        assert!(!of("1...").disjoint(&of("...1")));
        assert!(of("1nn.").disjoint(&of("100.")) && of("100.").disjoint(&of("1nn.")));
        assert!(!of("1nn.").disjoint(&of("1.0.")));
        assert!(of("101.").within(&of("1.1.")) && !of("1.1.").within(&of("101.")));
    }

    #[test]
    fn mnemonics_come_from_identifiers() {
        assert_eq!(mnemonic!(amocas_w), "amocas.w");
        assert_eq!(mnemonic!(beq_ialign32), "beq");
        assert_eq!(mnemonic!(c_addi4spn), "c.addi4spn");
    }
}
