//! Page tables: what their entries mean ([`PageTable`]) apart from how they are walked ([`walk_table`]).
//!
//! A format is a set of pure functions on one entry; the walk, its atomic update of A/D bits and the
//! cache of upper levels are written once. RISC-V's formats are [`sv`]; a second-stage format (x86-64
//! EPT, AArch64 stage 2) is one more implementation.

mod cache;
pub mod sv;

use serde::{Deserialize, Serialize};

use crate::PAGE;
pub use cache::WalkCache;
pub use sv::{Sv39, Sv48, Sv57};

/// What an instruction wants of memory. AMOs and `sc` are stores, `lr` is a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Load.
    Load,
    /// Store.
    Store,
}

/// How a mode of `satp` translates (privileged manual, table "Encoding of satp MODE field"); ordered
/// by depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scheme {
    /// Not at all.
    Bare,
    /// Three levels.
    Sv39,
    /// Four levels.
    Sv48,
    /// Five levels.
    Sv57,
}

impl Scheme {
    /// The scheme of a `satp` value; `None` if its mode is reserved.
    #[inline]
    pub fn of_satp(satp: u64) -> Option<Scheme> {
        match satp >> 60 {
            0 => Some(Scheme::Bare),
            8 => Some(Scheme::Sv39),
            9 => Some(Scheme::Sv48),
            10 => Some(Scheme::Sv57),
            _ => None,
        }
    }

    /// Guest-physical address of the root table of a `satp` value.
    #[inline]
    pub fn root_of_satp(satp: u64) -> u64 {
        (satp & ((1 << 44) - 1)) * PAGE
    }
}

/// State of the hart that decides what an entry permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkMode {
    /// Effective privilege is U; else S.
    pub user: bool,
    /// `mstatus.SUM`: S may load and store on user pages.
    pub sum: bool,
    /// `mstatus.MXR`: loads may read executable pages.
    pub mxr: bool,
    /// `menvcfg.ADUE`: A and D are set by the walk (Svadu); else a clear bit is a page fault (Svade).
    pub adue: bool,
    /// `menvcfg.PBMTE`: memory types in entries are legal (Svpbmt).
    pub pbmte: bool,
    /// Svnapot is implemented.
    pub napot: bool,
}

/// What translates one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Guest-physical address of the base page that holds the address.
    pub gpa: u64,
    /// Bytes of the page as mapped: 4 KiB, 64 KiB (Svnapot), 2 MiB, 1 GiB, 512 GiB, 256 TiB.
    pub size: u64,
    /// Loads are permitted in the mode of the walk.
    pub read: bool,
    /// Stores are, and the page is already marked dirty.
    pub write: bool,
    /// Fetches are.
    pub exec: bool,
    /// A user page.
    pub user: bool,
    /// Mapped in all address spaces.
    pub global: bool,
}

impl Leaf {
    /// Untranslated: everything is permitted, guest-physical is what was given.
    pub fn bare(va: u64) -> Leaf {
        let gpa = va & !(PAGE - 1);
        Leaf { gpa, size: PAGE, read: true, write: true, exec: true, user: false, global: false }
    }

    /// Whether `access` is permitted.
    pub fn allows(&self, access: Access) -> bool {
        match access {
            Access::Fetch => self.exec,
            Access::Load => self.read,
            Access::Store => self.write,
        }
    }
}

/// Why an address was not translated. The access kind of the trap is that of the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkFault {
    /// The tables refuse.
    Page,
    /// A table lies where memory may not be accessed.
    Access,
}

/// Memory that holds page tables. The implementor checks physical memory protection for S-mode
/// accesses; `None` means that it or the memory map refuses.
pub trait PteMemory {
    /// Loads the entry at `gpa`, aligned to 8, in one access.
    fn load(&self, gpa: u64) -> Option<u64>;
    /// Replaces the entry if it is still `old`; whether it was.
    fn cas(&self, gpa: u64, old: u64, new: u64) -> Option<bool>;
}

impl PteMemory for crate::AddressSpace {
    #[inline(always)]
    fn load(&self, gpa: u64) -> Option<u64> {
        self.load(gpa).ok()
    }

