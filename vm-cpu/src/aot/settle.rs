//! A kernel's code as it is once the kernel has set itself up, from the file that has it as it was built.
//!
//! ```text
//!  alternatives: 16 bytes each, one behind the other     where, by what (i32) │ vendor, bytes, feature, value (u16)
//!                distances are from the field itself
//!  functions:    begin with four c.nop ── become two nop of 4 bytes, for ftrace to replace each by one store
//! ```
//! It is a guess, and may be wrong without harm: a unit is bound where memory holds what it was made from. Jump
//! labels stay as they are in the file, which is what most of them are while a kernel runs.

use std::ops::Range;

use crate::config::CpuConfig;
use crate::isa::{self, Extension, Extensions, Insn, Op};

/// Bytes of an entry of the table.
const ENTRY: usize = 16;
/// So many entries in a row are no accident.
const RUN: usize = 8;
/// Bytes that an entry may replace.
const LONGEST: usize = 512;
/// Entries taken at most; a kernel has some thousands.
const MOST: usize = 1 << 16;
/// Features, and vendors, have smaller numbers.
const FEATURES: u16 = 1 << 10;
const VENDORS: u16 = 1 << 11;
/// Bytes that `cbo.zero` clears, as a power of two.
const BLOCK: u16 = 6;
/// The numbers that Linux gives to features; letters have their place in the alphabet.
const NUMBERS: [(u16, Extension); 14] = [
    (0, Extension::A),
    (2, Extension::C),
    (3, Extension::D),
    (5, Extension::F),
    (12, Extension::M),
    (27, Extension::Sstc),
    (28, Extension::Svinval),
    (29, Extension::Svpbmt),
    (30, Extension::Zbb),
    (31, Extension::Zicbom),
    (33, Extension::Svnapot),
    (34, Extension::Zicboz),
    (37, Extension::Zba),
    (38, Extension::Zbs),
];
/// `c.nop`, four times, and what becomes of them.
const UNTRACED: [u8; 8] = [1, 0, 1, 0, 1, 0, 1, 0];
const TRACEABLE: [u8; 8] = [0x13, 0, 0, 0, 0x13, 0, 0, 0];

/// An entry of the table: what is replaced by what, if there is the feature.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    old: Range<usize>,
    new: usize,
    vendor: u16,
    feature: u16,
    /// How much of the feature there has to be: the size of a block, for Zicboz.
    value: u16,
}

/// Patches an image that is laid out as in memory, whose code is at `text`, as it does itself on a machine with
/// the usual CPU. Returns where functions begin, as far as that shows.
pub fn settle(image: &mut [u8], text: &[Range<usize>]) -> Vec<u64> {
    let has = CpuConfig::default().extensions;
    let known = |number: u16| NUMBERS.iter().find(|known| known.0 == number);
    let enough = |at: &Alternative, what| at.value == 0 || what == Extension::Zicboz && at.value >= BLOCK;
    let applies = |at: &&Alternative| {
        at.vendor == 0 && known(at.feature).is_some_and(|&(_, what)| has.contains(what) && enough(at, what))
    };
    let table = alternatives(image, text);
    table.iter().filter(applies).for_each(|alternative| replace(image, alternative));
    text.iter().flat_map(|text| make_traceable(image, text)).collect()
}

/// The entries of all tables that there are.
fn alternatives(image: &[u8], text: &[Range<usize>]) -> Vec<Alternative> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + ENTRY <= image.len() && found.len() < MOST {
        let run: Vec<Alternative> =
            (at..).step_by(ENTRY).map_while(|at| entry(image, text, at)).take(MOST).collect();
        if run.len() >= RUN {
            at += run.len() * ENTRY;
            found.extend(run);
        } else {
            at += 4;
        }
    }
    found
}

fn entry(image: &[u8], text: &[Range<usize>], at: usize) -> Option<Alternative> {
    let bytes: &[u8; ENTRY] = image.get(at..at + ENTRY)?.try_into().ok()?;
    let word = |from: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[from + byte]));
    let place = |from: usize| (at + from).checked_add_signed(word(from).cast_signed() as isize);
    let (old, new) = (place(0)?, place(4)?);
    let (vendor, len) = (word(8) as u16, (word(8) >> 16) as usize);
    let (feature, value) = (word(12) as u16, (word(12) >> 16) as u16);
    let inside = |from: usize| text.iter().any(|text| text.contains(&from) && from + len <= text.end);
    let even = [old, new, len].iter().all(|number| number.is_multiple_of(2));
    let sane = even && (1..=LONGEST).contains(&len) && feature < FEATURES && vendor < VENDORS;
    let apart = old.abs_diff(new) >= len && new + len <= image.len();
    (sane && apart && inside(old)).then(|| Alternative { old: old..old + len, new, vendor, feature, value })
}

