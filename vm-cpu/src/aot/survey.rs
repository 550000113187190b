//! A profile of code that nobody has run: what files say may run.
//!
//! ```text
//!  a section ─► linear sweep ─► where control comes in: symbols, targets, what follows calls and jumps
//!            ─► basic blocks, each as if it had run as often as the others
//! ```
//! A kernel patches some of its instructions when it starts and while it runs. It can only patch what is of the
//! length of a patch, so such places have 4 bytes where the assembler, left alone, would have taken 2: `nop`, and
//! a jump to a place nearby; or are runs of `c.nop`. They are holes: no block has them, the blocks around do not
//! depend on them, and what is there in the end is translated as the guest runs.

use std::collections::{BTreeMap, BTreeSet};

use vm_mmu::PAGE;

use super::profile::{Profile, ProfileBlock, ProfilePage};
use crate::interp::{BLOCK_INSNS, ends_block, granule_mask};
use crate::isa::{self, Extensions, Insn, Op};

/// Executions that a block is credited with: what `aot-builder build` asks for at least.
pub const HEAT: u64 = 16;
/// Bytes between the pages of two files.
const APART: u64 = 1 << 40;
/// `addi x0, x0, 0`.
const NOP: u32 = 0x13;
/// `c.nop`.
const C_NOP: u32 = 1;
/// So many `c.nop` are there to be patched.
const C_NOPS: usize = 4;
/// How far `c.j` reaches.
const NEAR: std::ops::Range<i32> = -2048..2048;

/// Code of a file, from an address on whose offset in its page is that at run time.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Addresses that other code may come in at, in any order, also outside.
    pub entries: &'a [u64],
    /// Whether it patches itself.
    pub patched: bool,
}

/// Takes in files.
#[derive(Debug, Default)]
pub struct Survey {
    files: u64,
    pages: BTreeMap<u64, Page>,
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8; PAGE as usize]>,
    known: u64,
    blocks: BTreeMap<u16, (u16, bool)>,
}

/// An instruction where it is: nothing if there is none, or one that is none of ours to compile.
#[derive(Clone, Copy, Debug)]
struct Spot {
    at: u64,
    len: u64,
    insn: Option<Insn>,
}

impl Survey {
    /// What follows is of another file.
    pub fn next_file(&mut self) {
        self.files += 1;
    }

    /// Takes in a section of the file.
    pub fn add(&mut self, section: &Section) {
        let spots = sweep(section);
        let (leaders, entered) = leaders(section, &spots);
        let mut block: Option<(u64, u64, usize)> = None;
        for spot in &spots {
            let page = spot.at / PAGE;
            let whole = (spot.at + spot.len - 1) / PAGE == page;
            let goes_on = block.is_some_and(|(start, end, len)| {
                end == spot.at && start / PAGE == page && len < BLOCK_INSNS && !leaders.contains(&spot.at)
            });
            if !goes_on && let Some((start, end, _)) = block.take() {
                self.keep(section, start, end, entered.contains(&start));
            }
            let Some(insn) = spot.insn.filter(|_| whole) else {
                if let Some((start, end, _)) = block.take() {
                    self.keep(section, start, end, entered.contains(&start));
                }
                continue;
            };
            let (start, _, len) = block.unwrap_or((spot.at, 0, 0));
            block = Some((start, spot.at + spot.len, len + 1));
            if ends_block(&insn) {
                self.keep(section, start, spot.at + spot.len, entered.contains(&start));
                block = None;
            }
        }
        if let Some((start, end, _)) = block {
            self.keep(section, start, end, entered.contains(&start));
        }
    }

    /// Notes a block, and the bytes of its granules as far as the section has them.
    fn keep(&mut self, section: &Section, start: u64, end: u64, entered: bool) {
        let base = start & !(PAGE - 1);
        let page = self.pages.entry(self.files * APART + base % APART).or_insert_with(|| Page {
            bytes: Box::new([0; PAGE as usize]),
            known: 0,
            blocks: BTreeMap::new(),
        });
        page.known |= granule_mask(start - base, end - start);
        let from = (start - section.address) as usize;
        let code = &section.bytes[from..from + (end - start) as usize];
        page.bytes[(start - base) as usize..(end - base) as usize].copy_from_slice(code);
        page.blocks.insert((start - base) as u16, ((end - start) as u16, entered));
    }

    /// All of it.
    pub fn finish(self) -> Profile {
        let page = |(gpa, page): (u64, Page)| {
            let granules = (0..64).filter(|granule| page.known >> granule & 1 != 0);
            let bytes = granules.flat_map(|granule| &page.bytes[granule * 64..][..64]).copied().collect();
            let blocks = page.blocks.into_iter().map(|(offset, (bytes, entered))| ProfileBlock {
                offset,
                bytes,
                heat: HEAT,
                entered,
            });
            ProfilePage { gpa, known: page.known, bytes, blocks: blocks.collect(), ..ProfilePage::default() }
        };
        Profile { pages: self.pages.into_iter().map(page).collect() }
    }
}

