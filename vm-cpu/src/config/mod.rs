//! What a guest CPU implements: extensions, paging, PMP entries.
//!
//! A configuration is written `base,key=value,…`, as in `rv64gc,svinval=off,sv57=off,pmp=8`. The base
//! is a preset, the keys change single features. The decoder, the CSRs and the device tree all read
//! the same [`CpuConfig`], so what is advertised is what is there.
//!
//! **Invariant**: a configuration that [`CpuConfig::parse`] gives is consistent: nothing is on whose
//! basis is off.

mod names;
mod parse;

use serde::{Deserialize, Serialize};
use vm_mmu::Scheme;

pub use self::parse::CpuConfigError;
use crate::isa::ext::{Extension, Extensions};
use crate::pmp::ENTRIES;

/// What a guest CPU implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuConfig {
    /// Extensions.
    pub extensions: Extensions,
    /// Deepest page-table scheme; the shallower ones and bare addressing come with it.
    pub paging: Scheme,
    /// PMP entries, 0 to 16.
    pub pmp_entries: u8,
    /// `sc` fails after any store to the reserved bytes, not only if their value differs.
    pub strict_lrsc: bool,
}

/// No guest of this machine can do without these.
const FIXED: Extensions = Extensions::I.with(Extensions::S).with(Extensions::U).with(Extensions::Zicsr);

/// RV64GC.
const GENERAL: Extensions = FIXED
    .with(Extensions::M)
    .with(Extensions::A)
    .with(Extensions::F)
    .with(Extensions::D)
    .with(Extensions::C)
    .with(Extensions::Zifencei);

/// What both presets have beside RV64GC.
const COMMON: Extensions = GENERAL
    .with(Extensions::Zicbom)
    .with(Extensions::Zicbop)
    .with(Extensions::Zicboz)
    .with(Extensions::Zicntr)
    .with(Extensions::Zihintpause)
    .with(Extensions::Zihpm)
    .with(Extensions::Zba)
    .with(Extensions::Zbb)
    .with(Extensions::Zbs)
    .with(Extensions::Svinval)
    .with(Extensions::Svpbmt);

impl Default for CpuConfig {
    /// The preset `rv64gc`. Svadu without Svade tells a supervisor that the hart updates A and D bits
    /// from the start.
    fn default() -> CpuConfig {
        let extensions = COMMON
            .with(Extensions::Zicond)
            .with(Extensions::Zacas)
            .with(Extensions::Zfa)
            .with(Extensions::Sstc)
            .with(Extensions::Svadu)
            .with(Extensions::Svnapot);
        CpuConfig { extensions, paging: Scheme::Sv57, pmp_entries: ENTRIES as u8, strict_lrsc: false }
    }
}

impl CpuConfig {
    /// The mandatory set of the profile RVA22S64, but for Zkt: a translator cannot promise
    /// execution times.
    pub fn rva22() -> CpuConfig {
        let extensions = COMMON.with(Extensions::Zfhmin).with(Extensions::Svade);
        CpuConfig { extensions, paging: Scheme::Sv39, pmp_entries: ENTRIES as u8, strict_lrsc: false }
    }

    /// Whether `e` is implemented.
    pub fn has(&self, e: Extension) -> bool {
        self.extensions.contains(e)
    }

    /// Whether `satp` may hold this value: its mode is known and no deeper than configured.
    pub fn supports(&self, satp: u64) -> bool {
        Scheme::of_satp(satp).is_some_and(|scheme| scheme <= self.paging)
    }

    /// What `misa` reads as. B stands for Zba, Zbb and Zbs together.
    pub fn misa(&self) -> u64 {
        const XLEN_64: u64 = 2 << 62;
        let b = Extensions::Zba.with(Extensions::Zbb).with(Extensions::Zbs);
        let b = if self.extensions.has(b) { 1 << 1 } else { 0 };
        let letters = self.extensions.iter().filter_map(|e| match e.name().as_bytes() {
            [letter] => Some(1u64 << (letter - b'a')),
            _ => None,
        });
        letters.fold(XLEN_64 | b, |misa, bit| misa | bit)
    }
}

#[cfg(test)]
mod tests;
