//! Pseudo-instructions: other names for instructions of the table, and the few that become several.

use super::super::Op;
use super::super::row::Operands;
use super::Fault;
use super::draft::{Draft, Relative};
use super::operands::{draft, number, place, split, x};

/// Name, and the instruction it stands for with `$0`, `$1`, `$2` for its operands.
const ALIASES: &[(&str, &str)] = &[
    ("nop", "addi x0,x0,0"),
    ("mv", "addi $0,$1,0"),
    ("not", "xori $0,$1,-1"),
    ("neg", "sub $0,x0,$1"),
    ("negw", "subw $0,x0,$1"),
    ("sext.w", "addiw $0,$1,0"),
    ("zext.b", "andi $0,$1,255"),
    ("zext.w", "add.uw $0,$1,x0"),
    ("seqz", "sltiu $0,$1,1"),
    ("snez", "sltu $0,x0,$1"),
    ("sltz", "slt $0,$1,x0"),
    ("sgtz", "slt $0,x0,$1"),
    ("beqz", "beq $0,x0,$1"),
    ("bnez", "bne $0,x0,$1"),
    ("blez", "bge x0,$0,$1"),
    ("bgez", "bge $0,x0,$1"),
    ("bltz", "blt $0,x0,$1"),
    ("bgtz", "blt x0,$0,$1"),
    ("bgt", "blt $1,$0,$2"),
    ("ble", "bge $1,$0,$2"),
    ("bgtu", "bltu $1,$0,$2"),
    ("bleu", "bgeu $1,$0,$2"),
    ("j", "jal x0,$0"),
    ("jal", "jal x1,$0"),
    ("jr", "jalr x0,0($0)"),
    ("jalr", "jalr x1,0($0)"),
    ("ret", "jalr x0,0(x1)"),
    ("csrr", "csrrs $0,$1,x0"),
    ("csrw", "csrrw x0,$0,$1"),
    ("csrs", "csrrs x0,$0,$1"),
    ("csrc", "csrrc x0,$0,$1"),
    ("csrwi", "csrrwi x0,$0,$1"),
    ("csrsi", "csrrsi x0,$0,$1"),
    ("csrci", "csrrci x0,$0,$1"),
    ("rdcycle", "csrrs $0,cycle,x0"),
    ("rdtime", "csrrs $0,time,x0"),
    ("rdinstret", "csrrs $0,instret,x0"),
    ("fence", "fence iorw,iorw"),
    ("sfence.vma", "sfence.vma x0,x0"),
    ("fmv.s", "fsgnj.s $0,$1,$1"),
    ("fneg.s", "fsgnjn.s $0,$1,$1"),
    ("fabs.s", "fsgnjx.s $0,$1,$1"),
    ("fmv.d", "fsgnj.d $0,$1,$1"),
    ("fneg.d", "fsgnjn.d $0,$1,$1"),
    ("fabs.d", "fsgnjx.d $0,$1,$1"),
];

/// Hands the instructions that a line stands for to `put`, in order.
pub fn expand(
    name: &str,
    operands: &[&str],
    put: &mut dyn FnMut(Draft) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match (name, operands) {
        ("li", &[rd, value]) => load_immediate(x(rd)?, number(value)?, put),
        ("la", &[rd, target]) => pair(&format!("addi {rd},{rd},0"), rd, target, put),
        ("call", &[target]) => pair("jalr x1,0(x1)", "x1", target, put),
        ("tail", &[target]) => pair("jalr x0,0(x6)", "x6", target, put),
        _ => match alias(name, operands.len()) {
            Some(text) => put(instruction(&fill(text, operands))?),
            None => put(draft(name, operands)?),
        },
    }
}

/// An alias is told from an instruction of the same name by the number of its operands.
fn alias(name: &str, operands: usize) -> Option<&'static str> {
    let count = |text: &str| ["$0", "$1", "$2"].iter().filter(|mark| text.contains(**mark)).count();
    ALIASES.iter().find(|(alias, text)| *alias == name && count(text) == operands).map(|(_, text)| *text)
}

fn fill(text: &str, operands: &[&str]) -> String {
    let marks = ["$0", "$1", "$2"];
    marks.iter().zip(operands).fold(text.to_owned(), |text, (mark, operand)| text.replace(mark, operand))
}

fn instruction(text: &str) -> Result<Draft, Fault> {
    let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
    draft(name, &split(operands))
}

/// `auipc` to `base` and `second`, whose immediate completes the distance to `target`.
fn pair(
    second: &str,
    base: &str,
    target: &str,
    put: &mut dyn FnMut(Draft) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let target = place(target)?;
    let mut high = instruction(&format!("auipc {base},0"))?;
    high.target = Some((target.clone(), Relative::High));
    let mut low = instruction(second)?;
    low.target = Some((target, Relative::Low));
    put(high)?;
    put(low)
}

/// The usual sequence: a word by `lui` and `addiw`, more by shifting and adding 12 bits at a time.
fn load_immediate(rd: u8, value: i64, put: &mut dyn FnMut(Draft) -> Result<(), Fault>) -> Result<(), Fault> {
    let low = (value << 52 >> 52) as i32;
    let add = |op, rs1| Draft::of(op, Operands { rd, rs1, imm: low, ..Operands::default() });
    if value == i64::from(low) {
        return put(add(Op::addi, 0));
    }
    if let Ok(word) = i32::try_from(value) {
        let imm = word.wrapping_sub(low);
        put(Draft::of(Op::lui, Operands { rd, imm, ..Operands::default() }))?;
        return if low == 0 { Ok(()) } else { put(add(Op::addiw, rd)) };
    }
    let rest = value.wrapping_sub(i64::from(low)) >> 12;
    let shift = rest.trailing_zeros() as i32;
    load_immediate(rd, rest >> shift, put)?;
    put(Draft::of(Op::slli, Operands { rd, rs1: rd, imm: 12 + shift, ..Operands::default() }))?;
    if low == 0 { Ok(()) } else { put(add(Op::addi, rd)) }
}
