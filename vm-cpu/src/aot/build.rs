//! From a profile to the contents of an image.
//!
//! ```text
//!  profile ─► blocks of each page ─► regions, hottest first ─► slots, keys      plan
//!  region  ─► code, names of words, links                                       compile, on any thread
//!  all     ─► text by lines, words behind it, names resolved                    assemble
//! ```
//! The same profile gives the same bytes, however many threads compile.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use vm_mmu::PAGE;

use super::lifted::Lifted;
use super::origin::{self, Digest, Origin};
use super::profile::{Profile, ProfilePage};
use super::unit::{AheadSite, AheadSlots, AheadUnit, Contents};
use super::warm::Resident;
use crate::interp::{Block, Blocks};
use crate::isa::{self, Extensions, Insn, Op};
use crate::jit::abi::Site;
use crate::jit::compile::{CompileError, Compiler, Name};
use crate::jit::lift::{Binding, HELPER_WORDS, LINK_WORDS, Options, Place, space};
use crate::jit::region::{Region, Surroundings};
use crate::jit::sites::{Known, assign_slots, sites_of};
use crate::jit::slots::{FIRST_KEY, FIRST_SLOT, SLOTS, SlotSpan};
use crate::jit::ways::ways_in;

/// Granularity of the text: a unit begins on a line.
pub const LINE: usize = 64;
/// No unit lies across a multiple of this in the text.
pub const SEGMENT: usize = 256 << 10;
/// Slots that are left to what is compiled while a machine runs.
const SLOTS_LEFT: u32 = SLOTS as u32 / 4;

/// A region to be compiled.
#[derive(Debug)]
pub struct Job {
    region: Region,
    heat: u64,
    sites: Box<[Site]>,
    slots: Option<SlotSpan>,
}

/// A compiled region.
#[derive(Debug)]
pub struct Made {
    code: Vec<u8>,
    entries: Vec<(u16, u32)>,
    names: Vec<Name>,
    links: Vec<u16>,
    places: Vec<(u32, u16)>,
    digest: Option<Digest>,
}

impl Made {
    /// Notes what it was made from, for the builds that follow.
    pub fn from(self, digest: Digest) -> Made {
        Made { digest: Some(digest), ..self }
    }
}

/// Words of an image that belong to no unit.
pub const SHARED_WORDS: u32 = HELPER_WORDS;

/// What a profile says of the blocks of a page.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Addresses that regions made so far can be entered at.
    ways: HashSet<u64>,
    /// Addresses that other code jumps to.
    entered: HashSet<u64>,
    /// Addresses of blocks that had optimised code.
    optimised: HashSet<u64>,
    /// For addresses of blocks: how often the branches behind them were taken, and how often not.
    branches: HashMap<u64, [u64; 2]>,
}

impl Surroundings for Facts {
    fn has_region(&self, gpa: u64) -> bool {
        self.ways.contains(&gpa)
    }

    fn heat(&self, block: &Block) -> u64 {
        block.heat
    }

    fn ways(&self, block: &Block) -> [u64; 2] {
        self.branches.get(&block.gpa).copied().unwrap_or_default()
    }

    /// What is hot is worth having twice.
    fn is_settled(&self, gpa: u64, _: u64, _: u64) -> bool {
        !self.optimised.contains(&gpa) && self.has_region(gpa)
    }

    fn is_entered(&self, gpa: u64) -> bool {
        self.entered.contains(&gpa)
    }

    /// In a run what asks for a region most often is one; here it is a function, and a loop that an interrupt
    /// came back to would be translated anew.
    fn enters_loops(&self) -> bool {
        true
    }
}

/// Floating point has its region after this part of the executions that other code has before, and none are counted
/// from then on.
const FLOAT: u64 = 8;

