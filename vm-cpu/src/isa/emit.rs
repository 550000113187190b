//! The operations in which the meaning of every instruction is written, once.
//!
//! `meaning` is ordinary Rust, generic over [`Emit`]. An interpreter implements it by doing, a
//! translator by recording, an analysis by noting. A Rust `if` in a meaning is decided when the
//! instruction is decoded (it may look only at the [`Insn`]); whatever depends on a register is an
//! operation of this trait.
//!
//! ```text
//!  Insn ──► meaning::load::<E>(e, insn, S32) ──► E::x, E::bin, E::load, E::set_x ──► Flow
//!             (one body)                          interpreter │ JIT │ AOT │ effects │ text
//! ```
//!
//! Values are 64-bit, also those of FP registers (the raw, NaN-boxed image). Sub-word results are
//! composed (`addw` is `un(Sext32, bin(Add, ..))`).

#![allow(missing_docs, reason = "one comment speaks for a group of variants")]

use crate::trap::Cause;

/// One decoded instruction, already expanded if it was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Row of the encoding table.
    pub op: super::Op,
    /// Length in bytes as fetched: 2 or 4.
    pub len: u8,
    /// Offset from the start of its block, in halfwords. 0 when decoded alone.
    pub at: u8,
    /// Destination register (x or f), 0 where the format has none.
    pub rd: u8,
    /// First source.
    pub rs1: u8,
    /// Second source.
    pub rs2: u8,
    /// Third source.
    pub rs3: u8,
    /// Immediate, shift amount or CSR number, sign-extended as the format says.
    pub imm: i32,
    /// The bits as fetched (16 or 32 of them), for `xtval`; a compressed instruction's own 16 bits.
    pub bits: u32,
    /// The 32-bit form: `bits` itself, or what a compressed instruction expands to.
    /// `rm`, `aq`, `rl`, `fm`, `pred` and `succ` are read from here.
    pub full: u32,
}

/// How control leaves an instruction. Consumed inside each arm of an engine, never stored.
#[derive(Clone, Copy, Debug)]
pub enum Flow<X> {
    /// To the next instruction.
    Next,
    /// To `pc + off` if `cond` is not 0, else to the next instruction.
    Branch {
        /// 0 or 1.
        cond: X,
        /// Bytes from this instruction.
        off: i64,
    },
    /// To `pc + off`; ends a block.
    Jump {
        /// Bytes from this instruction.
        off: i64,
    },
    /// To `target` (bit 0 already cleared); ends a block.
    JumpReg {
        /// Virtual address.
        target: X,
    },
    /// To the next instruction, but with privilege, translation, interrupts or code possibly
    /// changed: an engine ends the block and starts anew at the next pc.
    Sync,
    /// To the pc that the operation has put into the hart's state (`mret`, `sret`).
    Switch,
}

/// What the meaning of one instruction returns.
pub type Step<E> = Result<Flow<<E as Emit>::X>, <E as Emit>::Stop>;

/// Access width, as log2 of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Size {
    /// 1 byte.
    B = 0,
    /// 2 bytes.
    H = 1,
    /// 4 bytes.
    W = 2,
    /// 8 bytes.
    D = 3,
}

/// Width and extension of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    /// Width.
    pub size: Size,
    /// Sign-extend what is loaded. Not looked at by stores.
    pub signed: bool,
}

impl Mem {
    /// Signed loads.
    pub const S8: Mem = Mem { size: Size::B, signed: true };
    pub const S16: Mem = Mem { size: Size::H, signed: true };
    pub const S32: Mem = Mem { size: Size::W, signed: true };
    /// Unsigned loads, and stores.
    pub const U8: Mem = Mem { size: Size::B, signed: false };
    pub const U16: Mem = Mem { size: Size::H, signed: false };
    pub const U32: Mem = Mem { size: Size::W, signed: false };
    pub const U64: Mem = Mem { size: Size::D, signed: false };
}

/// One-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Un {
    /// Sign-extend the low 8, 16, 32 bits.
    Sext8,
    Sext16,
    Sext32,
    /// Zero-extend the low 8, 16, 32 bits.
    Zext8,
    Zext16,
    Zext32,
    /// Count leading zeros of 64 bits (64 for 0), or of the low 32 (32 for 0).
    Clz64,
    Clz32,
    /// Count trailing zeros, likewise.
    Ctz64,
    Ctz32,
    /// Count ones of 64 or of the low 32 bits.
    Cpop64,
    Cpop32,
    /// Reverse the bytes of 64 bits.
    Rev8,
    /// Each byte becomes 0xff if it is not 0 (Zbb `orc.b`).
    OrcB,
    /// Bitwise complement.
    Not,
}

