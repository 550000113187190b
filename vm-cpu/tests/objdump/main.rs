//! The decoder and the disassembler against binutils: every 16-bit word and many 32-bit ones, legality
//! and text alike. Where the two may differ is said, case by case, in [`divergence`].

mod divergence;
mod objdump;

use vm_cpu::isa::{Extensions, Op, decode, disassemble};

/// What this crate says: text, or nothing if the word is illegal.
fn ours(word: u32, pc: u64) -> Option<String> {
    decode(word, Extensions::all()).map(|i| disassemble(&i, pc))
}

/// A sequence of well-mixed numbers, the same in every run.
struct Mix(u64);

impl Mix {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 16) as u32
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
}

fn compare(name: &str, words: &[u32], size: u64) {
    let theirs = objdump::disassemble(name, words, size);
    assert_eq!(theirs.len(), words.len(), "objdump took the words for other lengths than written");
    let mut unlike = Vec::new();
    for ((n, &word), theirs) in (0..).zip(words).zip(theirs) {
        let ours = ours(word, n * size);
        if ours != theirs && !divergence::allowed(word, ours.as_deref(), theirs.as_deref()) {
            unlike.push(format!("{word:#010x}: ours {ours:?}, binutils {theirs:?}"));
        }
    }
    let shown = unlike.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(unlike.is_empty(), "{} of {} words differ:\n{shown}", unlike.len(), words.len());
}

#[test]
fn every_16_bit_word_reads_as_in_binutils() {
    let words: Vec<u32> = (0..=0xffff).filter(|w| w & 3 != 3).collect();
    compare("compressed", &words, 2);
}

#[test]
fn words_of_each_row_read_as_in_binutils() {
    let mut mix = Mix(1);
    let mut words = Vec::new();
    for &op in Op::ALL {
        let p = op.row().pattern;
        words.extend((0..700).map(|_| p.value | mix.next() & !p.mask));
    }
    assert!(words.len() > 150_000);
    compare("rows", &words, 4);
}

#[test]
fn words_beside_the_rows_read_as_in_binutils() {
    let mut mix = Mix(2);
    let words: Vec<u32> = (0..150_000)
        .map(|_| {
            let p = Op::ALL[mix.below(Op::ALL.len())].row().pattern;
            let flips = 1 << mix.below(30) | 1 << mix.below(30);
            ((p.value | mix.next() & !p.mask) ^ (flips << 2)) | 3
        })
        .filter(|w| w & 0x1f != 0x1f)
        .collect();
    compare("beside", &words, 4);
}