/// Executions of a region's hottest block, as they would be if all were counted alike.
fn heat(region: &Region) -> u64 {
    let float = region.blocks.iter().flat_map(|block| &block.effects).any(|effects| effects.float.is_some());
    let heat = region.blocks.iter().map(|block| block.heat).max().unwrap_or(region.heat);
    if float { heat.saturating_mul(FLOAT) } else { heat }
}

/// The regions of a profile that are worth a unit, hottest first, with their inline caches. Blocks that ran
/// less than `least` times are left out.
pub fn plan(profile: &Profile, least: u64) -> Vec<Job> {
    let mut found: Vec<(Region, &ProfilePage)> = Vec::new();
    let mut seen = HashSet::new();
    for (number, page) in profile.pages.iter().enumerate() {
        // Pages are told apart by number: what was at one address at different times is different code.
        let gpa = (number as u64 + 1) * PAGE;
        let mut of_page: Vec<Region> = regions(page, gpa, least);
        of_page.retain(|region| seen.insert(identity(region)));
        found.extend(of_page.into_iter().map(|region| (region, page)));
    }
    found.sort_by(|(a, _), (b, _)| {
        (heat(b), a.page, a.blocks[0].offset).cmp(&(heat(a), b.page, b.blocks[0].offset))
    });
    let mut slots = Slots::default();
    let jobs = found.into_iter().map(|(region, page)| {
        let (mut sites, heat) = (sites_of(&region), heat(&region));
        sites.iter_mut().for_each(|site| site.apart = page.apart.contains(&site.offset));
        let known = Known {
            // An inline cache holds what one address space maps, and has a line of memory to itself: code that many
            // processes execute now and then does better with the soft-TLB.
            roams: &|at| !page.is_optimised(at) || page.roaming.contains(&at),
            beside: &|at| page.beside.contains(&at),
        };
        let slots = slots.assign(&mut sites, &region, &known);
        Job { region, heat, sites, slots }
    });
    jobs.collect()
}

/// The units of a running machine once more, hottest first, as alike as they can be.
pub(super) fn again(mut residents: Vec<Resident>) -> Vec<Job> {
    residents.sort_by_key(|resident| (Reverse(resident.region.heat), resident.region.page));
    let mut slots = Slots::default();
    let jobs = residents.into_iter().map(|Resident { region, sites: before }| {
        let mut sites = sites_of(&region);
        sites.iter_mut().zip(&before).for_each(|(site, before)| site.apart = before.apart);
        let is = |at: u16, what: fn(&Site) -> bool| before.iter().any(|site| site.offset == at && what(site));
        let known =
            Known { roams: &|at| is(at, |site| site.slot == 0), beside: &|at| is(at, |site| site.beside) };
        let slots = slots.assign(&mut sites, &region, &known);
        Job { heat: region.heat, region, sites, slots }
    });
    jobs.collect()
}

/// The slots, and keys of them, that no unit of the image has yet.
struct Slots {
    first: u32,
    key: u32,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots { first: FIRST_SLOT, key: FIRST_KEY }
    }
}

impl Slots {
    /// Gives the accesses of a region their inline caches, as far as there are some left.
    fn assign(&mut self, sites: &mut [Site], region: &Region, known: &Known<'_>) -> Option<SlotSpan> {
        assign_slots(sites, region, Options::default().group, known, |len| {
            let end = self.first + len;
            if end > SLOTS as u32 - SLOTS_LEFT {
                return None;
            }
            let span = SlotSpan { first: self.first, len, key: self.key, stores: 0 };
            (self.first, self.key) = (end, self.key + 1);
            Some(span)
        })
    }
}

/// What makes two regions the same unit.
fn identity(region: &Region) -> Vec<(u32, u32, bool)> {
    let insns = |block: &crate::jit::region::RegionBlock| {
        let (offset, entry) = (block.offset, block.entry);
        block
            .insns
            .iter()
            .map(move |insn| (offset + 2 * u32::from(insn.at), insn.bits, entry))
            .collect::<Vec<_>>()
    };
    region.blocks.iter().flat_map(insns).collect()
}

