//! CSRs that generated code may access by itself: where they are, and what of them it may change.
//!
//! Only such are here that kernels access at every trap, and only accesses that change nothing else than
//! the register. All others go through [`CsrFile::access`].

use std::mem::offset_of;

use super::CsrFile;
use super::fields::status as ms;
use super::status::SSTATUS_VIEW;
use crate::isa::emit::CsrOp;

/// A way to a supervisor's CSR from S- and M-mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// A word of the file at this offset. As the address of an instruction it is aligned when written.
    Word {
        /// Offset in the file.
        offset: usize,
        /// It holds the address of an instruction.
        pc: bool,
    },
    /// `sstatus`, to set or clear SIE. Permitted while flags of floating point do not change it by being
    /// gathered, and no interrupt waits for being enabled.
    Status,
}

/// The word that `sstatus` shows.
pub const STATUS: usize = offset_of!(CsrFile, mstatus);
/// What it shows of it; with [`DIRTY`] set, also [`SUMMARY`].
pub const SHOWN: u64 = SSTATUS_VIEW;
/// See [`SHOWN`].
pub const DIRTY: u64 = ms::FS;
/// See [`SHOWN`].
pub const SUMMARY: u64 = ms::SD;
/// What may be set and cleared by [`Direct::Status`].
pub const ENABLE: u64 = ms::SIE;

/// How to access CSR `num` without the runtime, if that is possible.
pub fn direct(num: u16, op: CsrOp, write: bool) -> Option<Direct> {
    let word = |offset| Some(Direct::Word { offset, pc: false });
    match num {
        0x100 if write && op != CsrOp::Write => Some(Direct::Status),
        0x140 => word(offset_of!(CsrFile, sscratch)),
        0x141 => Some(Direct::Word { offset: offset_of!(CsrFile, sepc), pc: true }),
        0x142 => word(offset_of!(CsrFile, scause)),
        0x143 => word(offset_of!(CsrFile, stval)),
        _ => None,
    }
}

impl CsrFile {
    /// What an address of an instruction keeps when it is written to `sepc`.
    pub(crate) fn pc_mask(&self) -> u64 {
        self.align(u64::MAX)
    }
}
