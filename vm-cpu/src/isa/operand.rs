//! Operands: the fields of a 32-bit word that an instruction reads, and the formats made of them.
//!
//! A format is the list of an instruction's operands in assembler order. From it follow the decoder
//! (which fields to extract), the encoder, the disassembler and the assembler; the encoding table
//! proves at compile time that the operands of a row cover exactly the open bits of its diagram.

#![allow(missing_docs, reason = "one comment speaks for a group, or the manual does")]

use super::imm::{self, Imm};

/// One operand as written in assembler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Integer registers.
    Rd,
    Rs1,
    Rs2,
    /// FP registers.
    Fd,
    Fs1,
    Fs2,
    Fs3,
    /// 12-bit signed number.
    Simm,
    /// `imm(rs1)` of a load or `jalr`.
    Offset,
    /// `imm(rs1)` of a store.
    StoreOffset,
    /// `(rs1)`.
    Base,
    /// Target of a branch.
    Branch,
    /// Target of a jump.
    Jump,
    /// Upper 20 bits.
    Upper,
    /// Shift amounts for 64 and 32 bits.
    Shamt6,
    Shamt5,
    /// CSR by name or number.
    Csr,
    /// 5-bit number in the place of rs1.
    Zimm,
    /// Rounding mode; `dyn` is not written.
    Rm,
    /// Rounding mode of an exact conversion; `rne` is not written.
    RmExact,
    /// A rounding mode that the opcode fixes: written, but without bits.
    Rtz,
    /// Index of a constant of `fli`, in the place of rs1.
    Fli,
    /// Predecessor and successor sets of a fence.
    Pred,
    Succ,
    /// `.aq`, `.rl`, `.aqrl` behind the mnemonic.
    Order,
    /// Number of a may-be-operation, behind the mnemonic.
    MopR,
    MopRr,
    /// Number of a compressed may-be-operation.
    CMop,
}

/// Bit fields of the register operands.
pub const RD: u32 = 0x1f << 7;
pub const RS1: u32 = 0x1f << 15;
pub const RS2: u32 = 0x1f << 20;
pub const RS3: u32 = 0x1f << 27;
/// Bit field of the rounding mode.
pub const RM: u32 = 7 << 12;

impl Operand {
    /// Register fields that it takes.
    pub const fn regs(self) -> u32 {
        match self {
            Operand::Rd | Operand::Fd => RD,
            Operand::Rs1 | Operand::Fs1 | Operand::Base | Operand::Zimm | Operand::Fli => RS1,
            Operand::Offset | Operand::StoreOffset => RS1,
            Operand::Rs2 | Operand::Fs2 => RS2,
            Operand::Fs3 => RS3,
            _ => 0,
        }
    }

    /// Its immediate, or [`imm::NONE`].
    pub const fn imm(self) -> Imm {
        match self {
            Operand::Simm | Operand::Offset => imm::I,
            Operand::StoreOffset => imm::S,
            Operand::Branch => imm::B,
            Operand::Jump => imm::J,
            Operand::Upper => imm::U,
            Operand::Shamt6 => imm::SHAMT6,
            Operand::Shamt5 => imm::SHAMT5,
            Operand::Csr => imm::CSR,
            Operand::MopR => imm::MOP_R,
            Operand::MopRr => imm::MOP_RR,
            _ => imm::NONE,
        }
    }

    /// Fields that stay in the word and are read from there by the meaning.
    pub const fn flags(self) -> u32 {
        match self {
            Operand::Rm | Operand::RmExact => RM,
            Operand::Pred => 0xf << 24,
            Operand::Succ => 0xf << 20,
            Operand::Order => 3 << 25,
            _ => 0,
        }
    }

    /// All bits that it takes.
    pub const fn bits(self) -> u32 {
        self.regs() | self.imm().bits() | self.flags()
    }
}

/// Operands in assembler order.
pub type Format = &'static [Operand];

/// The formats that the encoding table names.
pub mod format {
    use super::Format;
    use super::Operand::*;

    pub const NONE: Format = &[];
    pub const R: Format = &[Rd, Rs1, Rs2];
    pub const UNARY: Format = &[Rd, Rs1];
    pub const I: Format = &[Rd, Rs1, Simm];
    pub const SHIFT6: Format = &[Rd, Rs1, Shamt6];
    pub const SHIFT5: Format = &[Rd, Rs1, Shamt5];
    pub const LOAD: Format = &[Rd, Offset];
    pub const STORE: Format = &[Rs2, StoreOffset];
    pub const B: Format = &[Rs1, Rs2, Branch];
    pub const U: Format = &[Rd, Upper];
    pub const J: Format = &[Rd, Jump];
    pub const FENCE: Format = &[Pred, Succ];
    pub const CSR: Format = &[Rd, Csr, Rs1];
    pub const CSRI: Format = &[Rd, Csr, Zimm];
    pub const SFENCE: Format = &[Rs1, Rs2];
    pub const BLOCK: Format = &[Base];
    pub const MOP_R: Format = &[MopR, Rd, Rs1];
    pub const MOP_RR: Format = &[MopRr, Rd, Rs1, Rs2];

    pub const LR: Format = &[Order, Rd, Base];
    pub const AMO: Format = &[Order, Rd, Rs2, Base];

    pub const FLOAD: Format = &[Fd, Offset];
    pub const FSTORE: Format = &[Fs2, StoreOffset];
    pub const FFF: Format = &[Fd, Fs1, Fs2];
    pub const FFF_RM: Format = &[Fd, Fs1, Fs2, Rm];
    pub const FFFF_RM: Format = &[Fd, Fs1, Fs2, Fs3, Rm];
    pub const FF_RM: Format = &[Fd, Fs1, Rm];
    pub const FF_EXACT: Format = &[Fd, Fs1, RmExact];
    pub const FX_EXACT: Format = &[Fd, Rs1, RmExact];
    pub const XFF: Format = &[Rd, Fs1, Fs2];
    pub const XF: Format = &[Rd, Fs1];
    pub const XF_RM: Format = &[Rd, Fs1, Rm];
    pub const XF_RTZ: Format = &[Rd, Fs1, Rtz];
    pub const FX: Format = &[Fd, Rs1];
    pub const FX_RM: Format = &[Fd, Rs1, Rm];
    pub const FLI: Format = &[Fd, Fli];
}
