//! Registers whose fields have rules of their own: `mstatus` and its view `sstatus`, `menvcfg`,
//! `satp`, `fcsr`, the counter enables.

use super::fields::{counter, envcfg, status as ms};
use super::{CsrEnv, CsrFile, Effects, Priv, merge};
use crate::isa::emit::Rm;
use crate::isa::ext::Extension;

/// Fields that `sstatus` writes, of those that `mstatus` has.
const SSTATUS: u64 = ms::SIE | ms::SPIE | ms::SPP | ms::FS | ms::SUM | ms::MXR;
/// What `sstatus` shows of `mstatus`, but for `SD`.
pub(super) const SSTATUS_VIEW: u64 = SSTATUS | ms::UXL;
/// Fields that `mstatus` writes.
const MSTATUS: u64 = SSTATUS | ms::MIE | ms::MPIE | ms::MPP | ms::MPRV | ms::TVM | ms::TW | ms::TSR;
/// Bits of `fflags`.
const FFLAGS: u8 = 0x1f;

impl CsrFile {
    /// The privilege of loads and stores: that of `MPP` while `MPRV`.
    pub fn data_privilege(&self) -> Priv {
        if self.mstatus & ms::MPRV != 0 { self.mpp() } else { self.prv }
    }

    /// Whether FP instructions may execute: F is there and `mstatus.FS` is not off.
    pub fn fp_on(&self) -> bool {
        self.mstatus & ms::FS != 0
    }

    /// Whether the FP registers are marked as changed.
    pub fn fp_dirty(&self) -> bool {
        self.mstatus & ms::FS == ms::FS
    }

    /// Marks the FP registers as changed.
    pub fn dirty_fp(&mut self) {
        self.mstatus |= ms::FS;
    }

    /// Accrues exception flags, as an FP instruction does.
    pub fn raise_fp(&mut self, flags: u8) {
        self.fflags |= flags & FFLAGS;
        self.dirty_fp();
    }

    /// The rounding mode in `frm`; `None` if it holds a reserved value.
    pub fn rounding(&self) -> Option<Rm> {
        [Rm::Rne, Rm::Rtz, Rm::Rdn, Rm::Rup, Rm::Rmm].get(usize::from(self.frm)).copied()
    }

    /// `MPP` as a mode.
    pub(super) fn mpp(&self) -> Priv {
        Priv::from_bits((self.mstatus & ms::MPP) >> ms::MPP_SHIFT).unwrap_or(Priv::User)
    }

    /// A pc as `mepc` and `sepc` hold it: aligned to an instruction.
    pub(super) fn align(&self, pc: u64) -> u64 {
        if self.has(Extension::C) { pc & !1 } else { pc & !3 }
    }

    pub(super) fn read_mstatus(&self) -> u64 {
        let dirty = self.mstatus & ms::FS == ms::FS;
        self.mstatus | if dirty { ms::SD } else { 0 }
    }

    pub(super) fn read_sstatus(&self) -> u64 {
        self.read_mstatus() & (SSTATUS_VIEW | ms::SD)
    }

    pub(super) fn write_mstatus(&mut self, value: u64) -> Effects {
        self.change_status(value, MSTATUS)
    }

    pub(super) fn write_sstatus(&mut self, value: u64) -> Effects {
        self.change_status(value, SSTATUS)
    }

    fn change_status(&mut self, value: u64, mask: u64) -> Effects {
        let mask = if self.has(Extension::F) { mask } else { mask & !ms::FS };
        let mask = match Priv::from_bits((value & ms::MPP) >> ms::MPP_SHIFT) {
            Some(_) => mask,
            None => mask & !ms::MPP,
        };
        let old = self.mstatus;
        self.mstatus = old & !mask | value & mask;
        let changed = old ^ self.mstatus;
        Effects::MODE.when(changed & (ms::MPRV | ms::MPP | ms::SUM | ms::MXR) != 0)
            | Effects::INTERRUPTS.when(changed & (ms::SIE | ms::MIE) != 0)
            | Effects::FP.when(changed & ms::FS != 0)
    }

