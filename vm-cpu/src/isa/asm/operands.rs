//! Operands from text: the inverse of what the disassembler prints, and ABI names besides.

use super::super::disasm::{self, ORDERS, ROUNDING};
use super::super::operand::Operand;
use super::super::{Op, rvc};
use super::Fault;
use super::draft::{Code, Draft, Place, Relative};
use crate::csr;
use std::ops::Range;

/// The comma-separated parts.
pub fn split(operands: &str) -> Vec<&str> {
    let operands = operands.trim();
    if operands.is_empty() { Vec::new() } else { operands.split(',').map(str::trim).collect() }
}

/// The instruction `name` with `operands`, if the tables know the name.
pub fn draft(name: &str, operands: &[&str]) -> Result<Draft, Fault> {
    let mut draft = named(name).ok_or_else(|| Fault::Mnemonic(name.to_owned()))?;
    let written = draft.format().iter().filter(|&&operand| !is_suffix(operand));
    let mut parts = operands.iter();
    for &operand in written.clone() {
        match parts.next() {
            Some(part) => read(&mut draft, operand, part)?,
            None if is_rounding(operand) => draft.flags |= default_rounding(operand),
            None => return Err(Fault::Count { expected: written.count(), found: operands.len() }),
        }
    }
    match parts.next() {
        None => Ok(draft),
        Some(_) => Err(Fault::Count { expected: written.count(), found: operands.len() }),
    }
}

fn is_suffix(operand: Operand) -> bool {
    matches!(operand, Operand::Order | Operand::MopR | Operand::MopRr | Operand::CMop)
}

fn is_rounding(operand: Operand) -> bool {
    matches!(operand, Operand::Rm | Operand::RmExact | Operand::Rtz)
}

fn default_rounding(operand: Operand) -> u32 {
    if operand == Operand::Rm { 7 << 12 } else { 0 }
}

/// Finds the row of a mnemonic, taking what [`Operand`]s add to it apart.
fn named(name: &str) -> Option<Draft> {
    if let Some(code) = code(name) {
        return Some(Draft { code, operands: Default::default(), flags: 0, target: None });
    }
    let (stem, suffix) = name.rsplit_once('.')?;
    let mut draft = Draft { code: code(stem)?, operands: Default::default(), flags: 0, target: None };
    match draft.format().first()? {
        Operand::Order => {
            draft.flags = (ORDERS.iter().position(|o| o.strip_prefix('.') == Some(suffix))? as u32) << 25
        }
        Operand::CMop => draft.flags = suffix.parse::<u32>().ok().filter(|n| n % 2 == 1 && *n < 16)? << 7,
        Operand::MopR | Operand::MopRr => draft.operands.imm = suffix.parse().ok()?,
        _ => return None,
    }
    Some(draft)
}

fn code(name: &str) -> Option<Code> {
    Op::named(name)
        .map(Code::Full)
        .or_else(|| rvc::ROWS.iter().find(|row| row.name == name).map(Code::Compressed))
}

/// Reads one operand into the draft.
fn read(draft: &mut Draft, operand: Operand, text: &str) -> Result<(), Fault> {
    use Operand::*;
    let o = &mut draft.operands;
    match operand {
        Rd => o.rd = x(text)?,
        Rs1 => o.rs1 = x(text)?,
        Rs2 => o.rs2 = x(text)?,
        Fd => o.rd = f(text)?,
        Fs1 => o.rs1 = f(text)?,
        Fs2 => o.rs2 = f(text)?,
        Fs3 => o.rs3 = f(text)?,
        Simm | Shamt6 | Shamt5 => o.imm = small(text)?,
        Zimm => o.rs1 = u8::try_from(small(text)?).map_err(|_| Fault::Encoding)?,
        Offset | StoreOffset => (o.imm, o.rs1) = indexed(text)?,
        Base => (_, o.rs1) = indexed(text)?,
        Upper => o.imm = upper(text)?,
        Csr => o.imm = csr_number(text)?,
        Fli => o.rs1 = constant(text)?,
        Branch | Jump => draft.target = Some((place(text)?, Relative::Whole)),
        Rm | RmExact => draft.flags |= rounding(text)? << 12,
        Rtz => _ = rounding(text)?,
        Pred => draft.flags |= accesses(text)? << 24,
        Succ => draft.flags |= accesses(text)? << 20,
        Order | MopR | MopRr | CMop => {}
    }
    Ok(())
}

