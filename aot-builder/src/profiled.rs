//! Profiles described, for people.

use std::cmp::Reverse;
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use vm_cpu::aot::profile::{PROFILE_VERSION, Profile, ProfileBlock, ProfilePage};
use vm_cpu::isa::{Extensions, Insn, decode, disassemble};

use crate::inspect::more;

/// A block and the page it is in.
type Placed<'a> = (&'a ProfilePage, &'a ProfileBlock);

/// What a profile of `length` bytes says: its hottest blocks, or the instructions of those that are `asked` for.
pub fn describe(profile: &Profile, length: usize, top: usize, asked: &[usize]) -> Result<String> {
    let of_page = |page| move |block| (page, block);
    let mut blocks: Vec<Placed> =
        profile.pages.iter().flat_map(|page| page.blocks.iter().map(of_page(page))).collect();
    blocks.sort_by_key(|&(page, block)| (Reverse(block.heat), page.gpa, block.offset));
    let count = blocks.len();
    let unknown = asked.iter().find(|&&number| number >= count);
    ensure!(unknown.is_none(), "--unit {}: expected a number below {count}", unknown.unwrap_or(&0));
    if asked.is_empty() {
        let mut text = head(profile, length, &blocks);
        text.extend((0..count.min(top)).map(|number| row(number, blocks[number])));
        return Ok(text + &more(count, top, "blocks"));
    }
    Ok(asked.iter().map(|&number| row(number, blocks[number]) + &listing(blocks[number])).collect())
}

fn head(profile: &Profile, length: usize, blocks: &[Placed]) -> String {
    let sum = |of: fn(&ProfilePage) -> usize| profile.pages.iter().map(of).sum::<usize>();
    let are = |is: fn(&ProfileBlock) -> bool| blocks.iter().filter(|(_, block)| is(block)).count();
    format!(
        "profile   version {PROFILE_VERSION}, {length} bytes\n\
         code      {} pages, {} bytes of them known\n\
         blocks    {} of {} instructions, {} entered by other code, {} optimised\n\
         accesses  {} roam, {} store beside code, {} are checked apart\n",
        profile.pages.len(),
        sum(|page| page.bytes.len()),
        blocks.len(),
        blocks.iter().map(|&placed| insns(placed).len()).sum::<usize>(),
        are(|block| block.entered),
        are(|block| block.optimised),
        sum(|page| page.roaming.len()),
        sum(|page| page.beside.len()),
        sum(|page| page.apart.len()),
    )
}

/// A block in one line.
fn row(number: usize, (page, block): Placed) -> String {
    let (from, to) = (page.gpa + u64::from(block.offset), u64::from(block.offset) + u64::from(block.bytes));
    let [taken, not] = block.ways;
    let branch = match taken.saturating_add(not) {
        0 => String::new(),
        all => format!("  taken {taken} of {all}"),
    };
    format!(
        "block {number:<6} heat {:>12}  guest {from:#x}..{to:03x} {:>3} instructions{}{}{branch}\n",
        block.heat,
        insns((page, block)).len(),
        if block.entered { "  entered" } else { "" },
        if block.optimised { "  optimised" } else { "" },
    )
}

fn listing((page, block): Placed) -> String {
    let mut text = String::new();
    for (offset, bits, insn) in insns((page, block)) {
        let is_in = |list: &[u16]| list.contains(&offset);
        let notes = [
            (is_in(&page.roaming), "  ; roams"),
            (is_in(&page.beside), "  ; beside code"),
            (is_in(&page.apart), "  ; checked apart"),
        ];
        let notes: String = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect();
        let digits = 2 * usize::from(insn.len);
        let (bits, spelling) =
            (format!("{bits:0digits$x}"), disassemble(&insn, page.gpa + u64::from(offset)));
        let _ = writeln!(text, "  {:#x}  {bits:<8}  {spelling}{notes}", page.gpa + u64::from(offset));
    }
    text
}

/// The instructions of a block, each with its offset in the page and its bits, up to one that is unknown.
fn insns((page, block): Placed) -> Vec<(u16, u32, Insn)> {
    let bytes = page.page();
    let half = |at: usize| bytes.get(at..at + 2).map_or(0, |b| u32::from(u16::from_le_bytes([b[0], b[1]])));
    let (mut at, end) = (usize::from(block.offset), usize::from(block.offset) + usize::from(block.bytes));
    let mut found = Vec::new();
    while at < end {
        let low = half(at);
        let bits = if low & 3 == 3 { low | half(at + 2) << 16 } else { low };
        let Some(insn) = decode(bits, Extensions::all()) else { break };
        found.push((at as u16, bits, insn));
        at += usize::from(insn.len);
    }
    found
}
