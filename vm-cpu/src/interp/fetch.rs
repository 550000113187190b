//! From a pc to a block: translate, look up, decode; and what keeps decoded code true to memory.
//!
//! Before the bytes of a block are read, their granules are marked in the tracker, and every other
//! hart is told to guard the page. Until a hart has read that letter its stores may bypass the door,
//! so the page stays on the `unguarded` list and `fence.i` compares its blocks with memory. From then
//! on a store into a marked granule is announced, and `fence.i` has nothing to do.

use vm_mmu::{Access, PAGE};

use super::blocks::{BLOCK_INSNS, Block, BlockId, granule_mask};
use super::jumps::NOWHERE;
use super::{Blocks, Engine};
use crate::hart::{Core, Mail, Stop};
use crate::isa::meaning::system::is_inert;
use crate::isa::{self, Insn, Op};
use crate::trap::Cause;

/// A page with code that other harts may write to unnoticed.
#[derive(Debug)]
pub(super) struct Unguarded {
    page: u64,
    /// The letter that each of those harts has to read.
    letters: Vec<(usize, u64)>,
}

/// Where an instruction lies.
struct Site {
    gpa: u64,
    /// Page of its second half, or 0.
    tail_page: u64,
    /// Protection changes within the page: decode one instruction and check again each time.
    single: bool,
}

impl Engine {
    /// The block at `core.pc`, with code. An error leaves the trap in `core`.
    #[inline(always)]
    pub(super) fn find(&mut self, core: &mut Core) -> Result<BlockId, Stop> {
        core.tally.lookups += 1;
        if let Some(id) = core.jumps.get(core.pc)
            && self.blocks.get(id).bytes != 0
        {
            return Ok(id);
        }
        match self.find_again(core) {
            Some(id) => Ok(id),
            None => self.find_slow(core),
        }
    }

    /// After a fence most pages lead where they led before: one look at the soft-TLB tells.
    fn find_again(&mut self, core: &mut Core) -> Option<BlockId> {
        let id = core.jumps.guess(core.pc)?;
        let gpa = core.tlb.translate(core.fetch.class, core.pc, Access::Fetch)?;
        let block = self.blocks.get(id);
        if block.gpa != gpa || block.unlinked || block.bytes == 0 {
            return None;
        }
        core.jumps.renew(core.pc);
        Some(id)
    }

    #[inline(never)]
    fn find_slow(&mut self, core: &mut Core) -> Result<BlockId, Stop> {
        core.tally.dispatches += 1;
        let site = site(core)?;
        let generation = self.blocks.generation();
        let id = match core.jumps.guess(core.pc).map(|id| (id, self.blocks.get(id))) {
            Some((id, block)) if block.gpa == site.gpa && block.tail_page == site.tail_page => id,
            _ => self.blocks.number(site.gpa, site.tail_page),
        };
        if self.blocks.get(id).bytes == 0 || site.single {
            self.decode(core, id, &site)?;
        }
        if generation != self.blocks.generation() {
            core.jumps.clear();
        }
        if !site.single {
            let gpa = if site.tail_page == 0 { site.gpa } else { NOWHERE };
            core.jumps.insert(core.pc, id, gpa);
        }
        Ok(id)
    }

    /// Gives block `id` its instructions, from memory. If there is no legal one, the trap is left in
    /// `core`.
    fn decode(&mut self, core: &mut Core, id: BlockId, site: &Site) -> Result<(), Stop> {
        let page = site.gpa & !(PAGE - 1);
        let offset = site.gpa & (PAGE - 1);
        let reach = if site.single { 4 } else { 4 * BLOCK_INSNS as u64 };
        self.mark(core, page, granule_mask(offset, reach.min(PAGE - offset)));
        if site.tail_page != 0 {
            self.mark(core, site.tail_page, 1);
        }
        let limit = if site.single || site.tail_page != 0 { 1 } else { BLOCK_INSNS };
        let mut code = std::mem::take(&mut self.scratch);
        code.clear();
        let mut at = offset;
        let illegal = loop {
            let bits = fetch_bits(core, site, at);
            let Some(insn) = isa::decode(bits, core.extensions()) else { break bits };
            code.push(Insn { at: ((at - offset) / 2) as u8, ..insn });
            at += u64::from(insn.len);
            if ends_block(&insn) || code.len() == limit || !whole_insn_at(core, page, at) {
                break 0;
            }
        };
        self.blocks.set_code(id, &code, (at - offset) as u32);
        core.tally.decoded += 1;
        core.tally.decoded_insns += code.len() as u64;
        self.blocks.get_mut(id).unlinked = limit == 1;
        let empty = code.is_empty();
        self.scratch = code;
        if empty { Err(core.stop_with(Cause::IllegalInstruction, u64::from(illegal))) } else { Ok(()) }
    }

    /// Marks granules as code, and has the other harts guard a page that was not guarded for us.
    pub(super) fn mark(&mut self, core: &mut Core, page: u64, granules: u64) {
        let before = core.memory().tracker().add_code(page, granules);
        if before != 0 && self.blocks.has_code(page) {
            return;
        }
        core.tlb.revoke_write(page);
        let letters = core.post_to_others(Mail::Guard { page });
        if !letters.is_empty() {
            self.unguarded.push(Unguarded { page, letters });
        }
    }

