//! PMP as a hart asks it: the last answer for each kind of privilege, and the stretch it holds for.
//!
//! Memory has few boundaries of protection, so nearly every question lies in the stretch of the one
//! before. **Invariant:** what is remembered is of the entries as they are; a change of PMP forgets it.

use std::cell::Cell;

use vm_mmu::{Access, PAGE, Perm};

use crate::csr::Priv;
use crate::pmp::{Extent, Pmp};

/// Nothing lies in it.
const NOWHERE: Extent = Extent { start: 0, end: 0, perm: Perm::NONE };

/// Remembered stretches.
#[derive(Debug)]
pub(super) struct Protection {
    below_machine: Cell<Extent>,
    machine: Cell<Extent>,
}

impl Default for Protection {
    fn default() -> Self {
        Self { below_machine: Cell::new(NOWHERE), machine: Cell::new(NOWHERE) }
    }
}

impl Protection {
    /// Whether `len` bytes at `gpa` may be accessed with effective privilege `prv`.
    #[inline(always)]
    pub fn permits(&self, pmp: &Pmp, gpa: u64, len: u64, access: Access, prv: Priv) -> bool {
        match self.within(pmp, gpa, len, prv) {
            Some(perm) => perm.allows(access),
            None => pmp.check(gpa, len, access, prv),
        }
    }

    /// See [`Pmp::uniform`].
    #[inline]
    pub fn uniform(&self, pmp: &Pmp, page: u64, prv: Priv) -> Option<Perm> {
        self.within(pmp, page, PAGE, prv).or_else(|| pmp.uniform(page, prv))
    }

    /// The entries have changed.
    pub fn forget(&self) {
        self.below_machine.set(NOWHERE);
        self.machine.set(NOWHERE);
    }

    /// The answer for a range that does not cross a boundary.
    #[inline(always)]
    fn within(&self, pmp: &Pmp, gpa: u64, len: u64, prv: Priv) -> Option<Perm> {
        let seen = if prv == Priv::Machine { &self.machine } else { &self.below_machine };
        let inside = |e: Extent| gpa >= e.start && gpa < e.end && len <= e.end - gpa;
        if !inside(seen.get()) {
            seen.set(pmp.extent(gpa, prv));
        }
        let extent = seen.get();
        inside(extent).then_some(extent.perm)
    }
}
