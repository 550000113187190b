//! Guest traps as values: what happened, and the value for `xtval`.
//!
//! A trap is the guest's own business (privileged manual, 3.1.15 and 4.1.8). It is never an error of
//! the machine, and never mixed with the reasons for which a hart leaves its run loop.

use serde::{Deserialize, Serialize};

/// Exception codes of `mcause`/`scause` with the interrupt bit clear (privileged manual, table 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Cause {
    /// Jump or branch target not aligned to an instruction.
    InstructionMisaligned = 0,
    /// Fetch refused by PMP or by the memory map.
    InstructionAccess = 1,
    /// Unknown, reserved or disabled instruction.
    IllegalInstruction = 2,
    /// `ebreak` or a trigger.
    Breakpoint = 3,
    /// Misaligned load that the machine does not split.
    LoadMisaligned = 4,
    /// Load refused by PMP or by the memory map.
    LoadAccess = 5,
    /// Misaligned store or AMO that the machine does not split.
    StoreMisaligned = 6,
    /// Store or AMO refused by PMP or by the memory map.
    StoreAccess = 7,
    /// `ecall` from U-mode.
    EcallU = 8,
    /// `ecall` from S-mode.
    EcallS = 9,
    /// `ecall` from M-mode.
    EcallM = 11,
    /// Fetch refused by the page tables.
    InstructionPage = 12,
    /// Load refused by the page tables.
    LoadPage = 13,
    /// Store or AMO refused by the page tables.
    StorePage = 15,
}

impl Cause {
    /// All of them, in the order of their codes.
    pub const ALL: [Cause; 14] = {
        use Cause::*;
        [
            InstructionMisaligned,
            InstructionAccess,
            IllegalInstruction,
            Breakpoint,
            LoadMisaligned,
            LoadAccess,
            StoreMisaligned,
            StoreAccess,
            EcallU,
            EcallS,
            EcallM,
            InstructionPage,
            LoadPage,
            StorePage,
        ]
    };
}

/// An exception raised by one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// Why.
    pub cause: Cause,
    /// What goes to `xtval`: the faulting virtual address, the instruction's bits, or 0.
    pub tval: u64,
}
