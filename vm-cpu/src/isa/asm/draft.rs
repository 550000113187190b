//! An instruction whose operands are known but for labels.

use super::super::decode::encode;
use super::super::row::Operands;
use super::super::rvc::Compressed;
use super::super::{Op, operand::Operand};
use super::Fault;

/// An address: a label (none is 0, `.` is here) and an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub label: String,
    pub offset: i64,
}

/// What a label stands for in an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relative {
    /// The distance to it.
    Whole,
    /// The distance's upper part, for `auipc`.
    High,
    /// What is left for the instruction behind the `auipc`.
    Low,
}

/// Encoding in 32 or in 16 bits.
#[derive(Clone, Copy, Debug)]
pub enum Code {
    Full(Op),
    Compressed(&'static Compressed),
}

/// An instruction to be encoded.
#[derive(Clone, Debug)]
pub struct Draft {
    pub code: Code,
    pub operands: Operands,
    /// `rm`, `aq`, `rl`, `pred`, `succ` in place.
    pub flags: u32,
    /// Where `imm` comes from, if from an address.
    pub target: Option<(Place, Relative)>,
}

impl Draft {
    pub fn of(op: Op, operands: Operands) -> Draft {
        Draft { code: Code::Full(op), operands, flags: 0, target: None }
    }

    pub fn format(&self) -> &'static [Operand] {
        match self.code {
            Code::Full(op) => op.row().format,
            Code::Compressed(row) => row.format,
        }
    }

    /// Bytes that it takes.
    pub fn len(&self) -> usize {
        match self.code {
            Code::Full(_) => 4,
            Code::Compressed(_) => 2,
        }
    }

    /// Its bytes at `pc`.
    pub fn encode(&self, pc: u64, address: impl Fn(&Place) -> Result<u64, Fault>) -> Result<Vec<u8>, Fault> {
        let mut operands = self.operands;
        if let Some((place, relative)) = &self.target {
            operands.imm = distance(pc, address(place)?, *relative).ok_or(Fault::Encoding)?;
        }
        let bytes = match self.code {
            Code::Full(op) => encode(op, &operands, self.flags).map(|word| word.to_le_bytes().to_vec()),
            Code::Compressed(row) => {
                row.encode(&operands, self.flags).map(|half| half.to_le_bytes().to_vec())
            }
        };
        bytes.ok_or(Fault::Encoding)
    }
}

/// The upper part is rounded to the nearest, since the lower one is signed.
fn distance(pc: u64, target: u64, relative: Relative) -> Option<i32> {
    const AUIPC: u64 = 4;
    let from = |pc: u64| target.wrapping_sub(pc) as i64;
    let upper = |distance: i64| Some(distance.checked_add(0x800)? & !0xfff);
    let part = match relative {
        Relative::Whole => from(pc),
        Relative::High => upper(from(pc))?,
        Relative::Low => {
            let distance = from(pc.wrapping_sub(AUIPC));
            distance - upper(distance)?
        }
    };
    i32::try_from(part).ok()
}