/// The instructions of a section one behind the other; where there is none it goes on 2 bytes further.
fn sweep(section: &Section) -> Vec<Spot> {
    let half = |at: usize| section.bytes.get(at..at + 2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
    let (mut spots, mut at) = (Vec::new(), 0);
    let mut nops = 0;
    while let Some(low) = half(at) {
        let high = if low & 3 == 3 { half(at + 2) } else { Some(0) };
        let insn = high.and_then(|high| isa::decode(low | high << 16, Extensions::all()));
        let len = insn.map_or(2, |insn| u64::from(insn.len));
        nops = if low == C_NOP { nops + 1 } else { 0 };
        let hole = section.patched && insn.is_some_and(|insn| is_patch(&insn));
        spots.push(Spot { at: section.address + at as u64, len, insn: insn.filter(|_| !hole) });
        if section.patched && nops >= C_NOPS {
            spots.iter_mut().rev().take(nops).for_each(|spot| spot.insn = None);
        }
        at += len as usize;
    }
    spots
}

/// Whether an instruction is longer than it would have to be, so that another fits in its place.
fn is_patch(insn: &Insn) -> bool {
    insn.bits == NOP || insn.op == Op::jal && insn.len == 4 && insn.rd == 0 && NEAR.contains(&insn.imm)
}

/// Where blocks begin, and which of those other code is known, or has to be feared, to come in at.
fn leaders(section: &Section, spots: &[Spot]) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let range = section.address..section.address + section.bytes.len() as u64;
    let mut entered: BTreeSet<u64> =
        section.entries.iter().copied().filter(|entry| range.contains(entry)).collect();
    let mut targets = BTreeSet::new();
    let mut behind = true;
    for spot in spots {
        // Nothing is known to lead here: perhaps a table does, or what was patched in.
        if std::mem::take(&mut behind) {
            entered.insert(spot.at);
        }
        let Some(insn) = &spot.insn else {
            behind = true;
            continue;
        };
        let target = spot.at.wrapping_add_signed(insn.imm.into());
        match insn.op {
            Op::jal | Op::jal_ialign32 => {
                if insn.rd == 0 {
                    targets.insert(target)
                } else {
                    entered.insert(target)
                };
                behind = true;
            }
            Op::jalr | Op::jalr_ialign32 => behind = true,
            _ if insn.op.name().starts_with('b') && ends_block(insn) && insn.imm != 0 => {
                targets.insert(target);
            }
            _ if ends_block(insn) => behind = true,
            _ => {}
        }
    }
    targets.extend(&entered);
    (targets, entered)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets of blocks, their bytes, and whether they are entered.
    fn blocks(code: &[u32], patched: bool) -> Vec<(u16, u16, bool)> {
        let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut survey = Survey::default();
        survey.add(&Section { address: 0x10100, bytes: &bytes, entries: &[0x10104], patched });
        let profile = survey.finish();
        assert_eq!(profile.pages.len(), 1);
        profile.pages[0].blocks.iter().map(|block| (block.offset, block.bytes, block.entered)).collect()
    }

    #[test]
    fn blocks_begin_where_control_comes_in() {
        // addi a0,a0,-1; addi a0,a0,-1; bnez a0,-4; ret; 0; ret
        let code = [0xfff5_0513, 0xfff5_0513, 0xfe05_1ee3, 0x0000_8067, 0, 0x0000_8067];
        let expected = [(0x100, 4, true), (0x104, 8, true), (0x10c, 4, false), (0x114, 4, true)];
        assert_eq!(blocks(&code, false), expected);
    }

    #[test]
    fn what_a_kernel_patches_is_in_no_block() {
        // addi; nop; addi; j +8 in 4 bytes; addi; 4 × c.nop; ret
        let code =
            [0xfff5_0513, NOP, 0xfff5_0513, 0x0080_006f, 0xfff5_0513, 0x0001_0001, 0x0001_0001, 0x8067];
        let expected = [(0x100, 4, true), (0x108, 4, true), (0x110, 4, true), (0x11c, 4, true)];
        assert_eq!(blocks(&code, true), expected);
        // A program that is not patched has it as it is.
        let expected = [(0x100, 4, true), (0x104, 12, true), (0x110, 4, true), (0x114, 12, false)];
        assert_eq!(blocks(&code, false), expected);
    }

    #[test]
    fn an_instruction_across_pages_is_left_out() {
        let mut bytes = vec![0x13, 5, 0xf5, 0xff];
        bytes.extend([0x82, 0x80]);
        let mut survey = Survey::default();
        survey.add(&Section { address: 0x1ffe, bytes: &bytes, entries: &[], patched: false });
        let profile = survey.finish();
        assert_eq!(profile.pages.iter().map(|page| page.gpa).collect::<Vec<_>>(), [0x2000]);
        let mut file = Vec::new();
        profile.write(&mut file).unwrap();
        assert_eq!(Profile::read(&file).unwrap(), profile);
    }
}