/// Regions of a page, from its hottest block on, until each block lies in one.
fn regions(page: &ProfilePage, gpa: u64, least: u64) -> Vec<Region> {
    let bytes = page.page();
    let mut blocks = Blocks::default();
    let mut heat: HashMap<u32, u64> = HashMap::new();
    let mut facts = Facts::default();
    for block in &page.blocks {
        let Some(code) = decode(&bytes, block.offset, block.bytes) else { continue };
        let id = blocks.number(gpa + u64::from(block.offset), 0);
        blocks.set_code(id, &code, block.bytes.into());
        blocks.get_mut(id).heat = block.heat;
        heat.insert(block.offset.into(), block.heat);
        facts.branches.insert(gpa + u64::from(block.offset), block.ways);
        if block.entered {
            facts.entered.insert(gpa + u64::from(block.offset));
        }
        if block.optimised {
            facts.optimised.insert(gpa + u64::from(block.offset));
        }
        if let Some(last) = code.last().filter(|last| last.op == Op::jal && matches!(last.rd, 1 | 5)) {
            let here = gpa + u64::from(block.offset) + u64::from(block.bytes) - u64::from(last.len);
            facts.entered.insert(here.wrapping_add_signed(last.imm.into()));
        }
    }
    let mut seeds: Vec<(u64, u32)> =
        heat.iter().filter(|&(_, &heat)| heat >= least).map(|(&at, &heat)| (heat, at)).collect();
    seeds.sort_by_key(|&(heat, at)| (Reverse(heat), at));
    let mut covered: HashSet<u32> = HashSet::new();
    let mut regions = Vec::new();
    for (_, at) in seeds {
        if covered.contains(&at) {
            continue;
        }
        let Some(seed) = blocks.known(gpa + u64::from(at)) else { continue };
        let Some(region) = Region::discover(&blocks, seed, &facts) else { continue };
        facts.ways.extend(region.entries().map(|at| gpa + u64::from(region.blocks[at].offset)));
        covered.extend(region.blocks.iter().map(|block| block.offset));
        regions.push(region);
    }
    regions
}

