//! RISC-V page tables: Sv39, Sv48, Sv57 with Svnapot, Svpbmt, Svade and Svadu (privileged manual,
//! chapter "Supervisor-Level ISA", from "Sv39" to "Svadu").
//!
//! ```text
//!  63  62 61  60    54  53         10  9 8  7 6 5 4 3 2 1 0
//!  N   PBMT   reserved  PPN            RSW  D A G U X W R V
//! ```

use super::{Access, Entry, Leaf, PageTable, WalkMode};
use crate::PAGE;

/// Three levels, 39-bit addresses.
pub type Sv39 = Sv<3>;
/// Four levels, 48-bit addresses.
pub type Sv48 = Sv<4>;
/// Five levels, 57-bit addresses.
pub type Sv57 = Sv<5>;

/// The format with `LEVELS` levels.
pub struct Sv<const LEVELS: usize>;

/// Valid.
pub const V: u64 = 1 << 0;
/// Readable.
pub const R: u64 = 1 << 1;
/// Writable.
pub const W: u64 = 1 << 2;
/// Executable.
pub const X: u64 = 1 << 3;
/// User.
pub const U: u64 = 1 << 4;
/// Global.
pub const G: u64 = 1 << 5;
/// Accessed.
pub const A: u64 = 1 << 6;
/// Dirty.
pub const D: u64 = 1 << 7;
/// Memory type (Svpbmt): two bits, of which value 3 is reserved.
pub const PBMT: u64 = 3 << 61;
/// Part of a naturally aligned power-of-two range (Svnapot).
pub const N: u64 = 1 << 63;
const RESERVED: u64 = 0x7f << 54;
/// Low bits of the PPN of a 64 KiB range, and the mask that holds them: the one size that is defined.
const NAPOT_64K: u64 = 0b1000;
const NAPOT_MASK: u64 = 0b1111;

impl<const LEVELS: usize> PageTable for Sv<LEVELS> {
    const LEVELS: usize = LEVELS;

    #[inline]
    fn canonical(va: u64) -> bool {
        let unused = 64 - (12 + 9 * LEVELS as u32);
        ((va << unused) as i64 >> unused) as u64 == va
    }

    #[inline]
    fn entry(pte: u64, level: usize, va: u64, mode: WalkMode) -> Entry {
        if pte & V == 0 || pte & (R | W) == W || pte & RESERVED != 0 {
            return Entry::Invalid;
        }
        if pte & (R | X) == 0 {
            return table(pte);
        }
        match page(pte, level, va, mode) {
            Some((gpa, size)) => Entry::Leaf(permitted(pte, gpa, size, mode)),
            None => Entry::Invalid,
        }
    }

    #[inline]
    fn touched(pte: u64, access: Access) -> u64 {
        pte | A | if access == Access::Store { D } else { 0 }
    }

    #[inline]
    fn dirty(pte: u64) -> bool {
        pte & D != 0
    }

    #[inline]
    fn updates(mode: WalkMode) -> bool {
        mode.adue
    }
}

/// A non-leaf entry: bits that mean something only in leaves must be clear.
#[inline]
fn table(pte: u64) -> Entry {
    if pte & (D | A | U | PBMT | N) != 0 { Entry::Invalid } else { Entry::Table(ppn(pte) * PAGE) }
}

#[inline]
fn ppn(pte: u64) -> u64 {
    pte >> 10 & ((1 << 44) - 1)
}

/// Base page and size of a leaf, unless something in it is reserved or misaligned.
#[inline]
fn page(pte: u64, level: usize, va: u64, mode: WalkMode) -> Option<(u64, u64)> {
    let pbmt = pte & PBMT;
    if pbmt == PBMT || (pbmt != 0 && !mode.pbmte) {
        return None;
    }
    let (mut ppn, mut size) = (ppn(pte), PAGE << (9 * level));
    if pte & N != 0 {
        if !mode.napot || level != 0 || ppn & NAPOT_MASK != NAPOT_64K {
            return None;
        }
        ppn &= !NAPOT_MASK;
        size = PAGE * (NAPOT_MASK + 1);
    }
    let base = ppn * PAGE;
    let misaligned = base & (size - 1) != 0;
    (!misaligned).then_some((base | va & (size - 1) & !(PAGE - 1), size))
}

/// What the mode may do with a leaf.
#[inline]
fn permitted(pte: u64, gpa: u64, size: u64, mode: WalkMode) -> Leaf {
    let user = pte & U != 0;
    let data = if mode.user { user } else { !user || mode.sum };
    Leaf {
        gpa,
        size,
        read: data && (pte & R != 0 || (mode.mxr && pte & X != 0)),
        write: data && pte & W != 0,
        exec: mode.user == user && pte & X != 0,
        user,
        global: pte & G != 0,
    }
}
