//! Whether an instruction or a CSR is open to the current privilege.

use super::fields::{counter, envcfg, status as ms};
use super::table::{Gate, Row};
use super::{CsrFile, Priv};
use crate::isa::emit::Cbo;
use crate::isa::ext::Extension;

impl CsrFile {
    /// `wfi`: not in U-mode, nor in S-mode while `TW`.
    pub fn wfi_permitted(&self) -> bool {
        self.permits_unless(ms::TW)
    }

    /// `sfence.vma` and `sinval.vma`: not in U-mode, nor in S-mode while `TVM`.
    pub fn sfence_permitted(&self) -> bool {
        self.permits_unless(ms::TVM)
    }

    /// `sfence.w.inval` and `sfence.inval.ir`: not in U-mode. `TVM` does not touch them.
    pub fn fence_inval_permitted(&self) -> bool {
        self.prv != Priv::User
    }

    /// Cache-block operations, by `menvcfg` for S-mode and also `senvcfg` for U-mode. Whether
    /// `cbo.inval` flushes or invalidates makes no difference to memory that is coherent.
    pub fn cbo_permitted(&self, op: Cbo) -> bool {
        let enable = match op {
            Cbo::Inval => envcfg::CBIE,
            Cbo::Clean | Cbo::Flush => envcfg::CBCFE,
            Cbo::Zero => envcfg::CBZE,
        };
        self.enabled_below(enable, self.menvcfg, self.senvcfg)
    }

    /// M-mode may; S-mode may unless `status` is set in `mstatus`; U-mode may not.
    pub(super) fn permits_unless(&self, status: u64) -> bool {
        match self.prv {
            Priv::Machine => true,
            Priv::Supervisor => self.mstatus & status == 0,
            Priv::User => false,
        }
    }

    /// Whether a CSR whose number allows this privilege is open in this state.
    pub(super) fn open(&self, row: &Row) -> bool {
        if !self.present(row.gate) {
            return false;
        }
        match row.gate {
            Gate::Open | Gate::Pmp => true,
            Gate::Float => self.fp_on(),
            Gate::Paging => self.permits_unless(ms::TVM),
            Gate::Counter(_) => self.enabled_below(1 << (row.num & 31), self.mcounteren, self.scounteren),
            Gate::Timer => {
                self.prv == Priv::Machine
                    || self.mcounteren & counter::TM != 0 && self.menvcfg & envcfg::STCE != 0
            }
        }
    }

    /// Whether this hart has a CSR behind `gate` at all.
    pub(super) fn present(&self, gate: Gate) -> bool {
        match gate {
            Gate::Open | Gate::Paging => true,
            Gate::Float => self.has(Extension::F),
            Gate::Counter(ext) => self.has(ext),
            Gate::Timer => self.has(Extension::Sstc),
            Gate::Pmp => self.pmp.count() > 0,
        }
    }

    /// M-mode always; S-mode by a bit in M's register; U-mode by both M's and S's.
    fn enabled_below(&self, bits: u64, by_machine: u64, by_supervisor: u64) -> bool {
        match self.prv {
            Priv::Machine => true,
            Priv::Supervisor => by_machine & bits != 0,
            Priv::User => by_machine & by_supervisor & bits != 0,
        }
    }
}
