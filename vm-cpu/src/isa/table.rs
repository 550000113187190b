//! The encoding table: one line an instruction.
//!
//! ```text
//! needs [these extensions]
//!     "bit diagram"  mnemonic(FORMAT)  = meaning(arguments);
//! ```
//! A row may be declared `within` another when its words are a part of the other's; it is tried first.
//! The diagrams are [`Pattern`](super::pattern::Pattern)s, the formats are in
//! [`operand::format`](super::operand::format), the meanings in [`meaning`](super::meaning). Everything
//! else about an instruction (decoder, encoder, disassembler, every engine's `match`) derives from here.
//!
//! The rows `…_ialign32` exist only where C does not: there a jump or taken branch to a target that is not
//! a multiple of 4 traps (unprivileged manual, 2.5). With C no target can be misaligned, and no engine pays.

use super::emit::*;
use super::ext::extensions;
use super::meaning::{self, bits::BitOp};
use super::operand::format;
use super::pattern::mnemonic;
use super::row::{Row, check_disjoint};

macro_rules! within {
    () => {
        None
    };
    ($outer:ident) => {
        Some(Op::$outer)
    };
}

macro_rules! isa {
    ($d:tt $( needs $needs:tt $( $diagram:literal $op:ident ($format:ident) $(within $outer:ident)?
        = $group:ident :: $meaning:ident ( $($arg:expr),* ); )* )*) => {
        /// An instruction of the table.
        #[allow(non_camel_case_types, reason = "a variant is the mnemonic, with `_` for `.`")]
        #[allow(missing_docs, reason = "the manual documents the mnemonics")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Op { $($( $op, )*)* }

        impl Op {
            /// Every row, in the order of the table.
            pub const ALL: &'static [Op] = &[$($( Op::$op ),*),*];
        }

        /// The rows, by [`Op`].
        pub static ROWS: [Row; Op::ALL.len()] = [$($(
            Row::new(
                mnemonic!($op),
                $diagram,
                format::$format,
                extensions!($needs),
                within!($($outer)?),
            ),
        )*)*];

        /// The meaning of each row, as a function of its own.
        pub mod row {
            #![allow(missing_docs, reason = "named and documented by the row")]
            use super::*;
            $($(
                #[inline(always)]
                pub fn $op<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
                    meaning::$group::$meaning(e, i $(, $arg)*)
                }
            )*)*
        }

        /// Calls `callback! { [args] op op … }` with every row's [`Op`] variant. The row's meaning is
        /// `isa::row::$op(e, i)`, so that an engine writes its own `match` and consumes each arm's
        /// [`Flow`] within the arm:
        ///
        /// ```text
        /// macro_rules! arms {
        ///     ([$e:ident $i:ident] $($op:ident)*) => {
        ///         match $i.op { $( Op::$op => consume!(isa::row::$op($e, $i)), )* }
        ///     };
        /// }
        /// for_each_row!(arms [e i]);
        /// ```
        macro_rules! for_each_row {
            ($d callback:ident $d args:tt) => { $d callback! { $d args $($($op)*)* } };
        }
        pub(crate) use for_each_row;
    };
}

