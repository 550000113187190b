//! What a run tells of the code it executed: pages as they were, blocks in them, how often they ran.
//!
//! ```text
//!  file:  magic │ version │ BLAKE3 of the rest │ pages (bincode)
//!  page:  which 64-byte granules are known │ their bytes │ blocks: offset, bytes, executions │ …
//! ```
//! Pages are told apart by content, not by address: what was overwritten is there beside what came after it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use bincode::config::{Configuration, Limit};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vm_mmu::{AddressSpace, PAGE};

use crate::interp::granule_mask;

/// What the file of a profile begins with.
pub const PROFILE_MAGIC: [u8; 8] = *b"RVPROFIL";
/// Version of the format.
pub const PROFILE_VERSION: u32 = 4;
/// Bytes of a profile at most: what is larger is none.
const LIMIT: usize = 1 << 30;
/// Bytes of a granule.
const GRANULE: usize = 64;
const HASH: usize = 32;

/// A block that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileBlock {
    /// Offset of its first byte in the page.
    pub offset: u16,
    /// Its length in bytes.
    pub bytes: u16,
    /// Executions.
    pub heat: u64,
    /// Other code was seen to jump here.
    pub entered: bool,
    /// It ran so much that it had optimised code with inline caches. How often it ran from then on is not known.
    pub optimised: bool,
    /// How often the branch at its end was taken, and how often not, while the interpreter ran it. Zeroes if it ends
    /// otherwise.
    pub ways: [u64; 2],
}

/// A page of code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePage {
    /// Guest-physical address at which it was seen first.
    pub gpa: u64,
    /// A bit for each granule whose bytes are known.
    pub known: u64,
    /// Those bytes, granule by granule.
    pub bytes: Vec<u8>,
    /// Blocks by offset, each once.
    pub blocks: Vec<ProfileBlock>,
    /// Offsets of accesses whose pages change too often for an inline cache.
    pub roaming: Vec<u16>,
    /// Offsets of stores to pages that hold code.
    pub beside: Vec<u16>,
    /// Offsets where groups of accesses begin that lie across pages too often for one check.
    pub apart: Vec<u16>,
}

impl ProfilePage {
    /// The page, with zeroes where nothing is known.
    pub fn page(&self) -> Box<[u8; PAGE as usize]> {
        let mut page = Box::new([0; PAGE as usize]);
        let known = (0..64).filter(|granule| self.known >> granule & 1 != 0);
        for (granule, bytes) in known.zip(self.bytes.chunks_exact(GRANULE)) {
            page[granule * GRANULE..][..GRANULE].copy_from_slice(bytes);
        }
        page
    }

    /// Whether the instruction at an offset is of a block that had optimised code.
    pub(super) fn is_optimised(&self, offset: u16) -> bool {
        let is_inside = |b: &ProfileBlock| offset >= b.offset && offset - b.offset < b.bytes;
        self.blocks.iter().any(|block| block.optimised && is_inside(block))
    }

    fn of(gpa: u64, taken: Taken) -> ProfilePage {
        let known = (0..64).filter(|granule| taken.known >> granule & 1 != 0);
        let bytes = known.flat_map(|granule| &taken.bytes[granule * GRANULE..][..GRANULE]).copied().collect();
        let blocks = taken.blocks.into_iter().map(|(offset, ran)| {
            let Ran { bytes, heat, entered, optimised, ways } = ran;
            ProfileBlock { offset, bytes, heat, entered, optimised, ways }
        });
        ProfilePage {
            gpa,
            known: taken.known,
            bytes,
            blocks: blocks.collect(),
            roaming: taken.roaming,
            beside: taken.beside,
            apart: taken.apart,
        }
    }

    /// Whether what both know is the same.
    fn agrees(&self, other: &ProfilePage) -> bool {
        let common = self.known & other.known;
        let (mine, its) = (self.page(), other.page());
        common != 0 && agree(common, &mine, &its)
    }

