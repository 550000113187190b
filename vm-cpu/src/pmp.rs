//! Physical memory protection: up to 16 entries of 4-byte granularity (privileged manual, 3.7).
//!
//! **Invariant**: the lowest-numbered entry that matches *any* byte of an access decides it, and it
//! must match *all* of them. That is why a page has one answer only if no entry ends inside it:
//! [`Pmp::uniform`] says so, and a translation cache may hold that answer for the page.
//!
//! ```text
//!  pmpcfg byte   7   6 5   4 3   2 1 0
//!                L   0 0    A    X W R      A: 0 off, 1 TOR, 2 NA4, 3 NAPOT
//!  pmpaddr       address bits 55:2
//! ```

use serde::{Deserialize, Serialize};
use vm_mmu::{Access, PAGE, Perm};

use crate::csr::Priv;

/// Greatest number of entries; the manual's other numbers read as zero.
pub const ENTRIES: usize = 16;

const READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const EXEC: u8 = 1 << 2;
const MODE_SHIFT: u32 = 3;
const LOCK: u8 = 1 << 7;
/// Bits of a configuration byte that hold anything.
const CFG: u8 = LOCK | 3 << MODE_SHIFT | EXEC | WRITE | READ;
/// Bits of an address register that hold anything.
const ADDR: u64 = (1 << 54) - 1;

/// The PMP entries of one hart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pmp {
    cfg: [u8; ENTRIES],
    addr: [u64; ENTRIES],
    /// How many entries exist.
    count: u8,
}

/// A stretch of memory in which one answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// The answer.
    pub perm: Perm,
}

/// How a stretch of memory lies to an entry.
enum Cover {
    None,
    Part,
    Whole,
}

impl Pmp {
    /// `count` entries, at most [`ENTRIES`], all off and unlocked.
    pub fn new(count: u8) -> Pmp {
        Pmp { cfg: [0; ENTRIES], addr: [0; ENTRIES], count: count.min(ENTRIES as u8) }
    }

    /// How many entries exist. With none, everything is permitted.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Opens all memory to S- and U-mode through entry 0, as firmware does before it leaves M-mode.
    pub fn open(&mut self) {
        self.write_addr(0, u64::MAX);
        self.write_cfg(0, u64::from(READ | WRITE | EXEC | 3 << MODE_SHIFT));
    }

    /// Whether any access at any privilege may be refused.
    pub fn active(&self) -> bool {
        match self.used().next() {
            None => self.count > 0,
            Some(first) => self.rights(first, Priv::User) != Perm::RWX || !self.covers_all(first),
        }
    }

    /// Whether `len` bytes at `gpa` may be accessed with effective privilege `prv`.
    pub fn check(&self, gpa: u64, len: u64, access: Access, prv: Priv) -> bool {
        for i in self.used() {
            match self.cover(i, gpa, len) {
                Cover::None => {}
                Cover::Part => return false,
                Cover::Whole => return self.rights(i, prv).allows(access),
            }
        }
        self.unmatched(prv).allows(access)
    }

    /// What every access inside the 4 KiB page of `gpa` may do, or `None` if that depends on where in
    /// the page it lies.
    pub fn uniform(&self, gpa: u64, prv: Priv) -> Option<Perm> {
        let page = gpa & !(PAGE - 1);
        for i in self.used() {
            match self.cover(i, page, PAGE) {
                Cover::None => {}
                Cover::Part => return None,
                Cover::Whole => return Some(self.rights(i, prv)),
            }
        }
        Some(self.unmatched(prv))
    }

    /// The stretch around `gpa` in which every access is decided alike, and how.
    pub fn extent(&self, gpa: u64, prv: Priv) -> Extent {
        let (mut start, mut end) = (0, u64::MAX);
        let mut perm = None;
        for i in self.used() {
            let (lo, hi) = self.range(i);
            for edge in [lo, hi] {
                if edge <= gpa { start = start.max(edge) } else { end = end.min(edge) }
            }
            if perm.is_none() && (lo..hi).contains(&gpa) {
                perm = Some(self.rights(i, prv));
            }
        }
        Extent { start, end, perm: perm.unwrap_or(self.unmatched(prv)) }
    }

