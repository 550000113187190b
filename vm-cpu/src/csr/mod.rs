//! Control and status registers of one hart, and what they rule: access, interrupts, traps.
//!
//! [`CsrFile`] is plain data; a snapshot stores it as it is. It knows nothing of the hart around it:
//! whatever comes from outside (time, counts, wires) arrives in [`CsrEnv`], and whatever the hart has
//! to derive anew leaves in [`Effects`].
//!
//! ```text
//!   access(num, …) ──► table (one row a CSR) ──► gate ──► cell ──► Effects
//!   wires | mip ──► interrupt_mask() ──► take_interrupt() ┐
//!   Trap ─────────────────────────────► take_trap() ──────┴─► new pc
//! ```
//!
//! **Invariant**: a field never holds a value that its register may not hold: WARL rules are applied
//! on writing, so reading and using need no second check. Only `SD`, and what wires show in `mip`, is
//! derived on reading.

mod counters;
pub(crate) mod direct;
mod dump;
mod entry;
pub mod fields;
mod interrupts;
mod legal;
mod permits;
mod status;
mod table;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::counters::Counter;
pub use self::dump::Dump;
use self::fields::{envcfg, mip, status as ms};
pub use self::legal::CsrError;
pub use self::table::{Name, looks_at_time, name};
use crate::config::CpuConfig;
use crate::isa::emit::CsrOp;
use crate::isa::ext::Extension;
use crate::pmp::Pmp;
use crate::trap::Cause;

/// Privilege modes, in the manual's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Priv {
    /// U-mode.
    User = 0,
    /// S-mode.
    Supervisor = 1,
    /// M-mode.
    Machine = 3,
}

impl Priv {
    /// The mode of a two-bit field; 2 is reserved.
    pub fn from_bits(bits: u64) -> Option<Priv> {
        match bits {
            0 => Some(Priv::User),
            1 => Some(Priv::Supervisor),
            3 => Some(Priv::Machine),
            _ => None,
        }
    }

    /// The cause that `ecall` raises here.
    pub fn ecall(self) -> Cause {
        match self {
            Priv::User => Cause::EcallU,
            Priv::Supervisor => Cause::EcallS,
            Priv::Machine => Cause::EcallM,
        }
    }
}

/// What a CSR access sees of the world outside the file, all taken at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct CsrEnv {
    /// The machine's time, in ticks. Only [`looks_at_time`] CSRs depend on it.
    pub time: u64,
    /// Free-running cycle count before this instruction.
    pub cycle: u64,
    /// Free-running count of instructions retired before this one.
    pub instret: u64,
    /// Wires into the hart, as for [`CsrFile::pending`]. An access derives the STIP of `stimecmp` from
    /// `time` by itself.
    pub lines: u64,
}

/// What a hart must derive anew after the file changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects(u16);

impl Effects {
    /// Nothing.
    pub const NONE: Effects = Effects(0);
    /// Which translation applies: MPRV, MPP, SUM, MXR. No cached translation becomes wrong.
    pub const MODE: Effects = Effects(1 << 0);
    /// The address space: `satp`. No cached translation becomes wrong.
    pub const SPACE: Effects = Effects(1 << 1);
    /// What a page-table walk yields: `menvcfg.PBMTE`, `menvcfg.ADUE`.
    pub const WALK: Effects = Effects(1 << 2);
    /// What is pending or may be taken: call [`CsrFile::interrupt_mask`] again.
    pub const INTERRUPTS: Effects = Effects(1 << 3);
    /// `stimecmp` or whether it is in force: call [`CsrFile::timer_deadline`] again.
    pub const TIMER: Effects = Effects(1 << 4);
    /// `fflags`, `frm` or `mstatus.FS`.
    pub const FP: Effects = Effects(1 << 5);
    /// What counters read as, or who may read them.
    pub const COUNTERS: Effects = Effects(1 << 6);
    /// The PMP entries.
    pub const PMP: Effects = Effects(1 << 7);
    /// All that bears on address translation.
    pub const TRANSLATION: Effects = Effects(Self::MODE.0 | Self::SPACE.0 | Self::WALK.0);

    /// Whether there is nothing to do.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any effect of `of` is among these.
    pub fn any(self, of: Effects) -> bool {
        self.0 & of.0 != 0
    }

    /// These if `cond`, else none.
    const fn when(self, cond: bool) -> Effects {
        if cond { self } else { Effects::NONE }
    }
}

impl std::ops::BitOr for Effects {
    type Output = Effects;

    fn bitor(self, other: Effects) -> Effects {
        Effects(self.0 | other.0)
    }
}

/// The instruction is illegal here and now: it raises [`Cause::IllegalInstruction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal instruction at this privilege and in this state")]
pub struct Illegal;

/// The CSRs of one hart. Fields carry the manual's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the manual's names say it")]
pub struct CsrFile {
    /// Current privilege.
    pub prv: Priv,
    /// What this hart implements; never changes.
    pub config: CpuConfig,
    pub mhartid: u64,

    /// Without `SD`, which is derived.
    pub mstatus: u64,
    pub medeleg: u64,
    pub mideleg: u64,
    pub mie: u64,
    /// The bits that software holds: SSIP, SEIP, and STIP while `stimecmp` is not in force.
    pub mip: u64,
    pub mtvec: u64,
    pub mscratch: u64,
    pub mepc: u64,
    pub mcause: u64,
    pub mtval: u64,
    pub mcounteren: u64,
    pub menvcfg: u64,
    pub mcycle: Counter,
    pub minstret: Counter,
    pub pmp: Pmp,