    /// Takes in a page that agrees.
    fn absorb(&mut self, other: &ProfilePage) {
        let (mut page, its) = (self.page(), other.page());
        let new = other.known & !self.known;
        for at in (0..64).filter(|granule| new >> granule & 1 != 0).map(|granule| granule * GRANULE) {
            page[at..at + GRANULE].copy_from_slice(&its[at..at + GRANULE]);
        }
        let ran = |&ProfileBlock { bytes, heat, entered, optimised, ways, .. }: &ProfileBlock| Ran {
            bytes,
            heat,
            entered,
            optimised,
            ways,
        };
        let mut blocks: BTreeMap<u16, Ran> = self.blocks.iter().map(|b| (b.offset, ran(b))).collect();
        for block in &other.blocks {
            let known = blocks.entry(block.offset).or_insert(Ran { bytes: block.bytes, ..Ran::default() });
            known.heat = known.heat.saturating_add(block.heat);
            known.entered |= block.entered;
            known.optimised |= block.optimised;
            // One that ends elsewhere has another branch.
            let same = known.bytes == block.bytes;
            let both = known.ways.iter_mut().zip(block.ways).filter(|_| same);
            both.for_each(|(way, more)| *way = way.saturating_add(more));
        }
        let union = |a: &[u16], b: &[u16]| {
            let mut all = [a, b].concat();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (roaming, beside) = (union(&self.roaming, &other.roaming), union(&self.beside, &other.beside));
        let (known, apart) = (self.known | new, union(&self.apart, &other.apart));
        *self = ProfilePage::of(self.gpa, Taken { bytes: page, known, blocks, roaming, beside, apart });
    }
}

fn agree(common: u64, a: &[u8; PAGE as usize], b: &[u8; PAGE as usize]) -> bool {
    let mut granules = (0..64).filter(|granule| common >> granule & 1 != 0).map(|granule| granule * GRANULE);
    granules.all(|at| a[at..at + GRANULE] == b[at..at + GRANULE])
}

/// What one run told, or several together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Pages of code.
    pub pages: Vec<ProfilePage>,
}

/// Why there is no profile.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// Another kind of file.
    #[error("not a profile: it begins with {found:02x?}, expected {PROFILE_MAGIC:02x?}")]
    Magic {
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// Made by another version.
    #[error("the profile is of version {found}, this program reads version {PROFILE_VERSION}: make it anew")]
    Version {
        /// Of the file.
        found: u32,
    },
    /// Damaged.
    #[error("the profile is damaged: {0}")]
    Damaged(String),
}

fn config() -> Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<LIMIT>> {
    bincode::config::standard().with_limit::<LIMIT>()
}

impl Profile {
    /// Writes the file.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let pages = bincode::serde::encode_to_vec(self, config()).map_err(io::Error::other)?;
        to.write_all(&PROFILE_MAGIC)?;
        to.write_all(&PROFILE_VERSION.to_le_bytes())?;
        to.write_all(blake3::hash(&pages).as_bytes())?;
        to.write_all(&pages)
    }

    /// Reads a file.
    pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
        let Some(rest) = bytes.strip_prefix(&PROFILE_MAGIC) else {
            return Err(ProfileError::Magic {
                found: bytes[..bytes.len().min(PROFILE_MAGIC.len())].to_vec(),
            });
        };
        let short = || ProfileError::Damaged(format!("it ends after {} bytes", bytes.len()));
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let found = u32::from_le_bytes(*version);
        if found != PROFILE_VERSION {
            return Err(ProfileError::Version { found });
        }
        let (hash, pages) = rest.split_first_chunk::<HASH>().ok_or_else(short)?;
        if blake3::hash(pages).as_bytes() != hash {
            return Err(ProfileError::Damaged("its checksum is another".to_owned()));
        }
        let damaged = |error: bincode::error::DecodeError| ProfileError::Damaged(error.to_string());
        let (profile, read) =
            bincode::serde::decode_from_slice::<Profile, _>(pages, config()).map_err(damaged)?;
        if read != pages.len() {
            return Err(ProfileError::Damaged(format!("{} bytes are too many", pages.len() - read)));
        }
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        for page in &self.pages {
            let granules = page.known.count_ones() as usize;
            let inside = |b: &ProfileBlock| {
                b.offset.is_multiple_of(2) && b.bytes != 0 && u64::from(b.offset) + u64::from(b.bytes) <= PAGE
            };
            let ordered = page.blocks.windows(2).all(|pair| pair[0].offset < pair[1].offset);
            if page.bytes.len() != granules * GRANULE || !page.blocks.iter().all(inside) || !ordered {
                return Err(ProfileError::Damaged(format!("the page seen at {:#x} is impossible", page.gpa)));
            }
        }
        Ok(())
    }

    /// Takes in what another run told.
    pub fn merge(&mut self, other: &Profile) {
        let mut by_gpa: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, page) in self.pages.iter().enumerate() {
            by_gpa.entry(page.gpa).or_default().push(at);
        }
        for page in &other.pages {
            let here = by_gpa.entry(page.gpa).or_default();
            match here.iter().copied().find(|&at| self.pages[at].agrees(page)) {
                Some(at) => self.pages[at].absorb(page),
                None => {
                    here.push(self.pages.len());
                    self.pages.push(page.clone());
                }
            }
        }
    }
}