    #[inline]
    fn cas(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
        self.atomic(gpa, |pte: &AtomicU64| pte.compare_exchange(old, new, SeqCst, SeqCst).is_ok()).ok()
    }
}

/// What one entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Points to the table of the next level down.
    Table(u64),
    /// Maps a page; permissions are as the mode has them, without regard to A and D.
    Leaf(Leaf),
    /// Nothing, or something reserved.
    Invalid,
}

/// A page-table format with 8-byte entries and 512 entries a table.
pub trait PageTable {
    /// Levels, of which level 0 maps base pages.
    const LEVELS: usize;

    /// Whether `va` is an address of this format at all.
    fn canonical(va: u64) -> bool;

    /// What the entry of `va` at `level` is.
    fn entry(pte: u64, level: usize, va: u64, mode: WalkMode) -> Entry;

    /// The entry with the accessed and dirty bits that `access` needs.
    fn touched(pte: u64, access: Access) -> u64;

    /// Whether the dirty bit is set.
    fn dirty(pte: u64) -> bool;

    /// Whether the walk may set accessed and dirty bits; else a missing one is a fault.
    fn updates(mode: WalkMode) -> bool;
}

/// Translates `va` for `access` by the tables at `root_gpa`. `cache` must stand for this root.
#[inline]
pub fn walk<M: PteMemory>(
    mem: &M,
    scheme: Scheme,
    root_gpa: u64,
    va: u64,
    access: Access,
    mode: WalkMode,
    cache: &mut WalkCache,
) -> Result<Leaf, WalkFault> {
    match scheme {
        Scheme::Bare => Ok(Leaf::bare(va)),
        Scheme::Sv39 => walk_table::<Sv39, M>(mem, root_gpa, va, access, mode, cache),
        Scheme::Sv48 => walk_table::<Sv48, M>(mem, root_gpa, va, access, mode, cache),
        Scheme::Sv57 => walk_table::<Sv57, M>(mem, root_gpa, va, access, mode, cache),
    }
}

/// [`walk`] in one format (privileged manual, "Virtual Address Translation Process").
#[inline]
pub fn walk_table<F: PageTable, M: PteMemory>(
    mem: &M,
    root_gpa: u64,
    va: u64,
    access: Access,
    mode: WalkMode,
    cache: &mut WalkCache,
) -> Result<Leaf, WalkFault> {
    if !F::canonical(va) {
        return Err(WalkFault::Page);
    }
    let (mut level, mut table) = cache.find(va, F::LEVELS - 1).unwrap_or((F::LEVELS - 1, root_gpa));
    loop {
        let at = table + index(va, level) * 8;
        let pte = mem.load(at).ok_or(WalkFault::Access)?;
        match F::entry(pte, level, va, mode) {
            Entry::Invalid => return Err(WalkFault::Page),
            Entry::Table(_) if level == 0 => return Err(WalkFault::Page),
            Entry::Table(next) => {
                level -= 1;
                table = next;
                cache.keep(va, level, next);
            }
            Entry::Leaf(leaf) => {
                if let Some(leaf) = settle::<F, M>(mem, at, pte, leaf, access, mode)? {
                    return Ok(leaf);
                }
            }
        }
    }
}

/// Checks `access` against a leaf and sets its A and D. `None` if the entry changed meanwhile: it must
/// be read again.
#[inline]
fn settle<F: PageTable, M: PteMemory>(
    mem: &M,
    at: u64,
    pte: u64,
    leaf: Leaf,
    access: Access,
    mode: WalkMode,
) -> Result<Option<Leaf>, WalkFault> {
    if !leaf.allows(access) {
        return Err(WalkFault::Page);
    }
    let touched = F::touched(pte, access);
    if touched != pte {
        if !F::updates(mode) {
            return Err(WalkFault::Page);
        }
        if !mem.cas(at, pte, touched).ok_or(WalkFault::Access)? {
            return Ok(None);
        }
    }
    Ok(Some(Leaf { write: leaf.write && F::dirty(touched), ..leaf }))
}

/// Index of `va` in a table of `level`.
#[inline]
fn index(va: u64, level: usize) -> u64 {
    va >> (12 + 9 * level) & 511
}
