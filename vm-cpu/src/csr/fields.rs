//! Bit positions of the CSRs that have fields, each written once.
//!
//! Interrupt codes live in [`irq`]; every mask of `mip`, `mie`, `mideleg` and of the wires that reach
//! a hart is derived from them.

/// `mstatus` and `sstatus` (privileged manual, 3.1.6).
pub mod status {
    /// S-mode interrupts enabled.
    pub const SIE: u64 = 1 << 1;
    /// M-mode interrupts enabled.
    pub const MIE: u64 = 1 << 3;
    /// `SIE` before the trap.
    pub const SPIE: u64 = 1 << 5;
    /// `MIE` before the trap.
    pub const MPIE: u64 = 1 << 7;
    /// Privilege before the trap into S-mode: 0 = U, 1 = S.
    pub const SPP: u64 = 1 << 8;
    /// Shift of the privilege before the trap into M-mode.
    pub const MPP_SHIFT: u32 = 11;
    /// Privilege before the trap into M-mode.
    pub const MPP: u64 = 3 << MPP_SHIFT;
    /// State of the FP registers: 0 = off, 1 = initial, 2 = clean, 3 = dirty.
    pub const FS: u64 = 3 << 13;
    /// Loads and stores act with the privilege of `MPP`.
    pub const MPRV: u64 = 1 << 17;
    /// S-mode may access user pages.
    pub const SUM: u64 = 1 << 18;
    /// Loads may read pages that are only executable.
    pub const MXR: u64 = 1 << 19;
    /// S-mode may not manage virtual memory.
    pub const TVM: u64 = 1 << 20;
    /// `wfi` below M-mode traps.
    pub const TW: u64 = 1 << 21;
    /// `sret` in S-mode traps.
    pub const TSR: u64 = 1 << 22;
    /// XLEN of U-mode, fixed at 2 (64 bits).
    pub const UXL: u64 = 2 << 32;
    /// XLEN of S-mode, fixed at 2 (64 bits).
    pub const SXL: u64 = 2 << 34;
    /// Some extension state is dirty. Derived on reading, never stored.
    pub const SD: u64 = 1 << 63;
}

/// `menvcfg` and `senvcfg` (privileged manual, 3.1.18 and 12.1.10).
pub mod envcfg {
    /// A fence of I/O orders memory too.
    pub const FIOM: u64 = 1 << 0;
    /// How `cbo.inval` acts: 0 = illegal, 1 = flush, 3 = invalidate; 2 is reserved.
    pub const CBIE: u64 = 3 << 4;
    /// The value of `CBIE` that it may not hold.
    pub const CBIE_RESERVED: u64 = 2 << 4;
    /// `cbo.clean` and `cbo.flush` are permitted.
    pub const CBCFE: u64 = 1 << 6;
    /// `cbo.zero` is permitted.
    pub const CBZE: u64 = 1 << 7;
    /// The hart updates A and D bits itself.
    pub const ADUE: u64 = 1 << 61;
    /// Page-based memory types are in force.
    pub const PBMTE: u64 = 1 << 62;
    /// `stimecmp` is in force.
    pub const STCE: u64 = 1 << 63;
}

/// Bits of `mcounteren`, `scounteren` and `mcountinhibit`.
pub mod counter {
    /// `cycle`.
    pub const CY: u64 = 1 << 0;
    /// `time`.
    pub const TM: u64 = 1 << 1;
    /// `instret`.
    pub const IR: u64 = 1 << 2;
    /// `hpmcounter3` to `hpmcounter31`.
    pub const HPM: u64 = 0xffff_fff8;
}

/// Interrupt codes: the number in `xcause`, and the bit in `mip`.
pub mod irq {
    /// Supervisor software.
    pub const SSI: u8 = 1;
    /// Machine software.
    pub const MSI: u8 = 3;
    /// Supervisor timer.
    pub const STI: u8 = 5;
    /// Machine timer.
    pub const MTI: u8 = 7;
    /// Supervisor external.
    pub const SEI: u8 = 9;
    /// Machine external.
    pub const MEI: u8 = 11;
}

/// Bits of `mip`, `mie`, `mideleg`, and of the wires into a hart.
pub mod mip {
    use super::irq;

    /// Supervisor software.
    pub const SSIP: u64 = 1 << irq::SSI;
    /// Machine software.
    pub const MSIP: u64 = 1 << irq::MSI;
    /// Supervisor timer.
    pub const STIP: u64 = 1 << irq::STI;
    /// Machine timer.
    pub const MTIP: u64 = 1 << irq::MTI;
    /// Supervisor external.
    pub const SEIP: u64 = 1 << irq::SEI;
    /// Machine external.
    pub const MEIP: u64 = 1 << irq::MEI;
    /// What may be delegated, and is visible in `sip` and `sie`.
    pub const SUPERVISOR: u64 = SSIP | STIP | SEIP;
    /// What only M-mode handles.
    pub const MACHINE: u64 = MSIP | MTIP | MEIP;
}