#[derive(Debug)]
struct Taken {
    bytes: Box<[u8; PAGE as usize]>,
    known: u64,
    /// By offset.
    blocks: BTreeMap<u16, Ran>,
    roaming: Vec<u16>,
    beside: Vec<u16>,
    apart: Vec<u16>,
}

/// A block that ran.
#[derive(Clone, Copy, Debug, Default)]
struct Ran {
    bytes: u16,
    heat: u64,
    entered: bool,
    optimised: bool,
    ways: [u64; 2],
}

/// A block that was translated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Offset of its first byte in the page.
    pub offset: u32,
    /// Offset behind its last.
    pub end: u32,
    /// Executions so far.
    pub heat: u64,
    /// To optimised code with inline caches.
    pub optimised: bool,
    /// As of [`ProfileBlock`].
    pub ways: [u64; 2],
}

/// Collects a profile while a machine runs.
#[derive(Debug, Default)]
pub struct Collector {
    /// Versions of each page, the current one last.
    pages: Mutex<HashMap<u64, Vec<Taken>>>,
}

impl Collector {
    /// Blocks of a page were translated. Other code jumps to `entered`.
    pub(crate) fn saw(
        &self,
        memory: &AddressSpace,
        page: u64,
        blocks: impl Iterator<Item = Seen> + Clone,
        entered: Option<u64>,
    ) {
        let mut now = Box::new([0; PAGE as usize]);
        if memory.read(page, &mut now[..]).is_err() {
            return;
        }
        let spans =
            blocks.clone().map(|seen| granule_mask(seen.offset.into(), (seen.end - seen.offset).into()));
        let granules = spans.fold(0, |all, span| all | span);
        let mut pages = self.pages.lock();
        let versions = pages.entry(page).or_default();
        let current = match versions.last_mut().filter(|taken| agree(taken.known, &taken.bytes, &now)) {
            Some(current) => {
                current.bytes = now;
                current
            }
            None => {
                let (blocks, [roaming, beside, apart]) = (BTreeMap::new(), [const { Vec::new() }; 3]);
                versions.push(Taken { bytes: now, known: 0, blocks, roaming, beside, apart });
                let last = versions.len() - 1;
                &mut versions[last]
            }
        };
        current.known |= granules;
        for seen in blocks {
            let block = current.blocks.entry(seen.offset as u16).or_default();
            let bytes = (seen.end - seen.offset) as u16;
            // Each time it tells of all that was counted, of the same branch; unless it was forgotten in between.
            let more = seen.ways.iter().sum::<u64>() > block.ways.iter().sum();
            if more || block.bytes != bytes {
                block.ways = seen.ways;
            }
            block.bytes = bytes;
            block.heat = block.heat.max(seen.heat);
            block.optimised |= seen.optimised;
        }
        if let Some(block) = entered.and_then(|gpa| current.blocks.get_mut(&((gpa - page) as u16))) {
            block.entered = true;
        }
    }