isa! { $
    needs [I]
    ".................... .....               0110111" lui(U)     = int::lui();
    ".................... .....               0010111" auipc(U)   = int::auipc();
    ".................... .....               1101111" jal(J)     = jump::jal();
    "............ ..... 000 .....             1100111" jalr(LOAD) = jump::jalr();
    "....... ..... ..... 000 .....            1100011" beq(B)     = jump::branch(Cmp::Eq);
    "....... ..... ..... 001 .....            1100011" bne(B)     = jump::branch(Cmp::Ne);
    "....... ..... ..... 100 .....            1100011" blt(B)     = jump::branch(Cmp::Lt);
    "....... ..... ..... 101 .....            1100011" bge(B)     = jump::branch(Cmp::Ge);
    "....... ..... ..... 110 .....            1100011" bltu(B)    = jump::branch(Cmp::Ltu);
    "....... ..... ..... 111 .....            1100011" bgeu(B)    = jump::branch(Cmp::Geu);

    "............ ..... 000 .....             0000011" lb(LOAD)   = mem::load(Mem::S8);
    "............ ..... 001 .....             0000011" lh(LOAD)   = mem::load(Mem::S16);
    "............ ..... 010 .....             0000011" lw(LOAD)   = mem::load(Mem::S32);
    "............ ..... 011 .....             0000011" ld(LOAD)   = mem::load(Mem::U64);
    "............ ..... 100 .....             0000011" lbu(LOAD)  = mem::load(Mem::U8);
    "............ ..... 101 .....             0000011" lhu(LOAD)  = mem::load(Mem::U16);
    "............ ..... 110 .....             0000011" lwu(LOAD)  = mem::load(Mem::U32);
    "....... ..... ..... 000 .....            0100011" sb(STORE)  = mem::store(Mem::U8);
    "....... ..... ..... 001 .....            0100011" sh(STORE)  = mem::store(Mem::U16);
    "....... ..... ..... 010 .....            0100011" sw(STORE)  = mem::store(Mem::U32);
    "....... ..... ..... 011 .....            0100011" sd(STORE)  = mem::store(Mem::U64);

    "............ ..... 000 .....             0010011" addi(I)    = int::imm(Bin::Add);
    "............ ..... 010 .....             0010011" slti(I)    = int::cmp_imm(Cmp::Lt);
    "............ ..... 011 .....             0010011" sltiu(I)   = int::cmp_imm(Cmp::Ltu);
    "............ ..... 100 .....             0010011" xori(I)    = int::imm(Bin::Xor);
    "............ ..... 110 .....             0010011" ori(I)     = int::imm(Bin::Or);
    "............ ..... 111 .....             0010011" andi(I)    = int::imm(Bin::And);
    "000000 ...... ..... 001 .....            0010011" slli(SHIFT6) = int::imm(Bin::Sll);
    "000000 ...... ..... 101 .....            0010011" srli(SHIFT6) = int::imm(Bin::Srl);
    "010000 ...... ..... 101 .....            0010011" srai(SHIFT6) = int::imm(Bin::Sra);
    "0000000 ..... ..... 000 .....            0110011" add(R)     = int::reg(Bin::Add);
    "0100000 ..... ..... 000 .....            0110011" sub(R)     = int::reg(Bin::Sub);
    "0000000 ..... ..... 001 .....            0110011" sll(R)     = int::reg(Bin::Sll);
    "0000000 ..... ..... 010 .....            0110011" slt(R)     = int::cmp_reg(Cmp::Lt);
    "0000000 ..... ..... 011 .....            0110011" sltu(R)    = int::cmp_reg(Cmp::Ltu);
    "0000000 ..... ..... 100 .....            0110011" xor(R)     = int::reg(Bin::Xor);
    "0000000 ..... ..... 101 .....            0110011" srl(R)     = int::reg(Bin::Srl);
    "0100000 ..... ..... 101 .....            0110011" sra(R)     = int::reg(Bin::Sra);
    "0000000 ..... ..... 110 .....            0110011" or(R)      = int::reg(Bin::Or);
    "0000000 ..... ..... 111 .....            0110011" and(R)     = int::reg(Bin::And);

    "............ ..... 000 .....             0011011" addiw(I)   = int::imm_w(Bin::Add);
    "0000000 ..... ..... 001 .....            0011011" slliw(SHIFT5) = int::imm_w(Bin::Sll);
    "0000000 ..... ..... 101 .....            0011011" srliw(SHIFT5) = int::imm_w(Bin::Srl);
    "0100000 ..... ..... 101 .....            0011011" sraiw(SHIFT5) = int::imm_w(Bin::Sra);
    "0000000 ..... ..... 000 .....            0111011" addw(R)    = int::reg_w(Bin::Add);
    "0100000 ..... ..... 000 .....            0111011" subw(R)    = int::reg_w(Bin::Sub);
    "0000000 ..... ..... 001 .....            0111011" sllw(R)    = int::reg_w(Bin::Sll);
    "0000000 ..... ..... 101 .....            0111011" srlw(R)    = int::reg_w(Bin::Srl);
    "0100000 ..... ..... 101 .....            0111011" sraw(R)    = int::reg_w(Bin::Sra);

    "---- .... .... ----- 000 -----           0001111" fence(FENCE) = system::fence();
    "000000000000 00000 000 00000             1110011" ecall(NONE)  = system::plain(Sys::Ecall);
    "000000000001 00000 000 00000             1110011" ebreak(NONE) = system::plain(Sys::Ebreak);
    "001100000010 00000 000 00000             1110011" mret(NONE)   = system::plain(Sys::Mret);
    "000100000101 00000 000 00000             1110011" wfi(NONE)    = system::plain(Sys::Wfi);

    "1000 0011 0011 ----- 000 -----           0001111" fence_tso(NONE) within fence = system::fence_tso();

    needs [I IALIGN32]
    ".................... .....               1101111" jal_ialign32(J) within jal = jump::jal_aligned();
    "............ ..... 000 .....             1100111" jalr_ialign32(LOAD) within jalr = jump::jalr_aligned();
    "....... ..... ..... 000 .....            1100011" beq_ialign32(B) within beq = jump::branch_aligned(Cmp::Eq);
    "....... ..... ..... 001 .....            1100011" bne_ialign32(B) within bne = jump::branch_aligned(Cmp::Ne);
    "....... ..... ..... 100 .....            1100011" blt_ialign32(B) within blt = jump::branch_aligned(Cmp::Lt);
    "....... ..... ..... 101 .....            1100011" bge_ialign32(B) within bge = jump::branch_aligned(Cmp::Ge);
    "....... ..... ..... 110 .....            1100011" bltu_ialign32(B) within bltu = jump::branch_aligned(Cmp::Ltu);
    "....... ..... ..... 111 .....            1100011" bgeu_ialign32(B) within bgeu = jump::branch_aligned(Cmp::Geu);

    needs [Zihintpause]
    "0000 0001 0000 00000 000 00000           0001111" pause(NONE) within fence = system::plain(Sys::Pause);

    needs [Zifencei]
    "------------ ----- 001 -----             0001111" fence_i(NONE) = system::plain(Sys::FenceI);

    needs [Zicsr]
    "............ ..... 001 .....             1110011" csrrw(CSR)   = system::csr_reg(CsrOp::Write);
    "............ ..... 010 .....             1110011" csrrs(CSR)   = system::csr_reg(CsrOp::Set);
    "............ ..... 011 .....             1110011" csrrc(CSR)   = system::csr_reg(CsrOp::Clear);
    "............ ..... 101 .....             1110011" csrrwi(CSRI) = system::csr_imm(CsrOp::Write);
    "............ ..... 110 .....             1110011" csrrsi(CSRI) = system::csr_imm(CsrOp::Set);
    "............ ..... 111 .....             1110011" csrrci(CSRI) = system::csr_imm(CsrOp::Clear);

    needs [S]
    "000100000010 00000 000 00000             1110011" sret(NONE)   = system::plain(Sys::Sret);
    "0001001 ..... ..... 000 00000            1110011" sfence_vma(SFENCE) = system::operands(Sys::SfenceVma);
    needs [S Svinval]
    "0001011 ..... ..... 000 00000            1110011" sinval_vma(SFENCE) = system::operands(Sys::SinvalVma);
    "000110000000 00000 000 00000             1110011" sfence_w_inval(NONE) = system::plain(Sys::SfenceWInval);
    "000110000001 00000 000 00000             1110011" sfence_inval_ir(NONE) = system::plain(Sys::SfenceInvalIr);

    needs [M]
    "0000001 ..... ..... 000 .....            0110011" mul(R)     = int::reg(Bin::Mul);
    "0000001 ..... ..... 001 .....            0110011" mulh(R)    = int::reg(Bin::Mulh);
    "0000001 ..... ..... 010 .....            0110011" mulhsu(R)  = int::reg(Bin::Mulhsu);
    "0000001 ..... ..... 011 .....            0110011" mulhu(R)   = int::reg(Bin::Mulhu);
    "0000001 ..... ..... 100 .....            0110011" div(R)     = int::reg(Bin::Div);
    "0000001 ..... ..... 101 .....            0110011" divu(R)    = int::reg(Bin::Divu);
    "0000001 ..... ..... 110 .....            0110011" rem(R)     = int::reg(Bin::Rem);
    "0000001 ..... ..... 111 .....            0110011" remu(R)    = int::reg(Bin::Remu);
    "0000001 ..... ..... 000 .....            0111011" mulw(R)    = int::reg_w(Bin::Mul);
    "0000001 ..... ..... 100 .....            0111011" divw(R)    = int::reg_w(Bin::Div);
    "0000001 ..... ..... 101 .....            0111011" divuw(R)   = int::reg_w(Bin::Divu);
    "0000001 ..... ..... 110 .....            0111011" remw(R)    = int::reg_w(Bin::Rem);
    "0000001 ..... ..... 111 .....            0111011" remuw(R)   = int::reg_w(Bin::Remu);

    needs [A]
    "00010 .. 00000 ..... 010 .....           0101111" lr_w(LR)       = atomic::lr(Size::W);
    "00011 .. ..... ..... 010 .....           0101111" sc_w(AMO)      = atomic::sc(Size::W);
    "00001 .. ..... ..... 010 .....           0101111" amoswap_w(AMO) = atomic::amo(Size::W, Amo::Swap);
    "00000 .. ..... ..... 010 .....           0101111" amoadd_w(AMO)  = atomic::amo(Size::W, Amo::Add);
    "00100 .. ..... ..... 010 .....           0101111" amoxor_w(AMO)  = atomic::amo(Size::W, Amo::Xor);
    "01100 .. ..... ..... 010 .....           0101111" amoand_w(AMO)  = atomic::amo(Size::W, Amo::And);
    "01000 .. ..... ..... 010 .....           0101111" amoor_w(AMO)   = atomic::amo(Size::W, Amo::Or);
    "10000 .. ..... ..... 010 .....           0101111" amomin_w(AMO)  = atomic::amo(Size::W, Amo::Min);
    "10100 .. ..... ..... 010 .....           0101111" amomax_w(AMO)  = atomic::amo(Size::W, Amo::Max);
    "11000 .. ..... ..... 010 .....           0101111" amominu_w(AMO) = atomic::amo(Size::W, Amo::Minu);
    "11100 .. ..... ..... 010 .....           0101111" amomaxu_w(AMO) = atomic::amo(Size::W, Amo::Maxu);
    "00010 .. 00000 ..... 011 .....           0101111" lr_d(LR)       = atomic::lr(Size::D);
    "00011 .. ..... ..... 011 .....           0101111" sc_d(AMO)      = atomic::sc(Size::D);
    "00001 .. ..... ..... 011 .....           0101111" amoswap_d(AMO) = atomic::amo(Size::D, Amo::Swap);
    "00000 .. ..... ..... 011 .....           0101111" amoadd_d(AMO)  = atomic::amo(Size::D, Amo::Add);
    "00100 .. ..... ..... 011 .....           0101111" amoxor_d(AMO)  = atomic::amo(Size::D, Amo::Xor);
    "01100 .. ..... ..... 011 .....           0101111" amoand_d(AMO)  = atomic::amo(Size::D, Amo::And);
    "01000 .. ..... ..... 011 .....           0101111" amoor_d(AMO)   = atomic::amo(Size::D, Amo::Or);
    "10000 .. ..... ..... 011 .....           0101111" amomin_d(AMO)  = atomic::amo(Size::D, Amo::Min);
    "10100 .. ..... ..... 011 .....           0101111" amomax_d(AMO)  = atomic::amo(Size::D, Amo::Max);
    "11000 .. ..... ..... 011 .....           0101111" amominu_d(AMO) = atomic::amo(Size::D, Amo::Minu);
    "11100 .. ..... ..... 011 .....           0101111" amomaxu_d(AMO) = atomic::amo(Size::D, Amo::Maxu);

    needs [Zacas]
    "00101 .. ..... ..... 010 .....           0101111" amocas_w(AMO)  = atomic::cas(Size::W);
    "00101 .. ..... ..... 011 .....           0101111" amocas_d(AMO)  = atomic::cas(Size::D);
    "00101 .. ....0 ..... 100 ....0           0101111" amocas_q(AMO)  = atomic::cas_pair();

    needs [Zawrs]
    "000000001101 00000 000 00000             1110011" wrs_nto(NONE)  = system::plain(Sys::WrsNto);
    "000000011101 00000 000 00000             1110011" wrs_sto(NONE)  = system::plain(Sys::WrsSto);

    needs [Zicbom]
    "000000000000 ..... 010 00000             0001111" cbo_inval(BLOCK) = mem::cbo(Cbo::Inval);
    "000000000001 ..... 010 00000             0001111" cbo_clean(BLOCK) = mem::cbo(Cbo::Clean);
    "000000000010 ..... 010 00000             0001111" cbo_flush(BLOCK) = mem::cbo(Cbo::Flush);
    needs [Zicboz]
    "000000000100 ..... 010 00000             0001111" cbo_zero(BLOCK)  = mem::cbo(Cbo::Zero);

    needs [Zicond]
    "0000111 ..... ..... 101 .....            0110011" czero_eqz(R) = bits::czero_eqz();
    "0000111 ..... ..... 111 .....            0110011" czero_nez(R) = bits::czero_nez();

    needs [Zimop]
    "1.00..0111.. ..... 100 .....             1110011" mop_r(MOP_R)   = int::zero();
    "1.00..1 ..... ..... 100 .....            1110011" mop_rr(MOP_RR) = int::zero();

    needs [Zba]
    "0000100 ..... ..... 000 .....            0111011" add_uw(R)    = bits::shift_add(Some(Un::Zext32), 0);
    "0010000 ..... ..... 010 .....            0110011" sh1add(R)    = bits::shift_add(None, 1);
    "0010000 ..... ..... 100 .....            0110011" sh2add(R)    = bits::shift_add(None, 2);
    "0010000 ..... ..... 110 .....            0110011" sh3add(R)    = bits::shift_add(None, 3);
    "0010000 ..... ..... 010 .....            0111011" sh1add_uw(R) = bits::shift_add(Some(Un::Zext32), 1);
    "0010000 ..... ..... 100 .....            0111011" sh2add_uw(R) = bits::shift_add(Some(Un::Zext32), 2);
    "0010000 ..... ..... 110 .....            0111011" sh3add_uw(R) = bits::shift_add(Some(Un::Zext32), 3);
    "000010 ...... ..... 001 .....            0011011" slli_uw(SHIFT6) = bits::slli_uw();

    needs [Zbb]
    "0100000 ..... ..... 111 .....            0110011" andn(R)      = bits::with_not(Bin::And);
    "0100000 ..... ..... 110 .....            0110011" orn(R)       = bits::with_not(Bin::Or);
    "0100000 ..... ..... 100 .....            0110011" xnor(R)      = bits::with_not(Bin::Xor);
    "011000000000 ..... 001 .....             0010011" clz(UNARY)   = int::unary(Un::Clz64);
    "011000000001 ..... 001 .....             0010011" ctz(UNARY)   = int::unary(Un::Ctz64);
    "011000000010 ..... 001 .....             0010011" cpop(UNARY)  = int::unary(Un::Cpop64);
    "011000000100 ..... 001 .....             0010011" sext_b(UNARY) = int::unary(Un::Sext8);
    "011000000101 ..... 001 .....             0010011" sext_h(UNARY) = int::unary(Un::Sext16);
    "011000000000 ..... 001 .....             0011011" clzw(UNARY)  = int::unary(Un::Clz32);
    "011000000001 ..... 001 .....             0011011" ctzw(UNARY)  = int::unary(Un::Ctz32);
    "011000000010 ..... 001 .....             0011011" cpopw(UNARY) = int::unary(Un::Cpop32);
    "000010000000 ..... 100 .....             0111011" zext_h(UNARY) = int::unary(Un::Zext16);
    "001010000111 ..... 101 .....             0010011" orc_b(UNARY) = int::unary(Un::OrcB);
    "011010111000 ..... 101 .....             0010011" rev8(UNARY)  = int::unary(Un::Rev8);
    "0000101 ..... ..... 100 .....            0110011" min(R)       = int::reg(Bin::Min);
    "0000101 ..... ..... 101 .....            0110011" minu(R)      = int::reg(Bin::Minu);
    "0000101 ..... ..... 110 .....            0110011" max(R)       = int::reg(Bin::Max);
    "0000101 ..... ..... 111 .....            0110011" maxu(R)      = int::reg(Bin::Maxu);
    "0110000 ..... ..... 001 .....            0110011" rol(R)       = int::reg(Bin::Rol);
    "0110000 ..... ..... 101 .....            0110011" ror(R)       = int::reg(Bin::Ror);
    "011000 ...... ..... 101 .....            0010011" rori(SHIFT6) = int::imm(Bin::Ror);
    "0110000 ..... ..... 001 .....            0111011" rolw(R)      = bits::rotate_w(Bin::Sll, Bin::Srl);
    "0110000 ..... ..... 101 .....            0111011" rorw(R)      = bits::rotate_w(Bin::Srl, Bin::Sll);
    "0110000 ..... ..... 101 .....            0011011" roriw(SHIFT5) = bits::rotate_right_w_imm();

    needs [Zbs]
    "0100100 ..... ..... 001 .....            0110011" bclr(R)       = bits::change_reg(BitOp::Clear);
    "0110100 ..... ..... 001 .....            0110011" binv(R)       = bits::change_reg(BitOp::Invert);
    "0010100 ..... ..... 001 .....            0110011" bset(R)       = bits::change_reg(BitOp::Set);
    "0100100 ..... ..... 101 .....            0110011" bext(R)       = bits::change_reg(BitOp::Extract);
    "010010 ...... ..... 001 .....            0010011" bclri(SHIFT6) = bits::change_imm(BitOp::Clear);
    "011010 ...... ..... 001 .....            0010011" binvi(SHIFT6) = bits::change_imm(BitOp::Invert);
    "001010 ...... ..... 001 .....            0010011" bseti(SHIFT6) = bits::change_imm(BitOp::Set);
    "010010 ...... ..... 101 .....            0010011" bexti(SHIFT6) = bits::change_imm(BitOp::Extract);

    needs [F]
    "............ ..... 010 .....             0000111" flw(FLOAD)  = float::load(Fmt::S);
    "....... ..... ..... 010 .....            0100111" fsw(FSTORE) = float::store(Fmt::S);
    "..... 00 ..... ..... ... .....           1000011" fmadd_s(FFFF_RM)  = float::fused(Fp::Madd, Fmt::S);
    "..... 00 ..... ..... ... .....           1000111" fmsub_s(FFFF_RM)  = float::fused(Fp::Msub, Fmt::S);
    "..... 00 ..... ..... ... .....           1001011" fnmsub_s(FFFF_RM) = float::fused(Fp::Nmsub, Fmt::S);
    "..... 00 ..... ..... ... .....           1001111" fnmadd_s(FFFF_RM) = float::fused(Fp::Nmadd, Fmt::S);
    "0000000 ..... ..... ... .....            1010011" fadd_s(FFF_RM) = float::binary_rm(Fp::Add, Fmt::S);
    "0000100 ..... ..... ... .....            1010011" fsub_s(FFF_RM) = float::binary_rm(Fp::Sub, Fmt::S);
    "0001000 ..... ..... ... .....            1010011" fmul_s(FFF_RM) = float::binary_rm(Fp::Mul, Fmt::S);
    "0001100 ..... ..... ... .....            1010011" fdiv_s(FFF_RM) = float::binary_rm(Fp::Div, Fmt::S);
    "0101100 00000 ..... ... .....            1010011" fsqrt_s(FF_RM) = float::unary_rm(Fp::Sqrt, Fmt::S);
    "0010000 ..... ..... 000 .....            1010011" fsgnj_s(FFF)   = float::binary(Fp::Sgnj, Fmt::S);
    "0010000 ..... ..... 001 .....            1010011" fsgnjn_s(FFF)  = float::binary(Fp::Sgnjn, Fmt::S);
    "0010000 ..... ..... 010 .....            1010011" fsgnjx_s(FFF)  = float::binary(Fp::Sgnjx, Fmt::S);
    "0010100 ..... ..... 000 .....            1010011" fmin_s(FFF)    = float::binary(Fp::Min, Fmt::S);
    "0010100 ..... ..... 001 .....            1010011" fmax_s(FFF)    = float::binary(Fp::Max, Fmt::S);
    "1010000 ..... ..... 010 .....            1010011" feq_s(XFF)     = float::compare(Fp::Eq, Fmt::S);
    "1010000 ..... ..... 001 .....            1010011" flt_s(XFF)     = float::compare(Fp::Lt, Fmt::S);
    "1010000 ..... ..... 000 .....            1010011" fle_s(XFF)     = float::compare(Fp::Le, Fmt::S);
    "1110000 00000 ..... 001 .....            1010011" fclass_s(XF)   = float::class(Fmt::S);
    "1110000 00000 ..... 000 .....            1010011" fmv_x_w(XF)    = float::move_to_x(Fmt::S);
    "1111000 00000 ..... 000 .....            1010011" fmv_w_x(FX)    = float::move_from_x(Fmt::S);
    "1100000 00000 ..... ... .....            1010011" fcvt_w_s(XF_RM)  = float::to_int(Int::W, Fmt::S);
    "1100000 00001 ..... ... .....            1010011" fcvt_wu_s(XF_RM) = float::to_int(Int::Wu, Fmt::S);
    "1100000 00010 ..... ... .....            1010011" fcvt_l_s(XF_RM)  = float::to_int(Int::L, Fmt::S);
    "1100000 00011 ..... ... .....            1010011" fcvt_lu_s(XF_RM) = float::to_int(Int::Lu, Fmt::S);
    "1101000 00000 ..... ... .....            1010011" fcvt_s_w(FX_RM)  = float::from_int(Int::W, Fmt::S);
    "1101000 00001 ..... ... .....            1010011" fcvt_s_wu(FX_RM) = float::from_int(Int::Wu, Fmt::S);
    "1101000 00010 ..... ... .....            1010011" fcvt_s_l(FX_RM)  = float::from_int(Int::L, Fmt::S);
    "1101000 00011 ..... ... .....            1010011" fcvt_s_lu(FX_RM) = float::from_int(Int::Lu, Fmt::S);

    needs [D]
    "............ ..... 011 .....             0000111" fld(FLOAD)  = float::load(Fmt::D);
    "....... ..... ..... 011 .....            0100111" fsd(FSTORE) = float::store(Fmt::D);
    "..... 01 ..... ..... ... .....           1000011" fmadd_d(FFFF_RM)  = float::fused(Fp::Madd, Fmt::D);
    "..... 01 ..... ..... ... .....           1000111" fmsub_d(FFFF_RM)  = float::fused(Fp::Msub, Fmt::D);
    "..... 01 ..... ..... ... .....           1001011" fnmsub_d(FFFF_RM) = float::fused(Fp::Nmsub, Fmt::D);
    "..... 01 ..... ..... ... .....           1001111" fnmadd_d(FFFF_RM) = float::fused(Fp::Nmadd, Fmt::D);
    "0000001 ..... ..... ... .....            1010011" fadd_d(FFF_RM) = float::binary_rm(Fp::Add, Fmt::D);
    "0000101 ..... ..... ... .....            1010011" fsub_d(FFF_RM) = float::binary_rm(Fp::Sub, Fmt::D);
    "0001001 ..... ..... ... .....            1010011" fmul_d(FFF_RM) = float::binary_rm(Fp::Mul, Fmt::D);
    "0001101 ..... ..... ... .....            1010011" fdiv_d(FFF_RM) = float::binary_rm(Fp::Div, Fmt::D);
    "0101101 00000 ..... ... .....            1010011" fsqrt_d(FF_RM) = float::unary_rm(Fp::Sqrt, Fmt::D);
    "0010001 ..... ..... 000 .....            1010011" fsgnj_d(FFF)   = float::binary(Fp::Sgnj, Fmt::D);
    "0010001 ..... ..... 001 .....            1010011" fsgnjn_d(FFF)  = float::binary(Fp::Sgnjn, Fmt::D);
    "0010001 ..... ..... 010 .....            1010011" fsgnjx_d(FFF)  = float::binary(Fp::Sgnjx, Fmt::D);
    "0010101 ..... ..... 000 .....            1010011" fmin_d(FFF)    = float::binary(Fp::Min, Fmt::D);
    "0010101 ..... ..... 001 .....            1010011" fmax_d(FFF)    = float::binary(Fp::Max, Fmt::D);
    "1010001 ..... ..... 010 .....            1010011" feq_d(XFF)     = float::compare(Fp::Eq, Fmt::D);
    "1010001 ..... ..... 001 .....            1010011" flt_d(XFF)     = float::compare(Fp::Lt, Fmt::D);
    "1010001 ..... ..... 000 .....            1010011" fle_d(XFF)     = float::compare(Fp::Le, Fmt::D);
    "1110001 00000 ..... 001 .....            1010011" fclass_d(XF)   = float::class(Fmt::D);
    "1110001 00000 ..... 000 .....            1010011" fmv_x_d(XF)    = float::move_to_x(Fmt::D);
    "1111001 00000 ..... 000 .....            1010011" fmv_d_x(FX)    = float::move_from_x(Fmt::D);
    "1100001 00000 ..... ... .....            1010011" fcvt_w_d(XF_RM)  = float::to_int(Int::W, Fmt::D);
    "1100001 00001 ..... ... .....            1010011" fcvt_wu_d(XF_RM) = float::to_int(Int::Wu, Fmt::D);
    "1100001 00010 ..... ... .....            1010011" fcvt_l_d(XF_RM)  = float::to_int(Int::L, Fmt::D);
    "1100001 00011 ..... ... .....            1010011" fcvt_lu_d(XF_RM) = float::to_int(Int::Lu, Fmt::D);
    "1101001 00000 ..... ... .....            1010011" fcvt_d_w(FX_EXACT)  = float::from_int(Int::W, Fmt::D);
    "1101001 00001 ..... ... .....            1010011" fcvt_d_wu(FX_EXACT) = float::from_int(Int::Wu, Fmt::D);
    "1101001 00010 ..... ... .....            1010011" fcvt_d_l(FX_RM)  = float::from_int(Int::L, Fmt::D);
    "1101001 00011 ..... ... .....            1010011" fcvt_d_lu(FX_RM) = float::from_int(Int::Lu, Fmt::D);
    "0100000 00001 ..... ... .....            1010011" fcvt_s_d(FF_RM)  = float::unary_rm(Fp::FromFmt(Fmt::D), Fmt::S);
    "0100001 00000 ..... ... .....            1010011" fcvt_d_s(FF_EXACT)  = float::unary_rm(Fp::FromFmt(Fmt::S), Fmt::D);

    needs [Zfhmin]
    "............ ..... 001 .....             0000111" flh(FLOAD)  = float::load(Fmt::H);
    "....... ..... ..... 001 .....            0100111" fsh(FSTORE) = float::store(Fmt::H);
    "1110010 00000 ..... 000 .....            1010011" fmv_x_h(XF) = float::move_to_x(Fmt::H);
    "1111010 00000 ..... 000 .....            1010011" fmv_h_x(FX) = float::move_from_x(Fmt::H);
    "0100000 00010 ..... ... .....            1010011" fcvt_s_h(FF_EXACT) = float::unary_rm(Fp::FromFmt(Fmt::H), Fmt::S);
    "0100010 00000 ..... ... .....            1010011" fcvt_h_s(FF_RM) = float::unary_rm(Fp::FromFmt(Fmt::S), Fmt::H);
    needs [Zfhmin D]
    "0100001 00010 ..... ... .....            1010011" fcvt_d_h(FF_EXACT) = float::unary_rm(Fp::FromFmt(Fmt::H), Fmt::D);
    "0100010 00001 ..... ... .....            1010011" fcvt_h_d(FF_RM) = float::unary_rm(Fp::FromFmt(Fmt::D), Fmt::H);

    needs [Zfa]
    "1111000 00001 ..... 000 .....            1010011" fli_s(FLI)     = float::constant(Fmt::S);
    "0010100 ..... ..... 010 .....            1010011" fminm_s(FFF)   = float::binary(Fp::Minm, Fmt::S);
    "0010100 ..... ..... 011 .....            1010011" fmaxm_s(FFF)   = float::binary(Fp::Maxm, Fmt::S);
    "0100000 00100 ..... ... .....            1010011" fround_s(FF_RM)   = float::unary_rm(Fp::Round, Fmt::S);
    "0100000 00101 ..... ... .....            1010011" froundnx_s(FF_RM) = float::unary_rm(Fp::RoundNx, Fmt::S);
    "1010000 ..... ..... 100 .....            1010011" fleq_s(XFF)    = float::compare(Fp::Leq, Fmt::S);
    "1010000 ..... ..... 101 .....            1010011" fltq_s(XFF)    = float::compare(Fp::Ltq, Fmt::S);
    needs [Zfa D]
    "1111001 00001 ..... 000 .....            1010011" fli_d(FLI)     = float::constant(Fmt::D);
    "0010101 ..... ..... 010 .....            1010011" fminm_d(FFF)   = float::binary(Fp::Minm, Fmt::D);
    "0010101 ..... ..... 011 .....            1010011" fmaxm_d(FFF)   = float::binary(Fp::Maxm, Fmt::D);
    "0100001 00100 ..... ... .....            1010011" fround_d(FF_RM)   = float::unary_rm(Fp::Round, Fmt::D);
    "0100001 00101 ..... ... .....            1010011" froundnx_d(FF_RM) = float::unary_rm(Fp::RoundNx, Fmt::D);
    "1010001 ..... ..... 100 .....            1010011" fleq_d(XFF)    = float::compare(Fp::Leq, Fmt::D);
    "1010001 ..... ..... 101 .....            1010011" fltq_d(XFF)    = float::compare(Fp::Ltq, Fmt::D);
    "1100001 01000 ..... 001 .....            1010011" fcvtmod_w_d(XF_RTZ) = float::to_int_mod();
}

impl Op {
    /// Its row of the table.
    #[inline]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its mnemonic.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The row of a mnemonic, if it is one of the 32-bit table.
    pub fn named(name: &str) -> Option<Op> {
        Op::ALL.iter().copied().find(|op| op.name() == name)
    }
}

#[allow(long_running_const_eval, reason = "every pair of rows is compared once per build")]
const _: () = check_disjoint(&ROWS);
