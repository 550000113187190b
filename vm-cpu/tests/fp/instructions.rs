//! The floating-point instructions of the stored vectors, by name: what they mean and how they are
//! encoded. Written from the manual, independent of the emulator's own table.

use vm_cpu::isa::emit::{Fmt, Fp, Int};

/// One instruction.
#[allow(dead_code, reason = "the encoding is for the example that makes the vectors")]
pub struct Instruction {
    /// As in the manual.
    pub name: String,
    /// What it means; `None` for `fli`, whose operand is the index.
    pub op: Option<Fp>,
    /// The format it is done in.
    pub fmt: Fmt,
    /// Its encoding but for registers and, if it rounds, the mode.
    pub word: u32,
    /// Whether it has a rounding mode.
    pub rounds: bool,
    /// Whether its source is an integer register.
    pub from_int: bool,
    /// Whether its destination is an integer register.
    pub to_int: bool,
}

const INTS: [(Int, &str); 4] = [(Int::W, "w"), (Int::Wu, "wu"), (Int::L, "l"), (Int::Lu, "lu")];
const FORMATS: [(Fmt, &str); 3] = [(Fmt::S, "s"), (Fmt::D, "d"), (Fmt::H, "h")];

const OP_FP: u32 = 0x53;
const FUSED: [(Fp, &str, u32); 4] = [
    (Fp::Madd, "fmadd", 0x43),
    (Fp::Msub, "fmsub", 0x47),
    (Fp::Nmsub, "fnmsub", 0x4b),
    (Fp::Nmadd, "fnmadd", 0x4f),
];
/// Name and bits 31:27; the mode is in bits 14:12.
const ROUNDING: [(Fp, &str, u32); 4] =
    [(Fp::Add, "fadd", 0), (Fp::Sub, "fsub", 1), (Fp::Mul, "fmul", 2), (Fp::Div, "fdiv", 3)];
/// Name, bits 31:27 and bits 14:12.
const PLAIN: [(Fp, &str, u32, u32); 13] = [
    (Fp::Sgnj, "fsgnj", 4, 0),
    (Fp::Sgnjn, "fsgnjn", 4, 1),
    (Fp::Sgnjx, "fsgnjx", 4, 2),
    (Fp::Min, "fmin", 5, 0),
    (Fp::Max, "fmax", 5, 1),
    (Fp::Minm, "fminm", 5, 2),
    (Fp::Maxm, "fmaxm", 5, 3),
    (Fp::Le, "fle", 0x14, 0),
    (Fp::Lt, "flt", 0x14, 1),
    (Fp::Eq, "feq", 0x14, 2),
    (Fp::Leq, "fleq", 0x14, 4),
    (Fp::Ltq, "fltq", 0x14, 5),
    (Fp::Class, "fclass", 0x1c, 1),
];

/// All of F, D and Zfa, and of Zfhmin what is not a move.
pub fn all() -> Vec<Instruction> {
    let mut all = Vec::new();
    for (code, (fmt, suffix)) in (0..).zip(FORMATS) {
        if fmt != Fmt::H {
            computing(&mut all, fmt, code, suffix);
        }
        for (from_code, (from, from_suffix)) in (0..).zip(FORMATS) {
            if from != fmt {
                let name = format!("fcvt.{suffix}.{from_suffix}");
                all.push(rounding(name, Fp::FromFmt(from), fmt, 0x08, code, from_code));
            }
        }
        all.push(Instruction {
            word: word(0x1e, code, 1, 0),
            rounds: false,
            op: None,
            ..rounding(format!("fli.{suffix}"), Fp::Sgnj, fmt, 0, code, 0)
        });
    }
    let modular = rounding("fcvtmod.w.d".into(), Fp::ToIntMod, Fmt::D, 0x18, 1, 8);
    all.push(Instruction { word: word(0x18, 1, 8, 1), rounds: false, to_int: true, ..modular });
    all
}

fn computing(all: &mut Vec<Instruction>, fmt: Fmt, code: u32, suffix: &str) {
    for (op, name, opcode) in FUSED {
        let word = opcode | code << 25;
        all.push(Instruction { word, ..rounding(format!("{name}.{suffix}"), op, fmt, 0, code, 0) });
    }
    for (op, name, funct) in ROUNDING {
        all.push(rounding(format!("{name}.{suffix}"), op, fmt, funct, code, 0));
    }
    all.push(rounding(format!("fsqrt.{suffix}"), Fp::Sqrt, fmt, 0x0b, code, 0));
    all.push(rounding(format!("fround.{suffix}"), Fp::Round, fmt, 0x08, code, 4));
    all.push(rounding(format!("froundnx.{suffix}"), Fp::RoundNx, fmt, 0x08, code, 5));
    for (op, name, funct, funct3) in PLAIN {
        all.push(Instruction {
            word: word(funct, code, 0, funct3),
            rounds: false,
            to_int: funct >= 0x14,
            ..rounding(format!("{name}.{suffix}"), op, fmt, funct, code, 0)
        });
    }
    for (int_code, (int, int_name)) in (0..).zip(INTS) {
        let to = rounding(format!("fcvt.{int_name}.{suffix}"), Fp::ToInt(int), fmt, 0x18, code, int_code);
        all.push(Instruction { to_int: true, ..to });
        let from = rounding(format!("fcvt.{suffix}.{int_name}"), Fp::FromInt(int), fmt, 0x1a, code, int_code);
        all.push(Instruction { from_int: true, ..from });
    }
}

fn word(funct: u32, code: u32, rs2: u32, funct3: u32) -> u32 {
    funct << 27 | code << 25 | rs2 << 20 | funct3 << 12 | OP_FP
}

/// From FP registers to an FP register, rounding.
fn rounding(name: String, op: Fp, fmt: Fmt, funct: u32, code: u32, rs2: u32) -> Instruction {
    let word = word(funct, code, rs2, 0);
    Instruction { name, op: Some(op), fmt, word, rounds: true, from_int: false, to_int: false }
}
