//! Compressed instructions: 16-bit diagrams that expand to rows of the 32-bit table.
//!
//! A row says which 32-bit instruction it is and where that one's operands come from; the meaning is the
//! 32-bit row's. Hints expand to instructions without effect, reserved encodings match no row.

use super::Op;
use super::decode::encode;
use super::emit::Insn;
use super::ext::{Extensions, extensions};
use super::imm::{self, Imm};
use super::operand::Operand::*;
use super::operand::{Format, RD, RS1, RS2};
use super::pattern::{Pattern, mnemonic};
use super::row::Operands;
use std::sync::LazyLock;

/// Where a register operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// A fixed register.
    X(u8),
    /// 5 bits from bit 7, or from bit 2.
    R7,
    R2,
    /// x8–x15 by 3 bits from bit 7, or from bit 2.
    P7,
    P2,
}
use Slot::{P2, P7, R2, R7, X};

const ZERO: Slot = X(0);
const RA: Slot = X(1);
const SP: Slot = X(2);

impl Slot {
    const fn bits(self) -> u32 {
        match self {
            X(_) => 0,
            R7 => 0x1f << 7,
            R2 => 0x1f << 2,
            P7 => 7 << 7,
            P2 => 7 << 2,
        }
    }

    fn get(self, half: u32) -> u8 {
        match self {
            X(r) => r,
            R7 => (half >> 7 & 0x1f) as u8,
            R2 => (half >> 2 & 0x1f) as u8,
            P7 => (half >> 7 & 7) as u8 + 8,
            P2 => (half >> 2 & 7) as u8 + 8,
        }
    }

    /// The bits that stand for register `r`, or none if this slot cannot hold it.
    fn put(self, r: u8) -> Option<u32> {
        let half = match self {
            X(_) => 0,
            R7 => u32::from(r) << 7,
            R2 => u32::from(r) << 2,
            P7 => u32::from(r & 7) << 7,
            P2 => u32::from(r & 7) << 2,
        };
        (self.get(half) == r).then_some(half)
    }
}

/// One compressed instruction.
#[derive(Debug)]
pub struct Compressed {
    /// Mnemonic.
    pub name: &'static str,
    /// Encoding, in 16 bits.
    pub pattern: Pattern,
    /// Operands as written; they are read from the expanded instruction.
    pub format: Format,
    /// The 32-bit instruction that it is.
    pub op: Op,
    needs: Extensions,
    rd: Slot,
    rs1: Slot,
    rs2: Slot,
    imm: Imm,
    /// The row whose words this one takes a part of, or nothing.
    within: &'static str,
}

impl Compressed {
    /// Proves that the operands cover the diagram's open bits; a destination may also be a source.
    const fn check(self) -> Compressed {
        let regs = self.rd.bits() | self.rs1.bits() | self.rs2.bits();
        let bits = regs | self.imm.bits();
        assert!(regs & self.imm.bits() == 0, "a register and the immediate of a row share bits");
        assert!(
            bits & !self.pattern.mask == self.pattern.open,
            "the operands of a row do not fit its diagram"
        );
        self
    }

    fn expand(&self, half: u32) -> Operands {
        Operands {
            rd: self.rd.get(half),
            rs1: self.rs1.get(half),
            rs2: self.rs2.get(half),
            rs3: 0,
            imm: self.imm.get(half),
        }
    }

    /// The 16 bits for the operands that the format writes, and `flags` in place; none if they do not fit.
    pub fn encode(&self, o: &Operands, flags: u32) -> Option<u16> {
        let written = self.format.iter().fold(0, |bits, operand| bits | operand.regs());
        let mut half = self.pattern.value | flags;
        for (field, slot, r) in [(RD, self.rd, o.rd), (RS1, self.rs1, o.rs1), (RS2, self.rs2, o.rs2)] {
            if written & field != 0 {
                half |= slot.put(r)?;
            }
        }
        if self.format.iter().any(|operand| operand.imm().bits() != 0) {
            half |= self.imm.put(o.imm)?;
        }
        self.pattern.hits(half).then_some(half as u16)
    }
}

/// Decodes 16 bits, given that C is there.
pub fn decode(half: u16, ext: Extensions) -> Option<Insn> {
    let row = row(half, ext)?;
    let half = u32::from(half);
    let o = row.expand(half);
    let full = encode(row.op, &o, 0)?;
    Some(Insn {
        op: row.op,
        len: 2,
        at: 0,
        rd: o.rd,
        rs1: o.rs1,
        rs2: o.rs2,
        rs3: 0,
        imm: o.imm,
        bits: half,
        full,
    })
}