/// The instructions of a block. `None` if there is one that no machine knows, or more bytes than they take.
fn decode(page: &[u8; PAGE as usize], offset: u16, len: u16) -> Option<Vec<Insn>> {
    let (start, end) = (usize::from(offset), usize::from(offset) + usize::from(len));
    let mut code = Vec::new();
    let mut at = start;
    while at < end {
        let half = |at: usize| page.get(at..at + 2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
        let low = half(at)?;
        let bits = if low & 3 == 3 { low | half(at + 2)? << 16 } else { low };
        let insn = isa::decode(bits, Extensions::all())?;
        code.push(Insn { at: ((at - start) / 2) as u8, ..insn });
        at += usize::from(insn.len);
    }
    (at == end).then_some(code)
}

impl Job {
    /// Guest instructions of the region.
    pub fn insns(&self) -> usize {
        self.sites.len()
    }

    /// Takes the first for the second: for tests of what must notice.
    pub fn mistake(&mut self, (right, wrong): (Op, Op)) {
        let insns = self.region.blocks.iter_mut().flat_map(|block| &mut block.insns);
        insns.filter(|insn| insn.op == right).for_each(|insn| insn.op = wrong);
    }

    /// Executions of the region's hottest block; of floating point what they stand for.
    pub fn heat(&self) -> u64 {
        self.heat
    }

    /// Lifts it, for another code generator than Cranelift's.
    pub fn lift(&self, compiler: &mut Compiler) -> Lifted {
        let mut links = Vec::new();
        let (function, sides) = compiler.lift(&self.region, self.place(&mut links));
        Lifted::new(function, links, sides, &self.region)
    }

    /// What another code generator has made of it: code that begins with its function's, and what it names.
    pub fn made(&self, lifted: &Lifted, mut code: Vec<u8>, names: Vec<Name>) -> Made {
        let entries = ways_in(&mut code, self.region.entries().count());
        let (entries, links) = (self.starts().zip(entries).collect(), lifted.links().to_vec());
        // Whose code is whose is not known: all of it counts for the first instruction.
        Made { code, entries, names, links, places: vec![(0, 0)], digest: None }
    }

    /// What follows from the same as `digest` tells, as it lies in an image. `None` if it does not suit.
    pub(super) fn again(
        &self,
        unit: AheadUnit,
        code: &[u8],
        names: Vec<Name>,
        digest: Digest,
    ) -> Option<Made> {
        let starts = unit.entries.iter().map(|entry| entry.0);
        let AheadUnit { entries, links, places, .. } = &unit;
        starts.eq(self.starts()).then(|| Made {
            code: code.to_vec(),
            entries: entries.clone(),
            names,
            links: links.clone(),
            places: places.clone(),
            digest: Some(digest),
        })
    }

    /// All that its code by Cranelift follows from.
    pub fn digest(&self, compiler: &mut Compiler) -> Digest {
        let lifted = self.lift(compiler);
        origin::digest(|to| {
            origin::of_function(&lifted.function, to);
            self.around(&lifted, to);
        })
    }

    /// The same for another code generator, which is given, and is, what `given` tells.
    pub fn digest_of(&self, lifted: &Lifted, given: &[u8]) -> Digest {
        origin::digest(|to| {
            given.hash(to);
            self.around(lifted, to);
        })
    }

    /// What a unit has beside its code.
    fn around(&self, lifted: &Lifted, to: &mut impl Hasher) {
        self.starts().collect::<Vec<_>>().hash(to);
        lifted.links().hash(to);
    }

    /// Offsets of its entries.
    fn starts(&self) -> impl Iterator<Item = u16> + '_ {
        self.region.entries().map(|at| self.region.blocks[at].offset as u16)
    }

    fn place<'a>(&'a self, links: &'a mut Vec<u16>) -> Place<'a> {
        Place {
            sites: &self.sites,
            slots: self.slots,
            binding: Binding::Ahead { links },
            options: Options::default(),
        }
    }

    /// Compiles it for hosts like this one.
    pub fn compile(&self, compiler: &mut Compiler) -> Result<Made, CompileError> {
        let mut links = Vec::new();
        compiler.compile(&self.region, self.place(&mut links))?;
        Ok(Made {
            code: compiler.code.clone(),
            entries: self.starts().zip(compiler.entries.iter().copied()).collect(),
            names: compiler.names.clone(),
            links,
            places: compiler.places.clone(),
            digest: None,
        })
    }
}