    pub(super) fn write_menvcfg(&mut self, value: u64) -> Effects {
        let own = [
            (Extension::Svadu, envcfg::ADUE),
            (Extension::Svpbmt, envcfg::PBMTE),
            (Extension::Sstc, envcfg::STCE),
        ];
        let own = own.into_iter().filter(|&(ext, _)| self.has(ext)).fold(0, |mask, (_, bit)| mask | bit);
        let mask = own | self.shared_envcfg();
        let old = self.menvcfg;
        merge(&mut self.menvcfg, value, legal_envcfg(value, mask));
        let changed = old ^ self.menvcfg;
        Effects::WALK.when(changed & (envcfg::ADUE | envcfg::PBMTE) != 0)
            | (Effects::TIMER | Effects::INTERRUPTS).when(changed & envcfg::STCE != 0)
    }

    pub(super) fn write_senvcfg(&mut self, value: u64) -> Effects {
        let mask = legal_envcfg(value, self.shared_envcfg());
        merge(&mut self.senvcfg, value, mask);
        Effects::NONE
    }

    /// The fields that `menvcfg` and `senvcfg` share.
    fn shared_envcfg(&self) -> u64 {
        let mut mask = envcfg::FIOM;
        if self.has(Extension::Zicbom) {
            mask |= envcfg::CBIE | envcfg::CBCFE;
        }
        if self.has(Extension::Zicboz) {
            mask |= envcfg::CBZE;
        }
        mask
    }

    /// An unsupported mode leaves every field as it was (12.1.11).
    pub(super) fn write_satp(&mut self, value: u64) -> Effects {
        if !self.config.supports(value) {
            return Effects::NONE;
        }
        Effects::SPACE.when(merge(&mut self.satp, value, u64::MAX))
    }

    pub(super) fn read_fcsr(&self) -> u64 {
        u64::from(self.frm) << 5 | u64::from(self.fflags)
    }

    /// Any write makes the FP state dirty, also one that changes nothing.
    pub(super) fn write_fcsr(&mut self, frm: u8, fflags: u8) -> Effects {
        self.frm = frm & 7;
        self.fflags = fflags & FFLAGS;
        self.dirty_fp();
        Effects::FP
    }

    pub(super) fn write_mcounteren(&mut self, value: u64) -> Effects {
        let mask = self.counteren_mask();
        Effects::COUNTERS.when(merge(&mut self.mcounteren, value, mask))
    }

    pub(super) fn write_scounteren(&mut self, value: u64) -> Effects {
        let mask = self.counteren_mask();
        Effects::COUNTERS.when(merge(&mut self.scounteren, value, mask))
    }

    /// `TM` is there also without Zicntr, since it opens `stimecmp`.
    fn counteren_mask(&self) -> u64 {
        let mut mask = counter::TM;
        if self.has(Extension::Zicntr) {
            mask |= counter::CY | counter::IR;
        }
        if self.has(Extension::Zihpm) {
            mask |= counter::HPM;
        }
        mask
    }

    pub(super) fn read_mcountinhibit(&self) -> u64 {
        let bit = |stopped: bool, bit| if stopped { bit } else { 0 };
        bit(self.mcycle.inhibited(), counter::CY) | bit(self.minstret.inhibited(), counter::IR)
    }

    pub(super) fn write_mcountinhibit(&mut self, value: u64, env: &CsrEnv) -> Effects {
        self.mcycle.inhibit(value & counter::CY != 0, env.cycle);
        self.minstret.inhibit(value & counter::IR != 0, env.instret);
        Effects::COUNTERS
    }
}

/// The ones of `mask` that `value` may write: the reserved `CBIE` leaves that field as it was.
fn legal_envcfg(value: u64, mask: u64) -> u64 {
    if value & envcfg::CBIE == envcfg::CBIE_RESERVED { mask & !envcfg::CBIE } else { mask }
}
