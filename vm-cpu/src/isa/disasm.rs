//! Instructions as text, in the syntax of binutils without aliases and with numbered registers
//! (`objdump -M no-aliases,numeric`), from the same formats that the decoder reads.

use super::emit::{Fmt, Insn};
use super::ext::Extensions;
use super::operand::{Format, Operand};
use super::rvc;
use crate::{csr, fp};
use std::fmt::Write;

/// `i` at address `pc`, which branch targets are relative to.
pub fn disassemble(i: &Insn, pc: u64) -> String {
    let (name, format) = spelling(i);
    let mut text = name.to_owned();
    format.iter().for_each(|&operand| suffix(&mut text, operand, i));
    let mut separator = ' ';
    for &operand in format {
        let start = text.len();
        text.push(separator);
        let bare = text.len();
        put(&mut text, operand, i, pc);
        if text.len() == bare {
            text.truncate(start);
        } else {
            separator = ',';
        }
    }
    text
}

/// Mnemonic and operands as written: a compressed instruction has its own.
fn spelling(i: &Insn) -> (&'static str, Format) {
    let compressed = (i.len == 2).then(|| rvc::row(i.bits as u16, Extensions::all())).flatten();
    match compressed {
        Some(row) => (row.name, row.format),
        None => (i.op.name(), i.op.row().format),
    }
}

/// What an operand adds to the mnemonic.
fn suffix(text: &mut String, operand: Operand, i: &Insn) {
    match operand {
        Operand::Order => text.push_str(ORDERS[(i.full >> 25 & 3) as usize]),
        Operand::MopR | Operand::MopRr => number(text, format_args!(".{}", i.imm)),
        Operand::CMop => number(text, format_args!(".{}", i.bits >> 7 & 0x1f)),
        _ => {}
    }
}

/// Suffixes by `aq` and `rl`.
pub(super) const ORDERS: [&str; 4] = ["", ".rl", ".aq", ".aqrl"];

/// Names of the rounding modes by number; 5 and 6 are reserved.
pub(super) const ROUNDING: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "", "", "dyn"];

/// What an operand adds to the list of operands; nothing if it has no place there.
fn put(text: &mut String, operand: Operand, i: &Insn, pc: u64) {
    use Operand::*;
    let target = || pc.wrapping_add_signed(i64::from(i.imm));
    match operand {
        Rd => number(text, format_args!("x{}", i.rd)),
        Rs1 => number(text, format_args!("x{}", i.rs1)),
        Rs2 => number(text, format_args!("x{}", i.rs2)),
        Fd => number(text, format_args!("f{}", i.rd)),
        Fs1 => number(text, format_args!("f{}", i.rs1)),
        Fs2 => number(text, format_args!("f{}", i.rs2)),
        Fs3 => number(text, format_args!("f{}", i.rs3)),
        Simm => number(text, format_args!("{}", i.imm)),
        Offset | StoreOffset => number(text, format_args!("{}(x{})", i.imm, i.rs1)),
        Base => number(text, format_args!("(x{})", i.rs1)),
        Branch | Jump => number(text, format_args!("{:#x}", target())),
        Upper => number(text, format_args!("{:#x}", i.imm as u32 >> 12)),
        Shamt6 | Shamt5 => number(text, format_args!("{:#x}", i.imm)),
        Zimm => number(text, format_args!("{}", i.rs1)),
        Csr => match csr::name(i.imm as u16) {
            Some(name) => number(text, format_args!("{name}")),
            None => number(text, format_args!("{:#x}", i.imm)),
        },
        Rm => rounding(text, i, "dyn"),
        RmExact => rounding(text, i, "rne"),
        Rtz => text.push_str("rtz"),
        Fli => text.push_str(&constant(i.rs1)),
        Pred => accesses(text, i.full >> 24),
        Succ => accesses(text, i.full >> 20),
        Order | MopR | MopRr | CMop => {}
    }
}

fn number(text: &mut String, value: std::fmt::Arguments) {
    text.write_fmt(value).expect("writing to a string does not fail");
}