/// Puts together what was made, in the order of the jobs. `None` stands for what could not be.
pub fn assemble(made: impl IntoIterator<Item = (Job, Option<Made>)>) -> Contents {
    let mut contents = Contents { words: HELPER_WORDS, ..Contents::default() };
    let mut names = Vec::new();
    for (job, made) in made {
        let Some(made) = made.filter(|made| made.code.len() <= SEGMENT) else { continue };
        let mut text = contents.text.len().next_multiple_of(LINE);
        if text / SEGMENT != (text + made.code.len() - 1) / SEGMENT {
            text = text.next_multiple_of(SEGMENT);
        }
        contents.text.resize(text, INT3);
        contents.text.extend_from_slice(&made.code);
        names.extend(made.names.iter().map(|name| (text, contents.words, *name)));
        let site = |site: &Site| AheadSite {
            bits: site.insn.bits,
            op: site.insn.op as u16,
            offset: site.offset,
            rest: site.rest,
            slot: site.slot,
            beside: site.beside,
            apart: site.apart,
        };
        let slots = job.slots.map(|span| AheadSlots {
            first: span.first as u16,
            len: span.len as u16,
            key: span.key,
            stores: span.stores as u16,
        });
        let number = contents.units.len() as u32;
        contents.origins.extend(made.digest.map(|digest| Origin::new(number, digest, &made.names)));
        let words = contents.words;
        contents.words += LINK_WORDS + made.links.len() as u32;
        contents.units.push(AheadUnit {
            text: text as u32,
            len: made.code.len() as u32,
            entries: made.entries,
            sites: job.sites.iter().map(site).collect(),
            links: made.links,
            words,
            slots,
            heat: job.heat,
            places: made.places,
        });
    }
    let end = contents.text.len().next_multiple_of(PAGE as usize);
    contents.text.resize(end, INT3);
    for (text, own, name) in names {
        let word = match name.space {
            space::HELPERS => name.index,
            _ => own + name.index,
        };
        let at = text + name.at as usize;
        let distance = (end + 8 * word as usize) as i64 + name.addend - at as i64;
        contents.text[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
    }
    contents
}

/// What lies between units: a breakpoint.
const INT3: u8 = 0xcc;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aot::profile::ProfileBlock;

    /// A page with a loop: `addi a0, a0, -1; bnez a0, -4; ret`.
    pub(crate) fn countdown() -> Profile {
        let code: [u32; 3] = [0xfff5_0513, 0xfe05_1ee3, 0x0000_8067];
        let mut bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(64, 0);
        let block = |offset, bytes, heat| ProfileBlock { offset, bytes, heat, ..ProfileBlock::default() };
        let blocks = vec![block(0, 8, 1000), block(8, 4, 900)];
        let page = ProfilePage { gpa: 0x8000_0000, known: 1, bytes, blocks, ..ProfilePage::default() };
        Profile { pages: vec![page.clone(), ProfilePage { gpa: 0x8000_5000, ..page }] }
    }

    fn built() -> Contents {
        let mut compiler = Compiler::new().unwrap();
        assemble(plan(&countdown(), 1).into_iter().map(|job| {
            let made = job.compile(&mut compiler).unwrap();
            (job, Some(made))
        }))
    }

    #[test]
    fn an_interrupt_may_come_back_to_a_loop_inside_a_unit() {
        let mut profile = countdown();
        profile.pages.truncate(1);
        let page = &mut profile.pages[0];
        // `addi a1, a1, -1` in front.
        page.bytes.splice(0..0, 0xfff5_8593u32.to_le_bytes());
        page.blocks = [(0, 4), (4, 8), (12, 4)]
            .map(|(offset, bytes)| ProfileBlock { offset, bytes, heat: 1000, ..ProfileBlock::default() })
            .to_vec();
        let region = plan(&profile, 1).remove(0).region;
        assert_eq!(region.entries().map(|at| region.blocks[at].offset).collect::<Vec<u32>>(), [0, 4]);
    }

    #[test]
    fn what_had_optimised_code_has_inline_caches_and_is_there_twice() {
        // `ld a1, 0(a0); jal f; ret`, and `f: ld a2, 0(a0); ret`.
        let code: [u32; 5] = [0x0005_3583, 0x0080_00ef, 0x0000_8067, 0x0005_3603, 0x0000_8067];
        let plan = |optimised| {
            let mut profile = countdown();
            profile.pages.truncate(1);
            let page = &mut profile.pages[0];
            page.bytes.splice(..20, code.iter().flat_map(|word| word.to_le_bytes()));
            let block = |offset, bytes, heat, optimised| ProfileBlock {
                offset,
                bytes,
                heat,
                entered: offset == 12,
                optimised,
                ..ProfileBlock::default()
            };
            page.blocks =
                vec![block(0, 8, 1000, false), block(8, 4, 1000, false), block(12, 8, 2000, optimised)];
            plan(&profile, 1)
        };
        let (cold, hot) = (plan(false), plan(true));
        let insns = |jobs: &[Job]| jobs.iter().map(|job| job.sites.len()).sum::<usize>();
        let cached = |jobs: &[Job]| jobs.iter().flat_map(|job| &job.sites).filter(|s| s.slot != 0).count();
        assert_eq!((insns(&cold), cached(&cold)), (5, 0));
        assert_eq!((insns(&hot), cached(&hot)), (7, 2));
    }

    #[test]
    fn floating_point_is_hot_after_fewer_executions() {
        // `fld fa0, 0(a0); fadd.d fa0, fa0, fa1; bnez a0, -8`, or `ld` in front.
        let job = |first: u32| {
            let mut profile = countdown();
            let code = [first, 0x02b5_7553, 0xfe05_1ce3];
            let bytes = code.iter().flat_map(|word| word.to_le_bytes());
            profile.pages.truncate(1);
            let page = &mut profile.pages[0];
            page.bytes.splice(..12, bytes);
            let blocks = [(0, if first == LD { 4 } else { 12 })];
            page.blocks = blocks
                .map(|(offset, bytes)| ProfileBlock { offset, bytes, heat: 1000, ..ProfileBlock::default() })
                .to_vec();
            plan(&profile, 1).remove(0)
        };
        const LD: u32 = 0x0005_3503;
        let (float, other) = (job(0x0005_3507), job(LD));
        assert_eq!((float.heat(), other.heat()), (1000 * FLOAT, 1000));
    }

    #[test]
    fn a_unit_of_a_running_machine_becomes_the_same_code_again() {
        // `jal ra, f; ld a1, 8(a2); sd a1, (a3); bnez a0, -12; ret`, and `f: addi a0, a0, -1; lw a4, (a5); ret`.
        let code: [u32; 8] = [
            0x0140_00ef,
            0x0086_3583,
            0x00b6_b023,
            0xfe05_1ae3,
            0x0000_8067,
            0xfff5_0513,
            0x0007_a703,
            0x0000_8067,
        ];
        let mut bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(64, 0);
        let block = |offset, bytes| ProfileBlock {
            offset,
            bytes,
            heat: 1000,
            entered: offset == 20,
            optimised: true,
            ..ProfileBlock::default()
        };
        let blocks = vec![block(0, 4), block(4, 12), block(16, 4), block(20, 12)];
        let (roaming, beside) = (vec![4], vec![8]);
        let page =
            ProfilePage { gpa: 0x8000_0000, known: 1, bytes, blocks, roaming, beside, apart: vec![24] };
        let first = plan(&Profile { pages: vec![page] }, 1).remove(0);
        let (region, sites) = (&first.region, first.sites.clone());
        assert!(region.entries().count() > 1 && !region.returns.is_empty() && first.slots.is_some());
        let told = Region::again(region.page, &sites, &region.shape(), 1000).unwrap();
        let second = again(vec![Resident { region: told, sites: sites.clone() }]).remove(0);
        assert_eq!(format!("{:?}", second.region.blocks), format!("{:?}", region.blocks));
        assert_eq!(format!("{:?}", second.sites), format!("{sites:?}"));
        assert_eq!(format!("{:?}", second.slots), format!("{:?}", first.slots));
        let mut compiler = Compiler::new().unwrap();
        let mut code =
            |job: &Job| job.compile(&mut compiler).map(|made| (made.code, made.entries, made.links)).unwrap();
        assert_eq!(code(&second), code(&first));
    }

    #[test]
    fn the_same_code_at_two_places_is_one_unit_and_the_same_bytes_each_time() {
        let contents = built();
        assert_eq!(contents.units.len(), 1);
        let unit = &contents.units[0];
        assert_eq!(unit.sites.iter().map(|site| site.offset).collect::<Vec<_>>(), [0, 4, 8]);
        assert_eq!(unit.entries[0].0, 0);
        assert_eq!(contents.text.len() % PAGE as usize, 0);
        assert_eq!(contents, built());
    }
}