/// Copies the replacement, and has jumps out of it lead where they did.
fn replace(image: &mut [u8], alternative: &Alternative) {
    let Alternative { old, new, .. } = alternative;
    let mut code = image[*new..*new + old.len()].to_vec();
    let moved = *new as i64 - old.start as i64;
    let mut before: Option<(usize, Insn)> = None;
    let mut at = 0;
    while let Some(insn) = insn_at(&code, at) {
        let inside = |to: i64| (0..code.len() as i64).contains(&to);
        match (insn.op, &before) {
            (Op::jal, _) if insn.len == 4 && !inside(at as i64 + i64::from(insn.imm)) => {
                let bits = insn.bits & 0xfff | jump(i64::from(insn.imm) + moved);
                code[at..at + 4].copy_from_slice(&bits.to_le_bytes());
            }
            (Op::jalr, Some((from, base))) if base.rd == insn.rs1 && insn.len == 4 => {
                let to = i64::from(base.imm) + i64::from(insn.imm) + moved;
                let low = (to << 52 >> 52) as i32;
                let high = (to - i64::from(low)) as u32;
                let (base, insn) =
                    (base.bits & 0xfff | high, insn.bits & 0xf_ffff | low.cast_unsigned() << 20);
                code[*from..*from + 4].copy_from_slice(&base.to_le_bytes());
                code[at..at + 4].copy_from_slice(&insn.to_le_bytes());
            }
            _ => {}
        }
        before = (insn.op == Op::auipc).then_some((at, insn));
        at += usize::from(insn.len);
    }
    image[old.clone()].copy_from_slice(&code);
}

fn insn_at(code: &[u8], at: usize) -> Option<Insn> {
    let half = |at: usize| Some(u32::from(u16::from_le_bytes([*code.get(at)?, *code.get(at + 1)?])));
    let low = half(at)?;
    let bits = if low & 3 == 3 { low | half(at + 2)? << 16 } else { low };
    isa::decode(bits, Extensions::all())
}

/// The bits of a `jal` that say how far.
fn jump(far: i64) -> u32 {
    let bits = |from: u32, count: u32| (far >> from) as u32 & ((1 << count) - 1);
    bits(20, 1) << 31 | bits(1, 10) << 21 | bits(11, 1) << 20 | bits(12, 8) << 12
}

/// Where the functions begin that are made so.
fn make_traceable(image: &mut [u8], text: &Range<usize>) -> Vec<u64> {
    let code = &mut image[text.clone()];
    let (mut places, mut at) = (Vec::new(), 0);
    while at + UNTRACED.len() <= code.len() {
        if !code[at..].starts_with(&UNTRACED) {
            at += 2;
            continue;
        }
        // One more in front is for alignment.
        at += if code[at + 2..].starts_with(&UNTRACED) { 2 } else { 0 };
        code[at..at + TRACEABLE.len()].copy_from_slice(&TRACEABLE);
        places.push((text.start + at) as u64);
        at += TRACEABLE.len();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Range<usize> = 0..0x100;

    /// An image whose table at 0x200 has `len` entries for Zbb: from 0x80 + 8 n to 0x10 + 4 n.
    fn image(len: usize) -> Vec<u8> {
        let mut image = vec![0x13; 0x400];
        for n in 0..len {
            let at = 0x200 + n * ENTRY;
            let mut put = |from: usize, value: i32| {
                image[at + from..][..4].copy_from_slice(&value.to_le_bytes());
            };
            put(0, (0x10 + 4 * n) as i32 - at as i32);
            put(4, (0x80 + 8 * n) as i32 - (at + 4) as i32);
            put(8, 4 << 16);
            put(12, 30);
        }
        image
    }

    #[test]
    fn alternatives_are_taken_and_jumps_lead_where_they_did() {
        let mut image = image(RUN);
        // j 0x40 from 0x80; add a0, a0, a1 at 0x88.
        image[0x80..0x84].copy_from_slice(&(0x6f | jump(0x40 - 0x80)).to_le_bytes());
        image[0x88..0x8c].copy_from_slice(&0x00b5_0533u32.to_le_bytes());
        settle(&mut image, &[TEXT]);
        let jump = insn_at(&image, 0x10).expect("a jump");
        assert_eq!((jump.op, jump.imm), (Op::jal, 0x30));
        assert_eq!(image[0x14..0x18], 0x00b5_0533u32.to_le_bytes());
    }

    #[test]
    fn what_is_no_table_is_left_alone() {
        let mut few = image(RUN - 1);
        let before = few.clone();
        settle(&mut few, &[TEXT]);
        assert_eq!(few, before);
        // Entries that lead out of the code or the file.
        let mut astray = image(RUN);
        astray[0x200..0x204].copy_from_slice(&i32::MAX.to_le_bytes());
        let before = astray.clone();
        settle(&mut astray, &[TEXT]);
        assert_eq!(astray, before);
        assert!(settle(&mut [0xff; 64], std::slice::from_ref(&(0..64))).is_empty());
    }

    #[test]
    fn functions_begin_as_they_do_when_they_may_be_traced() {
        // c.nop for alignment, four c.nop, ret; four c.nop, ret
        let mut code: Vec<u8> =
            [&[1, 0], &UNTRACED[..], &[0x82, 0x80], &UNTRACED[..], &[0x82, 0x80]].concat();
        let len = code.len();
        assert_eq!(settle(&mut code, std::slice::from_ref(&(0..len))), [2, 12]);
        let expected = [&[1, 0], &TRACEABLE[..], &[0x82, 0x80], &TRACEABLE[..], &[0x82, 0x80]].concat();
        assert_eq!(code, expected);
    }
}