/// The rounding mode, unless it is the one that goes without saying.
fn rounding(text: &mut String, i: &Insn, usual: &str) {
    let name = ROUNDING[(i.full >> 12 & 7) as usize];
    if name != usual {
        text.push_str(name);
    }
}

/// A set of a fence.
fn accesses(text: &mut String, set: u32) {
    if set & 0xf == 0 {
        text.push_str("unknown");
    }
    for (bit, letter) in [(8, 'i'), (4, 'o'), (2, 'r'), (1, 'w')] {
        if set & bit != 0 {
            text.push(letter);
        }
    }
}

/// A constant of `fli`, as C's `%a` prints it.
pub(super) fn constant(index: u8) -> String {
    let bits = constant_value(index).to_bits();
    let sign = if bits >> 63 == 1 { "-" } else { "" };
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1023;
    match (index, bits >> 48 & 0xf) {
        (1, _) => "min".to_owned(),
        (30, _) => "inf".to_owned(),
        (31, _) => "nan".to_owned(),
        (_, 0) => format!("{sign}0x1p{exponent:+}"),
        (_, digit) => format!("{sign}0x1.{digit:x}p{exponent:+}"),
    }
}

/// In double precision, where all but the least normal number are as in the others.
pub(super) fn constant_value(index: u8) -> f64 {
    f64::from_bits(fp::fli_value(Fmt::D, index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::decode;

    fn text(bits: u32) -> String {
        disassemble(&decode(bits, Extensions::all()).expect("a legal instruction"), 0x1000)
    }

    #[test]
    fn extensions_that_binutils_2_40_does_not_know_follow_its_later_spelling() {
        for (bits, expected) in [
            (0x0e52_d2b3, "czero.eqz x5,x5,x5"),
            (0x0e73_72b3, "czero.nez x5,x6,x7"),
            (0x2c73_22af, "amocas.w.aq x5,x7,(x6)"),
            (0x2e83_422f, "amocas.q.aqrl x4,x8,(x6)"),
            (0x81c1_42f3, "mop.r.0 x5,x2"),
            (0xcdf1_42f3, "mop.r.31 x5,x2"),
            (0x8231_42f3, "mop.rr.0 x5,x2,x3"),
            (0xce31_42f3, "mop.rr.7 x5,x2,x3"),
            (0xf010_0053, "fli.s f0,-0x1p+0"),
            (0xf214_8053, "fli.d f0,0x1.4p-2"),
            (0xf21f_8053, "fli.d f0,nan"),
            (0x4041_0053, "fround.s f0,f2,rne"),
            (0x4251_7053, "froundnx.d f0,f2"),
            (0xc281_11d3, "fcvtmod.w.d x3,f2,rtz"),
            (0x2831_20d3, "fminm.s f1,f2,f3"),
            (0xa231_50d3, "fltq.d x1,f2,f3"),
            (0x8004, "c.lbu x9,0(x8)"),
            (0x8024, "c.lbu x9,2(x8)"),
            (0x8444, "c.lh x9,0(x8)"),
            (0x8424, "c.lhu x9,2(x8)"),
            (0x8864, "c.sb x9,3(x8)"),
            (0x8c04, "c.sh x9,0(x8)"),
            (0x9c61, "c.zext.b x8"),
            (0x9c65, "c.sext.b x8"),
            (0x9c69, "c.zext.h x8"),
            (0x9c6d, "c.sext.h x8"),
            (0x9c71, "c.zext.w x8"),
            (0x9c75, "c.not x8"),
            (0x9c45, "c.mul x8,x9"),
            (0x6081, "c.mop.1"),
            (0x6781, "c.mop.15"),
        ] {
            assert_eq!(text(bits), expected, "{bits:#x}");
        }
    }

    #[test]
    fn a_target_is_relative_to_the_instruction() {
        assert_eq!(text(0xfe52_0ce3), "beq x4,x5,0xff8");
        assert_eq!(text(0x0100_00ef), "jal x1,0x1010");
        assert_eq!(text(0xa001), "c.j 0x1000");
    }
}