    /// `pmpaddr<i>`; numbers without an entry read as zero.
    pub fn read_addr(&self, i: usize) -> u64 {
        self.addr.get(i).copied().unwrap_or(0)
    }

    /// Writes `pmpaddr<i>`; ignored if a lock forbids it or no such entry exists. Says whether
    /// anything changed.
    pub fn write_addr(&mut self, i: usize, value: u64) -> bool {
        if i >= usize::from(self.count) || self.addr_locked(i) {
            return false;
        }
        let old = std::mem::replace(&mut self.addr[i], value & ADDR);
        old != self.addr[i]
    }

    /// `pmpcfg<2*word>`: the configuration bytes of entries `8*word` to `8*word + 7`.
    pub fn read_cfg(&self, word: usize) -> u64 {
        let bytes = std::array::from_fn(|k| self.cfg.get(word * 8 + k).copied().unwrap_or(0));
        u64::from_le_bytes(bytes)
    }

    /// Writes `pmpcfg<2*word>`, byte by byte: a locked entry keeps its own. Says whether anything
    /// changed.
    pub fn write_cfg(&mut self, word: usize, value: u64) -> bool {
        let mut changed = false;
        for (k, byte) in value.to_le_bytes().into_iter().enumerate() {
            let i = word * 8 + k;
            if i < usize::from(self.count) && self.cfg[i] & LOCK == 0 {
                let new = legal(byte);
                changed |= new != self.cfg[i];
                self.cfg[i] = new;
            }
        }
        changed
    }

    /// Entries that are not off, most important first.
    fn used(&self) -> impl Iterator<Item = usize> {
        (0..usize::from(self.count)).filter(|&i| self.mode(i) != 0)
    }

    fn mode(&self, i: usize) -> u8 {
        self.cfg[i] >> MODE_SHIFT & 3
    }

    /// An entry's own lock holds its address, and so does that of a TOR entry right above it.
    fn addr_locked(&self, i: usize) -> bool {
        let above = self.cfg.get(i + 1).is_some_and(|c| c & LOCK != 0 && c >> MODE_SHIFT & 3 == 1);
        self.cfg[i] & LOCK != 0 || above
    }

    /// First byte and last byte plus one of entry `i`. The greatest NAPOT region has 2^57 bytes.
    fn range(&self, i: usize) -> (u64, u64) {
        let addr = self.addr[i];
        match self.mode(i) {
            1 => (if i == 0 { 0 } else { self.addr[i - 1] << 2 }, addr << 2),
            2 => (addr << 2, (addr << 2) + 4),
            _ => {
                let size = 8u64 << addr.trailing_ones();
                let base = (addr << 2) & !(size - 1);
                (base, base + size)
            }
        }
    }

    fn covers_all(&self, i: usize) -> bool {
        let (lo, hi) = self.range(i);
        lo == 0 && hi >= (ADDR + 1) << 2
    }

    fn cover(&self, i: usize, gpa: u64, len: u64) -> Cover {
        let (lo, hi) = self.range(i);
        let end = gpa.saturating_add(len);
        if end <= lo || gpa >= hi || lo >= hi {
            Cover::None
        } else if gpa >= lo && end <= hi {
            Cover::Whole
        } else {
            Cover::Part
        }
    }

    fn rights(&self, i: usize, prv: Priv) -> Perm {
        let cfg = self.cfg[i];
        if prv == Priv::Machine && cfg & LOCK == 0 {
            return Perm::RWX;
        }
        Perm { read: cfg & READ != 0, write: cfg & WRITE != 0, exec: cfg & EXEC != 0 }
    }

    fn unmatched(&self, prv: Priv) -> Perm {
        if prv == Priv::Machine || self.count == 0 { Perm::RWX } else { Perm::NONE }
    }
}

/// The byte that is stored when `cfg` is written: writable but not readable is reserved and becomes
/// neither.
fn legal(cfg: u8) -> u8 {
    let cfg = cfg & CFG;
    if cfg & READ == 0 { cfg & !WRITE } else { cfg }
}

#[cfg(test)]
mod tests;