    pub stvec: u64,
    pub sscratch: u64,
    pub sepc: u64,
    pub scause: u64,
    pub stval: u64,
    pub scounteren: u64,
    pub senvcfg: u64,
    pub satp: u64,
    pub stimecmp: u64,

    /// Rounding mode as written; 5 to 7 are reserved and make instructions that use it illegal.
    pub frm: u8,
    /// Accrued exceptions: NV DZ OF UF NX from bit 4 down.
    pub fflags: u8,
}

impl CsrFile {
    /// The state after reset (privileged manual, 3.4), in M-mode.
    ///
    /// `menvcfg.ADUE` comes up set when hardware updating is all that the configuration offers, so
    /// that kernels that start in M-mode and never touch A and D bits run.
    pub fn new(config: &CpuConfig, hart: u64) -> CsrFile {
        CsrFile {
            prv: Priv::Machine,
            config: *config,
            mhartid: hart,
            mstatus: ms::UXL | ms::SXL,
            medeleg: 0,
            mideleg: 0,
            mie: 0,
            mip: 0,
            mtvec: 0,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            mcounteren: 0,
            menvcfg: if updates_ad(config) { envcfg::ADUE } else { 0 },
            mcycle: Counter::default(),
            minstret: Counter::default(),
            pmp: Pmp::new(config.pmp_entries),
            stvec: 0,
            sscratch: 0,
            sepc: 0,
            scause: 0,
            stval: 0,
            scounteren: 0,
            senvcfg: 0,
            satp: 0,
            stimecmp: u64::MAX,
            frm: 0,
            fflags: 0,
        }
    }

    /// Sets the registers as M-mode firmware leaves them for a supervisor, and enters S-mode: traps
    /// and interrupts of the supervisor delegated, its counters, timer, page attributes and cache
    /// operations enabled, all memory open to it.
    pub fn hand_to_supervisor(&mut self) {
        let ad = if updates_ad(&self.config) { envcfg::ADUE } else { 0 };
        let cache = envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE;
        // The rows keep what this hart does not implement at 0.
        for (num, value) in [
            (table::MEDELEG, !(1u64 << Cause::EcallS as u8)),
            (table::MIDELEG, mip::SUPERVISOR),
            (table::MCOUNTEREN, u64::MAX),
            (table::SCOUNTEREN, u64::MAX),
            (table::MENVCFG, cache | ad | envcfg::PBMTE | envcfg::STCE),
        ] {
            if let Some(row) = table::find(num) {
                row.cell.write(self, value, &CsrEnv::default());
            }
        }
        self.pmp.open();
        self.prv = Priv::Supervisor;
    }

    /// One CSR instruction. `read` and `write` say whether it reads or writes at all; no CSR here
    /// changes by being read. Gives the value before, and what the hart must derive anew.
    pub fn access(
        &mut self,
        num: u16,
        op: CsrOp,
        src: u64,
        read: bool,
        write: bool,
        env: &CsrEnv,
    ) -> Result<(u64, Effects), Illegal> {
        let row = table::find(num).ok_or(Illegal)?;
        let read_only = num >> 10 == 3;
        if self.prv < table::least_privilege(num) || (write && read_only) || !self.open(row) {
            return Err(Illegal);
        }
        let old = if read || op != CsrOp::Write { row.cell.read(self, env) } else { 0 };
        if !write {
            return Ok((old, Effects::NONE));
        }
        // Only the bits that software holds take part in a read-modify-write of mip (3.1.9).
        let base = if num == table::MIP { self.mip } else { old };
        let new = match op {
            CsrOp::Write => src,
            CsrOp::Set => base | src,
            CsrOp::Clear => base & !src,
        };
        Ok((old, row.cell.write(self, new, env)))
    }

    /// The CSRs of a supervisor's trap handler that are nothing but a word, where they may be accessed:
    /// `sscratch`, `scause`, `stval`. What [`CsrFile::access`] does to them, without the table.
    #[inline]
    pub fn handler_word(&mut self, num: u16) -> Option<&mut u64> {
        if self.prv < Priv::Supervisor {
            return None;
        }
        match num {
            0x140 => Some(&mut self.sscratch),
            0x142 => Some(&mut self.scause),
            0x143 => Some(&mut self.stval),
            _ => None,
        }
    }

    /// What CSR `num` reads as in M-mode, for a debugger; `None` if this hart has no such CSR.
    pub fn peek(&self, num: u16, env: &CsrEnv) -> Option<u64> {
        let row = table::find(num)?;
        self.present(row.gate).then(|| row.cell.read(self, env))
    }

    fn has(&self, ext: Extension) -> bool {
        self.config.has(ext)
    }
}

/// Whether the hart updates A and D bits from the start: only where Svade is not promised beside it.
fn updates_ad(config: &CpuConfig) -> bool {
    config.has(Extension::Svadu) && !config.has(Extension::Svade)
}

/// Writes the ones of `mask`; says whether anything changed.
fn merge(slot: &mut u64, value: u64, mask: u64) -> bool {
    let old = *slot;
    *slot = old & !mask | value & mask;
    old != *slot
}