/// Two-operand integer operations on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bin {
    /// Wrapping sum, difference.
    Add,
    Sub,
    /// Bitwise.
    And,
    Or,
    Xor,
    /// Shifts and rotations by the low 6 bits of the second operand.
    Sll,
    Srl,
    Sra,
    Rol,
    Ror,
    /// Low and high halves of the product (signed, signed×unsigned, unsigned).
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    /// RISC-V division: by zero gives all ones and the dividend; overflow wraps.
    Div,
    Divu,
    Rem,
    Remu,
    /// Signed and unsigned extremes.
    Min,
    Max,
    Minu,
    Maxu,
}

/// Comparisons; the result is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmp {
    /// Equal, not equal.
    Eq,
    Ne,
    /// Signed.
    Lt,
    Ge,
    /// Unsigned.
    Ltu,
    Geu,
}

/// Read-modify-write operations of the A extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amo {
    /// Store the operand.
    Swap,
    /// Sum.
    Add,
    /// Bitwise.
    Xor,
    And,
    Or,
    /// Extremes, signed and unsigned, at the access width.
    Min,
    Max,
    Minu,
    Maxu,
}

/// `aq` and `rl` of an atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Acquire.
    pub aq: bool,
    /// Release.
    pub rl: bool,
}

/// How a CSR instruction changes its CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrOp {
    /// Write the source.
    Write,
    /// Set the source's ones.
    Set,
    /// Clear the source's ones.
    Clear,
}

/// Instructions whose effect lies in the privileged state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sys {
    /// Environment call: always stops with a trap.
    Ecall,
    /// Breakpoint: always stops with a trap.
    Ebreak,
    /// Return from M-mode.
    Mret,
    /// Return from S-mode.
    Sret,
    /// Wait for interrupt.
    Wfi,
    /// Wait on a reservation set (Zawrs): `wrs.nto`, `wrs.sto`.
    WrsNto,
    WrsSto,
    /// `sfence.vma rs1, rs2`; operands `a` = address, `b` = ASID; whether rs1/rs2 are x0 is in the insn.
    SfenceVma,
    /// `sinval.vma rs1, rs2`.
    SinvalVma,
    /// `sfence.w.inval`, `sfence.inval.ir`.
    SfenceWInval,
    SfenceInvalIr,
    /// Instruction fence.
    FenceI,
    /// Spin-loop hint (Zihintpause).
    Pause,
}

/// Cache-block operations (Zicbom, Zicboz) on the naturally aligned 64-byte block of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cbo {
    /// Invalidate, clean, flush.
    Inval,
    Clean,
    Flush,
    /// Zero the block.
    Zero,
}

/// Floating-point formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fmt {
    /// binary16, held NaN-boxed (Zfhmin; conversions and moves only).
    H,
    /// binary32, held NaN-boxed.
    S,
    /// binary64.
    D,
}

/// Integer types of FP conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int {
    /// Signed, unsigned 32 bits; results are sign-extended to 64 also when unsigned.
    W,
    Wu,
    /// Signed, unsigned 64 bits.
    L,
    Lu,
}

/// Rounding mode of an instruction (unprivileged manual, 20.2). Reserved encodings never get here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rm {
    /// Nearest, ties to even.
    Rne,
    /// Towards zero.
    Rtz,
    /// Down.
    Rdn,
    /// Up.
    Rup,
    /// Nearest, ties to max magnitude.
    Rmm,
    /// What `frm` says; an operation stops with an illegal instruction if `frm` is reserved.
    Dyn,
}

/// Floating-point operations. Operands `a`, `b`, `c` and FP results are raw register images: operands
/// are unboxed (a badly boxed one reads as the canonical NaN), results boxed, NaN results canonical.
/// Flags accrue in `fflags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fp {
    /// Arithmetic; unused operands are ignored.
    Add,
    Sub,
    Mul,
    Div,
    Sqrt,
    /// `±(a*b) ± c`, fused: `fmadd`, `fmsub`, `fnmsub`, `fnmadd`.
    Madd,
    Msub,
    Nmsub,
    Nmadd,
    /// Sign injection: `fsgnj`, `fsgnjn`, `fsgnjx`. Raises nothing.
    Sgnj,
    Sgnjn,
    Sgnjx,
    /// `fmin`, `fmax`, and Zfa's `fminm`, `fmaxm`.
    Min,
    Max,
    Minm,
    Maxm,
    /// Comparisons with an integer result: quiet `feq`, signalling `flt`, `fle`, Zfa's quiet `fltq`, `fleq`.
    Eq,
    Lt,
    Le,
    Ltq,
    Leq,
    /// `fclass`; integer result.
    Class,
    /// To an integer (saturating, NaN to the greatest); integer result.
    ToInt(Int),
    /// Zfa `fcvtmod.w.d`; integer result.
    ToIntMod,
    /// From an integer register image.
    FromInt(Int),
    /// From another FP format.
    FromFmt(Fmt),
    /// Zfa `fround`, `froundnx`.
    Round,
    RoundNx,
}

/// Operations that give instructions their meaning.
pub trait Emit {
    /// A 64-bit value.
    type X: Copy;
    /// Why an instruction ended early: a trap taken, or an exit of the engine.
    type Stop;

