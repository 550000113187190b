//! One byte of state per guest page, read without a lock on every access by address.
//!
//! ```text
//!  bit   4     3       2     1      0
//!        lazy  mapped  exec  write  read
//! ```
//! `lazy`: mapped, but nobody has touched it yet. Only the holder of the region lock changes a state,
//! except for [`Pages::commit`], by which many threads may race to touch a page and one wins.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Perm, host};

const MAPPED: u8 = 1 << 3;
const LAZY: u8 = 1 << 4;

pub(super) struct Pages(Box<[AtomicU8]>);

impl Pages {
    pub fn new(count: usize) -> Pages {
        Pages(host::zeroed(count))
    }

    /// Whether the page is mapped, touched, and permits all of `need`.
    #[inline(always)]
    pub fn ready(&self, page: usize, need: u8) -> bool {
        self.0[page].load(Ordering::Acquire) & (MAPPED | LAZY | need) == MAPPED | need
    }

    pub fn mapped(&self, page: usize) -> bool {
        self.0[page].load(Ordering::Acquire) & MAPPED != 0
    }

    pub fn lazy(&self, page: usize) -> bool {
        self.0[page].load(Ordering::Acquire) & LAZY != 0
    }

    #[inline]
    pub fn perm(&self, page: usize) -> Perm {
        Perm::from_bits(self.0[page].load(Ordering::Acquire))
    }

    /// Touches a page; true for the one caller that was first.
    pub fn commit(&self, page: usize) -> bool {
        self.0[page].fetch_and(!LAZY, Ordering::AcqRel) & LAZY != 0
    }

    pub fn map(&self, page: usize, perm: Perm, lazy: bool) {
        let state = MAPPED | perm.bits() | if lazy { LAZY } else { 0 };
        self.0[page].store(state, Ordering::Release);
    }

    pub fn unmap(&self, page: usize) {
        self.0[page].store(0, Ordering::Release);
    }

    /// Changes permissions, keeps the rest.
    pub fn protect(&self, page: usize, perm: Perm) {
        let set = |state: u8| Some(state & !Perm::RWX.bits() | perm.bits());
        // The closure never declines, so neither does the update.
        let _ = self.0[page].fetch_update(Ordering::AcqRel, Ordering::Acquire, set);
    }

    /// Makes a mapped page untouched again.
    pub fn forget(&self, page: usize) {
        self.0[page].fetch_or(LAZY, Ordering::AcqRel);
    }
}