/// The row that 16 bits are of.
pub fn row(half: u16, ext: Extensions) -> Option<&'static Compressed> {
    let rows = BUCKETS[bucket(u32::from(half))].iter().copied();
    rows.into_iter().find(|row| row.pattern.hits(u32::from(half)) && ext.has(row.needs))
}

/// Quadrant and `funct3` are fixed in every row.
const BUCKET_BITS: u32 = 0xe003;

const fn bucket(half: u32) -> usize {
    (half >> 13 << 2 | half & 3) as usize
}

static BUCKETS: LazyLock<[Vec<&'static Compressed>; 32]> = LazyLock::new(|| {
    let mut buckets = std::array::from_fn(|_| Vec::new());
    for row in ROWS {
        buckets[bucket(row.pattern.value)].push(row);
    }
    for list in &mut buckets {
        list.sort_by_key(|row: &&Compressed| row.within.is_empty());
    }
    buckets
});

macro_rules! within {
    () => {
        ""
    };
    ($outer:ident) => {
        mnemonic!($outer)
    };
}

macro_rules! compressed {
    ($( needs $needs:tt $( $diagram:literal $name:ident [$($operand:expr),*] $(within $outer:ident)?
        = $op:ident($rd:expr, $rs1:expr, $rs2:expr; $imm:expr); )* )*) => {
        /// The table.
        pub static ROWS: &[Compressed] = &[ $($( Compressed {
            name: mnemonic!($name),
            pattern: Pattern::parse($diagram, 16),
            format: &[$($operand),*],
            op: Op::$op,
            needs: extensions!($needs),
            rd: $rd,
            rs1: $rs1,
            rs2: $rs2,
            imm: $imm,
            within: within!($($outer)?),
        }.check(), )*)* ];
    };
}