    /// Integer register `r`; x0 reads 0.
    fn x(&mut self, r: u8) -> Self::X;
    /// Writes integer register `r`; a write to x0 vanishes.
    fn set_x(&mut self, r: u8, v: Self::X);
    /// FP register `r`, raw.
    fn f(&mut self, r: u8) -> Self::X;
    /// Writes FP register `r`, raw, and makes `mstatus.FS` dirty.
    fn set_f(&mut self, r: u8, v: Self::X);
    /// A constant.
    fn imm(&mut self, v: i64) -> Self::X;
    /// Virtual address of the instruction `i`.
    fn pc(&mut self, i: &Insn) -> Self::X;

    /// One-operand integer operation.
    fn un(&mut self, op: Un, a: Self::X) -> Self::X;
    /// Two-operand integer operation.
    fn bin(&mut self, op: Bin, a: Self::X, b: Self::X) -> Self::X;
    /// Comparison, 0 or 1.
    fn cmp(&mut self, op: Cmp, a: Self::X, b: Self::X) -> Self::X;
    /// `a` if `c` is not 0, else `b`.
    fn select(&mut self, c: Self::X, a: Self::X, b: Self::X) -> Self::X;

    /// Loads; any alignment.
    fn load(&mut self, i: &Insn, m: Mem, addr: Self::X) -> Result<Self::X, Self::Stop>;
    /// Stores the low bytes of `v`; any alignment; stores nothing if any byte faults.
    fn store(&mut self, i: &Insn, m: Mem, addr: Self::X, v: Self::X) -> Result<(), Self::Stop>;
    /// Atomic read-modify-write; gives the old value, sign-extended. Misaligned: access fault.
    fn amo(
        &mut self,
        i: &Insn,
        size: Size,
        op: Amo,
        addr: Self::X,
        v: Self::X,
        o: Order,
    ) -> Result<Self::X, Self::Stop>;
    /// Load-reserved, sign-extended.
    fn lr(&mut self, i: &Insn, size: Size, addr: Self::X, o: Order) -> Result<Self::X, Self::Stop>;
    /// Store-conditional: 0 if stored, 1 if not.
    fn sc(
        &mut self,
        i: &Insn,
        size: Size,
        addr: Self::X,
        v: Self::X,
        o: Order,
    ) -> Result<Self::X, Self::Stop>;
    /// Compare-and-swap (Zacas); gives the old value, sign-extended.
    fn cas(
        &mut self,
        i: &Insn,
        size: Size,
        addr: Self::X,
        expect: Self::X,
        new: Self::X,
        o: Order,
    ) -> Result<Self::X, Self::Stop>;
    /// 128-bit compare-and-swap (`amocas.q`); pairs are (low, high).
    fn cas_pair(
        &mut self,
        i: &Insn,
        addr: Self::X,
        expect: (Self::X, Self::X),
        new: (Self::X, Self::X),
        o: Order,
    ) -> Result<(Self::X, Self::X), Self::Stop>;
    /// `fence`: predecessor and successor sets as in the encoding (bit 3 = I, 2 = O, 1 = R, 0 = W).
    fn fence(&mut self, pred: u8, succ: u8);
    /// Cache-block operation at `addr`.
    fn cbo(&mut self, i: &Insn, op: Cbo, addr: Self::X) -> Result<(), Self::Stop>;

    /// Stops with an illegal instruction if `mstatus.FS` is off. Called first by every FP instruction.
    fn fp_on(&mut self, i: &Insn) -> Result<(), Self::Stop>;
    /// Floating-point operation in format `fmt`.
    #[allow(clippy::too_many_arguments, reason = "a fused operation has three operands, a format and a mode")]
    fn fp(
        &mut self,
        i: &Insn,
        op: Fp,
        fmt: Fmt,
        rm: Rm,
        a: Self::X,
        b: Self::X,
        c: Self::X,
    ) -> Result<Self::X, Self::Stop>;

    /// Changes CSR `num`; gives the old value. `read`/`write` say whether the access reads or writes
    /// at all (unprivileged manual, 6.1).
    fn csr(
        &mut self,
        i: &Insn,
        op: CsrOp,
        num: u16,
        src: Self::X,
        read: bool,
        write: bool,
    ) -> Result<Self::X, Self::Stop>;
    /// System instruction with operands rs1, rs2.
    fn sys(&mut self, i: &Insn, op: Sys, a: Self::X, b: Self::X) -> Step<Self>
    where
        Self: Sized;
    /// The stop for a trap of instruction `i`.
    fn trap(&mut self, i: &Insn, cause: Cause, tval: Self::X) -> Self::Stop;
    /// Stops with a trap of instruction `i` if `cond` is not 0.
    fn trap_if(&mut self, i: &Insn, cond: Self::X, cause: Cause, tval: Self::X) -> Result<(), Self::Stop>;
    /// The stop for an illegal instruction (`xtval` = the bits as fetched).
    fn illegal(&mut self, i: &Insn) -> Self::Stop;
}
