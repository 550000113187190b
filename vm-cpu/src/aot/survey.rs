//! A profile of code that nobody has run: what files say may run.
//!
//! ```text
//!  a section ─► linear sweep ─► where control comes in: symbols, targets, what follows calls and jumps
//!            ─► basic blocks, each as if it had run as often as the others
//! ```
//! A kernel patches some of its instructions when it starts: [`settle`](super::settle) does so before the sweep.
//! What it patches while it runs is taken as it is in the file; where that is wrong, the unit is not bound.

use std::collections::{BTreeMap, BTreeSet};

use vm_mmu::PAGE;

use super::callers::most_called;
use super::profile::{Profile, ProfileBlock, ProfilePage};
use crate::interp::{BLOCK_INSNS, ends_block, granule_mask};
use crate::isa::{self, Extensions, Insn, Op};

/// Executions that a block is credited with: what `aot-builder build` asks for at least.
pub const HEAT: u64 = 16;
/// Bytes between the pages of two files.
const APART: u64 = 1 << 40;
/// Code of a file, from an address on whose offset in its page is that at run time.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Addresses that other code may come in at, in any order, also outside.
    pub entries: &'a [u64],
    /// Instructions to take at most, those that are called most; all, if nothing is said.
    pub most: Option<usize>,
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
pub(super) struct Spot {
    pub at: u64,
    pub len: u64,
    pub insn: Option<Insn>,
}

/// Addresses where blocks begin, and those of them that other code comes in at.
type Borders = (BTreeSet<u64>, BTreeSet<u64>);

impl Survey {
    /// What follows is of another file.
    pub fn next_file(&mut self) {
        self.files += 1;
    }

    /// Takes in a section of the file.
    pub fn add(&mut self, section: &Section) {
        let spots = sweep(section);
        let borders = leaders(section, &spots);
        match section.most {
            Some(most) => most_called(&spots, section.entries, most)
                .into_iter()
                .for_each(|function| self.take(section, &spots[function], &borders)),
            None => self.take(section, &spots, &borders),
        }
    }

    /// Notes the blocks of code that lies together.
    fn take(&mut self, section: &Section, spots: &[Spot], (leaders, entered): &Borders) {
        let mut block: Option<(u64, u64, usize)> = None;
        for spot in spots {
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
                ..ProfileBlock::default()
            });
            ProfilePage { gpa, known: page.known, bytes, blocks: blocks.collect(), ..ProfilePage::default() }
        };
        Profile { pages: self.pages.into_iter().map(page).collect() }
    }
}

/// The instructions of a section one behind the other; where there is none it goes on 2 bytes further.
pub(super) fn sweep(section: &Section) -> Vec<Spot> {
    let half = |at: usize| section.bytes.get(at..at + 2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
    let (mut spots, mut at) = (Vec::new(), 0);
    while let Some(low) = half(at) {
        let high = if low & 3 == 3 { half(at + 2) } else { Some(0) };
        let insn = high.and_then(|high| isa::decode(low | high << 16, Extensions::all()));
        let len = insn.map_or(2, |insn| u64::from(insn.len));
        spots.push(Spot { at: section.address + at as u64, len, insn });
        at += len as usize;
    }
    spots
}

/// Where blocks begin, and which of those other code is known, or has to be feared, to come in at. Code of
/// another page is other code: it is never in the same unit.
fn leaders(section: &Section, spots: &[Spot]) -> Borders {
    let range = section.address..section.address + section.bytes.len() as u64;
    let mut entered: BTreeSet<u64> =
        section.entries.iter().copied().filter(|entry| range.contains(entry)).collect();
    let mut targets = BTreeSet::new();
    let mut behind = true;
    for spot in spots {
        // Nothing is known to lead here, or what does ends in another page.
        if behind || spot.at.is_multiple_of(PAGE) {
            entered.insert(spot.at);
        }
        let Some(insn) = &spot.insn else {
            behind = true;
            continue;
        };
        // What fills the room between functions, or between entries of a table of jumps, is not what is entered.
        behind = behind && is_filler(insn) || (spot.at + spot.len - 1) / PAGE != spot.at / PAGE;
        let target = spot.at.wrapping_add_signed(insn.imm.into());
        let mut leads = |elsewhere: bool| {
            let known =
                if elsewhere || target / PAGE != spot.at / PAGE { &mut entered } else { &mut targets };
            known.insert(target);
        };
        match insn.op {
            Op::jal | Op::jal_ialign32 => {
                leads(insn.rd != 0);
                behind = true;
            }
            Op::jalr | Op::jalr_ialign32 => behind = true,
            _ if insn.op.name().starts_with('b') && ends_block(insn) && insn.imm != 0 => leads(false),
            _ if ends_block(insn) => behind = true,
            _ => {}
        }
    }
    targets.extend(&entered);
    (targets, entered)
}

/// `nop`, of any length.
fn is_filler(insn: &Insn) -> bool {
    insn.op == Op::addi && insn.rd == 0 && insn.rs1 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets of blocks, their bytes, and whether they are entered.
    fn blocks(code: &[u32]) -> Vec<(u16, u16, bool)> {
        let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut survey = Survey::default();
        survey.add(&Section { address: 0x10100, bytes: &bytes, entries: &[0x10104], most: None });
        let profile = survey.finish();
        assert_eq!(profile.pages.len(), 1);
        profile.pages[0].blocks.iter().map(|block| (block.offset, block.bytes, block.entered)).collect()
    }

    #[test]
    fn blocks_begin_where_control_comes_in() {
        // addi a0,a0,-1; addi a0,a0,-1; bnez a0,-4; ret; 0; ret
        let code = [0xfff5_0513, 0xfff5_0513, 0xfe05_1ee3, 0x0000_8067, 0, 0x0000_8067];
        let expected = [(0x100, 4, true), (0x104, 8, true), (0x10c, 4, false), (0x114, 4, true)];
        assert_eq!(blocks(&code), expected);
    }

    #[test]
    fn what_follows_filler_is_entered_too() {
        // ret; nop; addi a0,a0,-1; ret
        let code = [0x0000_8067, 0x13, 0xfff5_0513, 0x0000_8067];
        let expected = [(0x100, 4, true), (0x104, 4, true), (0x108, 8, true)];
        assert_eq!(blocks(&code), expected);
    }

    #[test]
    fn an_instruction_across_pages_is_left_out() {
        let mut bytes = vec![0x13, 5, 0xf5, 0xff];
        bytes.extend([0x82, 0x80]);
        let mut survey = Survey::default();
        survey.add(&Section { address: 0x1ffe, bytes: &bytes, entries: &[], most: None });
        let profile = survey.finish();
        assert_eq!(profile.pages.iter().map(|page| page.gpa).collect::<Vec<_>>(), [0x2000]);
        let mut file = Vec::new();
        profile.write(&mut file).unwrap();
        assert_eq!(Profile::read(&file).unwrap(), profile);
    }
}