    /// Makes every store that happened before visible to the fetches that follow. Costs nothing
    /// unless code was decoded that another hart could still write to.
    pub(crate) fn fence_i(&mut self, core: &mut Core) {
        core.fence_i = false;
        if core.has_mail() {
            core.read_mail(self);
        }
        if self.unguarded.is_empty() {
            return;
        }
        let Self { blocks, unguarded, jit, .. } = self;
        unguarded.retain(|item| {
            // Asked first: a store that came before the letter was read is then seen by `verify`.
            let guarded =
                item.letters.iter().all(|&(hart, number)| core.cluster().port(hart).has_read(number));
            verify(core, blocks, item.page);
            if let Some(jit) = jit {
                jit.verify(item.page);
            }
            !guarded
        });
    }

    /// Drops what was made from `granules` of `page`.
    pub(crate) fn drop_granules(&mut self, page: u64, granules: u64) {
        self.blocks.drop_granules(page, granules);
    }

    /// Drops all code, keeps heat and edges.
    pub(crate) fn drop_all(&mut self) {
        self.blocks.drop_all();
    }

    /// Forgets everything, as at reset.
    pub(crate) fn forget(&mut self) {
        let jit = self.jit.take();
        *self = Self::default();
        jit.into_iter().for_each(|jit| self.use_jit(jit));
    }
}

/// Translates `core.pc`; both halves if the instruction there may straddle.
fn site(core: &mut Core) -> Result<Site, Stop> {
    let pc = core.pc;
    let (gpa, mut single) = core.translate_fetch(pc)?;
    let mut tail_page = 0;
    if pc & (PAGE - 1) == PAGE - 2 && fetch_low(core, gpa) & 3 == 3 {
        let (tail, tail_single) = core.translate_fetch(pc.wrapping_add(2))?;
        tail_page = tail;
        single |= tail_single;
    }
    Ok(Site { gpa, tail_page, single })
}

/// The 16 bits at `gpa`, which is known to be RAM.
fn fetch_low(core: &Core, gpa: u64) -> u32 {
    core.memory().read_u16(gpa).map_or(0, u32::from)
}

/// The 16 or 32 bits of the instruction at page offset `at` of the site's page.
fn fetch_bits(core: &Core, site: &Site, at: u64) -> u32 {
    let gpa = (site.gpa & !(PAGE - 1)) + at;
    let low = fetch_low(core, gpa);
    if low & 3 != 3 {
        return low;
    }
    let high = if at + 4 > PAGE { site.tail_page } else { gpa + 2 };
    low | fetch_low(core, high) << 16
}

/// Whether an instruction begins and ends in `page` at offset `at`.
fn whole_insn_at(core: &Core, page: u64, at: u64) -> bool {
    at + 4 <= PAGE || at + 2 <= PAGE && fetch_low(core, page + at) & 3 != 3
}

/// Whether nothing may follow `insn` in its block: it jumps, may change what comes next, or counts what
/// came before.
pub(crate) fn ends_block(insn: &Insn) -> bool {
    use Op::*;
    let op = insn.op;
    let jumps = matches!(op, jal | jalr | beq | bne | blt | bge | bltu | bgeu);
    let word_jumps = matches!(op, jal_ialign32 | jalr_ialign32 | beq_ialign32 | bne_ialign32);
    let word_branches = matches!(op, blt_ialign32 | bge_ialign32 | bltu_ialign32 | bgeu_ialign32);
    let counts = matches!(op, csrrw | csrrs | csrrc | csrrwi | csrrsi | csrrci) && !is_inert(insn.imm as u16);
    let switches = matches!(op, ecall | ebreak | mret | sret | wfi | fence_i | sfence_vma | sinval_vma);
    jumps || word_jumps || word_branches || counts || switches || matches!(op, wrs_nto | wrs_sto)
}

/// Drops the blocks of `page` whose bytes are no longer what they were decoded from.
fn verify(core: &Core, blocks: &mut Blocks, page: u64) {
    let stale: Vec<BlockId> = blocks
        .of_page(page)
        .iter()
        .copied()
        .filter(|&id| blocks.get(id).bytes != 0 && differs(core, blocks, blocks.get(id)))
        .collect();
    for id in stale {
        blocks.drop_code(id);
    }
}

fn differs(core: &Core, blocks: &Blocks, block: &Block) -> bool {
    let site = Site { gpa: block.gpa, tail_page: block.tail_page, single: false };
    let offset = block.gpa & (PAGE - 1);
    blocks.code(block).iter().any(|i| fetch_bits(core, &site, offset + u64::from(i.at) * 2) != i.bits)
}

impl Core {
    /// Guest-physical address that `pc` is fetched from, and whether protection changes within its
    /// page. An error leaves the trap in the hart.
    pub(crate) fn translate_fetch(&mut self, pc: u64) -> Result<(u64, bool), Stop> {
        if let Some(gpa) = self.tlb.translate(self.fetch.class, pc, Access::Fetch) {
            return Ok((gpa, false));
        }
        let place = self.translate(pc, 2, Access::Fetch)?;
        match place.ram {
            true => Ok((place.gpa, !place.uniform)),
            false => Err(self.stop_with(Cause::InstructionAccess, pc)),
        }
    }
}
