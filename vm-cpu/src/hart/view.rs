//! How addresses are translated at this moment: one view for loads and stores, one for fetches.
//!
//! A view is derived from `satp`, `mstatus` and the privilege mode whenever one of them changes, so
//! that a memory access looks at the class of its view only. Switching views flushes nothing.

use vm_mmu::{Class, Scheme, WalkMode};

use super::Core;
use crate::csr::Priv;
use crate::csr::fields::{envcfg, status};
use crate::isa::Extension;

/// A way to translate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Part of the soft-TLB that serves this view.
    pub class: Class,
    pub(super) scheme: Scheme,
    /// Guest-physical address of the root page table.
    pub(super) root: u64,
    pub(super) walk: WalkMode,
    /// Privilege that PMP sees.
    pub(super) privilege: Priv,
}

impl Default for View {
    fn default() -> Self {
        let (scheme, walk) = (Scheme::Bare, WalkMode::default());
        Self { class: Class::M, scheme, root: 0, walk, privilege: Priv::Machine }
    }
}

impl Core {
    /// Derives both views anew.
    pub(crate) fn review(&mut self) {
        self.tlb.switch(self.csr.satp, self.csr.mstatus & status::MXR != 0);
        self.fetch = self.view_as(self.csr.prv);
        self.data = match self.csr.data_privilege() {
            privilege if privilege == self.csr.prv => self.fetch,
            privilege => self.view_as(privilege),
        };
        self.enter_space();
    }

    /// Ids of address spaces may have changed, and nothing else.
    #[inline]
    pub(super) fn enter_space(&mut self) {
        let user = u64::from(self.csr.prv == Priv::User);
        self.jumps.enter(self.tlb.id(self.fetch.class), user, self.tlb.epoch());
    }

    fn view_as(&self, privilege: Priv) -> View {
        let satp = if privilege == Priv::Machine { 0 } else { self.csr.satp };
        View {
            class: match privilege {
                Priv::User => Class::U,
                Priv::Supervisor => Class::S,
                Priv::Machine => Class::M,
            },
            // A reserved mode cannot be written to `satp`.
            scheme: Scheme::of_satp(satp).unwrap_or(Scheme::Bare),
            root: Scheme::root_of_satp(satp),
            walk: WalkMode {
                user: privilege == Priv::User,
                sum: self.csr.mstatus & status::SUM != 0,
                mxr: self.csr.mstatus & status::MXR != 0,
                adue: self.csr.menvcfg & envcfg::ADUE != 0,
                pbmte: self.csr.menvcfg & envcfg::PBMTE != 0,
                napot: self.cpu.has(Extension::Svnapot),
            },
            privilege,
        }
    }
}