compressed! {
    needs [C]
    "000 nnnnnnnn ...         00" c_addi4spn  [Rd, Rs1, Simm] = addi(P2, SP, ZERO; imm::C_ADDI4SPN);
    "010 ...  ... ..  ...     00" c_lw        [Rd, Offset]    = lw(P2, P7, ZERO; imm::C_W);
    "011 ...  ... ..  ...     00" c_ld        [Rd, Offset]    = ld(P2, P7, ZERO; imm::C_D);
    "110 ...  ... ..  ...     00" c_sw        [Rs2, StoreOffset] = sw(ZERO, P7, P2; imm::C_W);
    "111 ...  ... ..  ...     00" c_sd        [Rs2, StoreOffset] = sd(ZERO, P7, P2; imm::C_D);

    "000 . ..... .....        01" c_addi      [Rd, Simm]      = addi(R7, R7, ZERO; imm::C_I);
    "000 0 00000 00000        01" c_nop       [] within c_addi = addi(ZERO, ZERO, ZERO; imm::NONE);
    "001 . nnnnn .....        01" c_addiw     [Rd, Simm]      = addiw(R7, R7, ZERO; imm::C_I);
    "010 . ..... .....        01" c_li        [Rd, Simm]      = addi(R7, ZERO, ZERO; imm::C_I);
    "011 n ..... nnnnn        01" c_lui       [Rd, Upper]     = lui(R7, ZERO, ZERO; imm::C_LUI);
    "011 n 00010 nnnnn        01" c_addi16sp  [Rd, Simm] within c_lui = addi(SP, SP, ZERO; imm::C_ADDI16SP);
    "100 . 00 ... .....       01" c_srli      [Rd, Shamt6]    = srli(P7, P7, ZERO; imm::C_SHAMT);
    "100 . 01 ... .....       01" c_srai      [Rd, Shamt6]    = srai(P7, P7, ZERO; imm::C_SHAMT);
    "100 . 10 ... .....       01" c_andi      [Rd, Simm]      = andi(P7, P7, ZERO; imm::C_I);
    "100 0 11 ... 00 ...      01" c_sub       [Rd, Rs2]       = sub(P7, P7, P2; imm::NONE);
    "100 0 11 ... 01 ...      01" c_xor       [Rd, Rs2]       = xor(P7, P7, P2; imm::NONE);
    "100 0 11 ... 10 ...      01" c_or        [Rd, Rs2]       = or(P7, P7, P2; imm::NONE);
    "100 0 11 ... 11 ...      01" c_and       [Rd, Rs2]       = and(P7, P7, P2; imm::NONE);
    "100 1 11 ... 00 ...      01" c_subw      [Rd, Rs2]       = subw(P7, P7, P2; imm::NONE);
    "100 1 11 ... 01 ...      01" c_addw      [Rd, Rs2]       = addw(P7, P7, P2; imm::NONE);
    "101 ...........          01" c_j         [Jump]          = jal(ZERO, ZERO, ZERO; imm::C_JUMP);
    "110 ... ... .....        01" c_beqz      [Rs1, Branch]   = beq(ZERO, P7, ZERO; imm::C_BRANCH);
    "111 ... ... .....        01" c_bnez      [Rs1, Branch]   = bne(ZERO, P7, ZERO; imm::C_BRANCH);

    "000 . ..... .....        10" c_slli      [Rd, Shamt6]    = slli(R7, R7, ZERO; imm::C_SHAMT);
    "010 . nnnnn .....        10" c_lwsp      [Rd, Offset]    = lw(R7, SP, ZERO; imm::C_LWSP);
    "011 . nnnnn .....        10" c_ldsp      [Rd, Offset]    = ld(R7, SP, ZERO; imm::C_LDSP);
    "100 0 nnnnn 00000        10" c_jr        [Rs1]           = jalr(ZERO, R7, ZERO; imm::NONE);
    "100 0 ..... nnnnn        10" c_mv        [Rd, Rs2]       = add(R7, ZERO, R2; imm::NONE);
    "100 1 00000 00000        10" c_ebreak    []              = ebreak(ZERO, ZERO, ZERO; imm::NONE);
    "100 1 nnnnn 00000        10" c_jalr      [Rs1]           = jalr(RA, R7, ZERO; imm::NONE);
    "100 1 ..... nnnnn        10" c_add       [Rd, Rs2]       = add(R7, R7, R2; imm::NONE);
    "110 ...... .....         10" c_swsp      [Rs2, StoreOffset] = sw(ZERO, SP, R2; imm::C_SWSP);
    "111 ...... .....         10" c_sdsp      [Rs2, StoreOffset] = sd(ZERO, SP, R2; imm::C_SDSP);

    needs [C D]
    "001 ...  ... ..  ...     00" c_fld       [Fd, Offset]    = fld(P2, P7, ZERO; imm::C_D);
    "101 ...  ... ..  ...     00" c_fsd       [Fs2, StoreOffset] = fsd(ZERO, P7, P2; imm::C_D);
    "001 . ..... .....        10" c_fldsp     [Fd, Offset]    = fld(R7, SP, ZERO; imm::C_LDSP);
    "101 ...... .....         10" c_fsdsp     [Fs2, StoreOffset] = fsd(ZERO, SP, R2; imm::C_SDSP);

    needs [C Zcb]
    "100 000 ... .. ...       00" c_lbu       [Rd, Offset]    = lbu(P2, P7, ZERO; imm::C_B);
    "100 001 ... 0. ...       00" c_lhu       [Rd, Offset]    = lhu(P2, P7, ZERO; imm::C_H);
    "100 001 ... 1. ...       00" c_lh        [Rd, Offset]    = lh(P2, P7, ZERO; imm::C_H);
    "100 010 ... .. ...       00" c_sb        [Rs2, StoreOffset] = sb(ZERO, P7, P2; imm::C_B);
    "100 011 ... 0. ...       00" c_sh        [Rs2, StoreOffset] = sh(ZERO, P7, P2; imm::C_H);
    "100 1 11 ... 11 000      01" c_zext_b    [Rd]            = andi(P7, P7, ZERO; Imm::constant(255));
    "100 1 11 ... 11 101      01" c_not       [Rd]            = xori(P7, P7, ZERO; Imm::constant(-1));
    needs [C Zcb M]
    "100 1 11 ... 10 ...      01" c_mul       [Rd, Rs2]       = mul(P7, P7, P2; imm::NONE);
    needs [C Zcb Zbb]
    "100 1 11 ... 11 001      01" c_sext_b    [Rd]            = sext_b(P7, P7, ZERO; imm::NONE);
    "100 1 11 ... 11 010      01" c_zext_h    [Rd]            = zext_h(P7, P7, ZERO; imm::NONE);
    "100 1 11 ... 11 011      01" c_sext_h    [Rd]            = sext_h(P7, P7, ZERO; imm::NONE);
    needs [C Zcb Zba]
    "100 1 11 ... 11 100      01" c_zext_w    [Rd]            = add_uw(P7, P7, ZERO; imm::NONE);

    needs [C Zcmop]
    "011 0 0---1 00000        01" c_mop       [CMop]          = addi(ZERO, ZERO, ZERO; imm::NONE);
}

const fn check_disjoint(rows: &[Compressed]) {
    let mut a = 0;
    while a < rows.len() {
        assert!(rows[a].pattern.mask & BUCKET_BITS == BUCKET_BITS, "a row leaves its bucket open");
        let mut b = 0;
        while b < a {
            let apart = rows[a].pattern.disjoint(&rows[b].pattern);
            let nested = same(rows[a].within, rows[b].name) && rows[a].pattern.within(&rows[b].pattern);
            assert!(apart || nested, "two rows of the compressed table overlap");
            b += 1;
        }
        a += 1;
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

const _: () = check_disjoint(ROWS);