fn operand(expected: &'static str, found: &str) -> Fault {
    Fault::Operand { expected, found: found.to_owned() }
}

/// A number: decimal or hexadecimal, signed or not, up to 64 bits.
pub fn number(text: &str) -> Result<i64, Fault> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value = value.map_err(|_| operand("a number", text))? as i64;
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn small(text: &str) -> Result<i32, Fault> {
    i32::try_from(number(text)?).map_err(|_| Fault::Encoding)
}

fn upper(text: &str) -> Result<i32, Fault> {
    match number(text)? {
        n @ 0..=0xf_ffff => Ok((n << 12) as i32),
        _ => Err(Fault::Encoding),
    }
}

/// An address: `label`, `label+8`, `.`, or a number.
pub fn place(text: &str) -> Result<Place, Fault> {
    if let Ok(offset) = number(text) {
        return Ok(Place { label: String::new(), offset });
    }
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (label, offset) = text.split_at(at);
    let offset = if offset.is_empty() { 0 } else { number(offset.trim_start_matches('+'))? };
    Ok(Place { label: label.trim().to_owned(), offset })
}

/// `8(sp)` or `(sp)`.
fn indexed(text: &str) -> Result<(i32, u8), Fault> {
    let wrong = || operand("an offset and a base register in parentheses", text);
    let (offset, base) = text.strip_suffix(')').and_then(|t| t.split_once('(')).ok_or_else(wrong)?;
    let offset = if offset.is_empty() { 0 } else { small(offset.trim())? };
    Ok((offset, x(base.trim())?))
}

/// ABI names of consecutive registers, by prefix, first index of the name, and registers.
const X_NAMES: &[(&str, u8, Range<u8>)] =
    &[("x", 0, 0..32), ("t", 0, 5..8), ("s", 0, 8..10), ("a", 0, 10..18), ("s", 2, 18..28), ("t", 3, 28..32)];
const F_NAMES: &[(&str, u8, Range<u8>)] = &[
    ("f", 0, 0..32),
    ("ft", 0, 0..8),
    ("fs", 0, 8..10),
    ("fa", 0, 10..18),
    ("fs", 2, 18..28),
    ("ft", 8, 28..32),
];

/// An integer register.
pub fn x(text: &str) -> Result<u8, Fault> {
    let special = ["zero", "ra", "sp", "gp", "tp"].iter().position(|&name| name == text);
    let frame = (text == "fp").then_some(8);
    let by_name = special.map(|n| n as u8).or(frame).or_else(|| register(X_NAMES, text));
    by_name.ok_or_else(|| operand("an integer register", text))
}

fn f(text: &str) -> Result<u8, Fault> {
    register(F_NAMES, text).ok_or_else(|| operand("a floating-point register", text))
}

fn register(names: &[(&str, u8, Range<u8>)], text: &str) -> Option<u8> {
    names.iter().find_map(|(prefix, first, registers)| {
        let index: u8 = text.strip_prefix(prefix)?.parse().ok()?;
        let register = index.checked_sub(*first)?.checked_add(registers.start)?;
        registers.contains(&register).then_some(register)
    })
}

fn csr_number(text: &str) -> Result<i32, Fault> {
    let named = (0..4096u16).find(|&num| csr::name(num).is_some_and(|name| name.to_string() == text));
    named.map_or_else(|| small(text).map_err(|_| operand("a CSR", text)), |num| Ok(i32::from(num)))
}

fn rounding(text: &str) -> Result<u32, Fault> {
    let mode = ROUNDING.iter().position(|&name| name == text && !name.is_empty());
    mode.map(|mode| mode as u32).ok_or_else(|| operand("a rounding mode", text))
}

fn accesses(text: &str) -> Result<u32, Fault> {
    if ["0", "unknown"].contains(&text) {
        return Ok(0);
    }
    text.chars().try_fold(0, |set, letter| {
        let bit = "wroi".find(letter).ok_or_else(|| operand("a set of i, o, r, w", text))?;
        Ok(set | 1 << bit)
    })
}

/// A constant of `fli`, as printed or in decimal.
fn constant(text: &str) -> Result<u8, Fault> {
    let value = text.parse::<f64>().ok();
    let named = (0..32).find(|&index| disasm::constant(index) == text);
    let index = named.or_else(|| (2..30).find(|&index| value == Some(disasm::constant_value(index))));
    let minus_one = (value == Some(-1.0)).then_some(0);
    index.or(minus_one).ok_or_else(|| operand("a constant of fli", text))
}