    /// The profile so far. `heat` says how often a block has run, the others what was learnt of accesses: that they
    /// roam, store beside code, are to be checked apart; all by guest-physical address.
    pub(crate) fn profile(
        &self,
        memory: &AddressSpace,
        heat: impl Fn(u64) -> u64,
        learnt: [&[u64]; 3],
    ) -> Profile {
        let mut pages = self.pages.lock();
        let mut now = [0; PAGE as usize];
        for (&page, versions) in pages.iter_mut() {
            let Some(current) = versions.last_mut() else { continue };
            if memory.read(page, &mut now).is_err() || !agree(current.known, &current.bytes, &now) {
                continue;
            }
            for (&offset, block) in &mut current.blocks {
                block.heat = block.heat.max(heat(page + u64::from(offset)));
            }
        }
        for (kind, learnt) in learnt.into_iter().enumerate() {
            for &at in learnt {
                let (page, offset) = (at & !(PAGE - 1), (at & (PAGE - 1)) as u16);
                let Some(current) = pages.get_mut(&page).and_then(|versions| versions.last_mut()) else {
                    continue;
                };
                let list = match kind {
                    0 => &mut current.roaming,
                    1 => &mut current.beside,
                    _ => &mut current.apart,
                };
                if !list.contains(&offset) {
                    list.push(offset);
                }
            }
        }
        let mut all = Profile::default();
        for (&gpa, versions) in pages.iter() {
            for taken in versions {
                let Taken { known, blocks, bytes, .. } = taken;
                let sorted = |list: &Vec<u16>| {
                    let mut list = list.clone();
                    list.sort_unstable();
                    list
                };
                let [roaming, beside, apart] = [&taken.roaming, &taken.beside, &taken.apart].map(sorted);
                let (bytes, known, blocks) = (bytes.clone(), *known, blocks.clone());
                let copy = Taken { bytes, known, blocks, roaming, beside, apart };
                all.pages.push(ProfilePage::of(gpa, copy));
            }
        }
        all.pages.sort_by(|a, b| (a.gpa, &a.bytes).cmp(&(b.gpa, &b.bytes)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(gpa: u64, known: u64, fill: u8, blocks: &[(u16, u64)]) -> ProfilePage {
        ProfilePage {
            gpa,
            known,
            bytes: vec![fill; known.count_ones() as usize * GRANULE],
            blocks: blocks
                .iter()
                .map(|&(offset, heat)| ProfileBlock { offset, bytes: 4, heat, ..ProfileBlock::default() })
                .collect(),
            roaming: vec![],
            apart: vec![],
            beside: vec![4],
        }
    }

    fn file(profile: &Profile) -> Vec<u8> {
        let mut file = Vec::new();
        profile.write(&mut file).unwrap();
        file
    }

    #[test]
    fn a_profile_is_read_as_it_was_written_and_refused_if_a_byte_is_another() {
        let profile = Profile { pages: vec![page(0x8000_0000, 5, 0x13, &[(0, 7), (128, 9)])] };
        let file = file(&profile);
        assert_eq!(Profile::read(&file).unwrap(), profile);
        for at in 0..file.len() {
            let mut other = file.clone();
            other[at] ^= 1;
            assert!(Profile::read(&other).is_err(), "byte {at}");
            assert!(Profile::read(&file[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn ways_of_branches_are_summed_over_runs() {
        let run = |ways| {
            let mut page = page(0x1000, 1, 0x13, &[(0, 7)]);
            page.blocks[0].ways = ways;
            Profile { pages: vec![page] }
        };
        let mut all = run([30, 2]);
        all.merge(&run([0, 3]));
        all.merge(&run([u64::MAX, 0]));
        let mut longer = run([0, 7]);
        longer.pages[0].blocks[0].bytes += 4;
        all.merge(&longer);
        assert_eq!(all.pages[0].blocks[0].ways, [u64::MAX, 5], "another branch");
    }

    #[test]
    fn pages_that_agree_are_merged_and_others_kept_apart() {
        let mut all = Profile { pages: vec![page(0x1000, 1, 0x13, &[(0, 7)])] };
        all.merge(&Profile {
            pages: vec![page(0x1000, 3, 0x13, &[(0, 1), (64, 2)]), page(0x1000, 1, 0x33, &[(0, 5)])],
        });
        assert_eq!(all.pages.len(), 2);
        assert_eq!(all.pages[0].known, 3);
        assert_eq!(
            all.pages[0].blocks.iter().map(|b| (b.offset, b.heat)).collect::<Vec<_>>(),
            [(0, 8), (64, 2)]
        );
    }
}
