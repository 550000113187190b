//! A small assembler, for tests and for code that the machine itself puts into guest memory.
//!
//! It speaks the text that [`disassemble`](super::disassemble) writes, ABI register names, labels and the
//! usual pseudo-instructions, all from the encoding table.
//!
//! ```
//! use vm_cpu::isa::asm::assemble;
//! let program = assemble(0x8000_0000, "
//!     start:  li   a0, 10
//!     1:      addi a0, a0, -1
//!             bnez a0, 1b
//!             la   t0, value          # pc-relative
//!             amoadd.d.aqrl x0, a0, (t0)
//!             c.ebreak
//!             .align 8
//!     value:  .dword 7, start
//! ").unwrap();
//! assert_eq!(program.label("start"), Some(0x8000_0000));
//! assert_eq!(&program.bytes[0..4], 0x00a0_0513u32.to_le_bytes());
//! ```

mod draft;
mod operands;
mod pseudo;

use super::Op;
use super::row::Operands;
use draft::{Draft, Place};
use std::collections::BTreeMap;

/// Assembled code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Address of the first byte.
    pub base: u64,
    /// Code and data.
    pub bytes: Vec<u8>,
    labels: BTreeMap<String, u64>,
}

impl Program {
    /// Address of a named label.
    pub fn label(&self, name: &str) -> Option<u64> {
        self.labels.get(name).copied()
    }

    /// The bytes as 32-bit words; a last half word is filled with zeros.
    pub fn words(&self) -> Vec<u32> {
        let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        self.bytes.chunks(4).map(word).collect()
    }
}

/// Why a line does not assemble.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, `{text}`: {fault}")]
pub struct AsmError {
    /// Line of the source, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither instruction nor directive.
    #[error("expected an instruction or a directive, found `{0}`")]
    Mnemonic(String),
    /// Too many or too few operands.
    #[error("expected {expected} operands, found {found}")]
    Count {
        /// How many the format has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An operand of another kind.
    #[error("expected {expected}, found `{found}`")]
    Operand {
        /// What the format wants.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A label that is nowhere defined.
    #[error("expected a label, found the unknown `{0}`")]
    Label(String),
    /// A label that is defined more than once.
    #[error("expected a new label, found `{0}` again")]
    Twice(String),
    /// Operands that the encoding has no room for.
    #[error("expected operands that fit the encoding, found a value out of range, odd or forbidden")]
    Encoding,
}

/// Assembles `source` for address `base`.
pub fn assemble(base: u64, source: &str) -> Result<Program, AsmError> {
    let mut asm = Asm::new(base);
    asm.text(source)?;
    asm.finish()
}

/// Collects code; labels are resolved by [`Asm::finish`].
pub struct Asm {
    base: u64,
    bytes: Vec<u8>,
    labels: BTreeMap<String, u64>,
    /// Labels such as `1:`, which may be defined again and again.
    locals: Vec<(u32, u64)>,
    pending: Vec<Pending>,
    /// The statement being read, for errors found later.
    line: usize,
    statement: String,
}

/// An item that waits for labels: what stands at `at` is of the right size but not final.
struct Pending {
    at: usize,
    item: Item,
    line: usize,
    text: String,
}

enum Item {
    Code(Draft),
    Data { place: Place, size: usize },
}

impl Asm {
    /// Nothing yet, at address `base`.
    pub fn new(base: u64) -> Asm {
        Asm {
            base,
            bytes: Vec::new(),
            labels: BTreeMap::new(),
            locals: Vec::new(),
            pending: Vec::new(),
            line: 0,
            statement: String::new(),
        }
    }

    /// Address of the next byte.
    pub fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Adds lines of assembler; `;` parts statements, `#` begins a comment.
    pub fn text(&mut self, source: &str) -> Result<&mut Asm, AsmError> {
        for line in source.lines() {
            self.line += 1;
            let code = line.split('#').next().unwrap_or(line);
            for statement in code.split(';') {
                self.statement = statement.trim().to_owned();
                self.add(statement).map_err(|fault| self.error(fault))?;
            }
        }
        Ok(self)
    }

    /// Adds one instruction of the table. Its branch offset, if it has one, is in `imm`.
    pub fn insn(&mut self, op: Op, operands: Operands) -> Result<&mut Asm, AsmError> {
        let draft = Draft::of(op, operands);
        self.statement = op.name().to_owned();
        self.code(draft).map_err(|fault| self.error(fault))?;
        Ok(self)
    }

    /// Defines `name` here.
    pub fn label(&mut self, name: &str) -> &mut Asm {
        let here = self.here();
        match name.parse() {
            Ok(number) => self.locals.push((number, here)),
            Err(_) => {
                self.labels.insert(name.to_owned(), here);
            }
        }
        self
    }

    /// The code, with every label in its place.
    pub fn finish(mut self) -> Result<Program, AsmError> {
        for pending in std::mem::take(&mut self.pending) {
            let bytes = self.resolve(&pending);
            let bytes = bytes.map_err(|fault| AsmError { line: pending.line, text: pending.text, fault })?;
            self.bytes[pending.at..pending.at + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(Program { base: self.base, bytes: self.bytes, labels: self.labels })
    }

    fn error(&self, fault: Fault) -> AsmError {
        AsmError { line: self.line, text: self.statement.clone(), fault }
    }

    fn resolve(&self, pending: &Pending) -> Result<Vec<u8>, Fault> {
        let pc = self.base + pending.at as u64;
        match &pending.item {
            Item::Code(draft) => draft.encode(pc, |place| self.address(place, pc)),
            Item::Data { place, size } => Ok(self.address(place, pc)?.to_le_bytes()[..*size].to_vec()),
        }
    }

    fn add(&mut self, statement: &str) -> Result<(), Fault> {
        let mut rest = statement.trim();
        while let Some((name, after)) = rest.split_once(':') {
            let name = name.trim();
            if self.labels.contains_key(name) {
                return Err(Fault::Twice(name.to_owned()));
            }
            self.label(name);
            rest = after.trim();
        }
        let (name, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let operands = operands::split(operands);
        match name {
            "" => Ok(()),
            _ if name.starts_with('.') => self.directive(name, &operands),
            _ => pseudo::expand(name, &operands, &mut |draft| self.code(draft)),
        }
    }

    fn directive(&mut self, name: &str, operands: &[&str]) -> Result<(), Fault> {
        let size = match name {
            ".byte" => 1,
            ".half" | ".2byte" => 2,
            ".word" | ".4byte" => 4,
            ".dword" | ".8byte" => 8,
            ".align" => return self.fill(operands, |here, n| here.next_multiple_of(n.max(1)) - here),
            ".zero" => return self.fill(operands, |_, n| n),
            _ => return Err(Fault::Mnemonic(name.to_owned())),
        };
        operands.iter().try_for_each(|operand| {
            let place = operands::place(operand)?;
            self.wait(Item::Data { place, size }, size);
            Ok(())
        })
    }

    /// Zeros, as many as `count` makes of the address and of the one operand.
    fn fill(&mut self, operands: &[&str], count: impl Fn(u64, u64) -> u64) -> Result<(), Fault> {
        let &[operand] = operands else { return Err(Fault::Count { expected: 1, found: operands.len() }) };
        let n = operands::number(operand)? as u64;
        let zeros = count(self.here(), n) as usize;
        self.bytes.resize(self.bytes.len() + zeros, 0);
        Ok(())
    }

    fn code(&mut self, draft: Draft) -> Result<(), Fault> {
        let size = draft.len();
        self.wait(Item::Code(draft), size);
        Ok(())
    }

    fn wait(&mut self, item: Item, size: usize) {
        let at = self.bytes.len();
        self.bytes.resize(at + size, 0);
        self.pending.push(Pending { at, item, line: self.line, text: self.statement.clone() });
    }

    /// The address of `place`, as seen from `pc`.
    fn address(&self, place: &Place, pc: u64) -> Result<u64, Fault> {
        let base = match place.label.as_str() {
            "" => Some(0),
            "." => Some(pc),
            label => self.labels.get(label).copied().or_else(|| self.local(label, pc)),
        };
        let base = base.ok_or_else(|| Fault::Label(place.label.clone()))?;
        Ok(base.wrapping_add_signed(place.offset))
    }

    /// `1b` is the last `1:` at or before `pc`, `1f` the next one behind it.
    fn local(&self, label: &str, pc: u64) -> Option<u64> {
        let (number, direction) = label.split_at_checked(label.len() - 1)?;
        let number: u32 = number.parse().ok()?;
        let mut places = self.locals.iter().filter(|local| local.0 == number).map(|local| local.1);
        match direction {
            "b" => places.rfind(|&at| at <= pc),
            "f" => places.find(|&at| at > pc),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Extensions, decode, disassemble};
    use super::*;

    fn fault(source: &str) -> Fault {
        assemble(0, source).expect_err("a faulty line").fault
    }

    /// The text of each word of `source`, assembled at 0x1000.
    fn round(source: &str) -> Vec<String> {
        let program = assemble(0x1000, source).expect("good lines");
        let insn =
            |(n, &word): (u64, &u32)| disassemble(&decode(word, Extensions::all()).unwrap(), 0x1000 + 4 * n);
        (0..).zip(&program.words()).map(insn).collect()
    }

    #[test]
    fn abi_names_are_the_registers_of_the_psabi() {
        let lines = "add zero,ra,sp; add gp,tp,t0; add t2,s0,fp; add s1,a0,a7; add s2,s11,t3; add t6,t6,t6
            fadd.d ft0,ft7,fs0; fadd.d fs1,fa0,fa7; fadd.d fs2,fs11,ft8; fadd.d ft11,f31,f31";
        let expected = [
            "add x0,x1,x2",
            "add x3,x4,x5",
            "add x7,x8,x8",
            "add x9,x10,x17",
            "add x18,x27,x28",
            "add x31,x31,x31",
            "fadd.d f0,f7,f8",
            "fadd.d f9,f10,f17",
            "fadd.d f18,f27,f28",
            "fadd.d f31,f31,f31",
        ];
        assert_eq!(round(lines), expected);
    }

    #[test]
    fn labels_reach_both_ways() {
        let lines = "1: beq a0,a1,1f; j end; 1: bnez a0,1b; jal .; jal 0x1000; end: call 1b+4";
        let expected = [
            "beq x10,x11,0x1008",
            "jal x0,0x1014",
            "bne x10,x0,0x1008",
            "jal x1,0x100c",
            "jal x1,0x1000",
            "auipc x1,0x0",
            "jalr x1,-8(x1)",
        ];
        assert_eq!(round(lines), expected);
    }

    #[test]
    fn a_distance_splits_into_a_rounded_upper_and_a_signed_lower_part() {
        assert_eq!(round("la a0, .+0x1800")[0], "auipc x10,0x2");
        let program = assemble(0x1000, "la a0, far; .zero 0x7f8; far:").unwrap();
        assert_eq!(program.label("far"), Some(0x1800));
        assert_eq!(round("la a0, 0x1800"), ["auipc x10,0x1", "addi x10,x10,-2048"]);
    }

    #[test]
    fn data_holds_numbers_and_addresses() {
        let program =
            assemble(0x1000, "x: .byte 1,-1; .align 8; .dword x, 0xfedcba9876543210; .half x+2").unwrap();
        assert_eq!(program.bytes[..2], [1, 0xff]);
        assert_eq!(program.bytes[8..16], 0x1000u64.to_le_bytes());
        assert_eq!(program.bytes[16..24], 0xfedc_ba98_7654_3210u64.to_le_bytes());
        assert_eq!(program.bytes[24..], [0x02, 0x10]);
    }

    #[test]
    fn a_faulty_line_is_named_with_its_fault() {
        let e = assemble(0, "nop\n addi a0,a1 # short").expect_err("a faulty line");
        assert_eq!(e.to_string(), "line 2, `addi a0,a1`: expected 3 operands, found 2");
        assert!(matches!(fault("frobnicate"), Fault::Mnemonic(_)));
        assert!(matches!(fault("add a0,a1,b2"), Fault::Operand { .. }));
        assert!(matches!(fault("j nowhere"), Fault::Label(_)));
        assert!(matches!(fault("here: nop; here: j here"), Fault::Twice(_)));
        assert_eq!(fault("addi a0,a0,2048"), Fault::Encoding);
        assert_eq!(fault("beq a0,a1,.+4096"), Fault::Encoding);
        assert_eq!(fault("c.addi4spn s0,sp,0"), Fault::Encoding);
        assert_eq!(fault("amocas.q a1,a2,(a3)"), Fault::Encoding);
        assert_eq!(fault("c.lw t0,0(a0)"), Fault::Encoding);
    }

    #[test]
    fn one_instruction_can_be_added_by_its_parts() {
        let mut asm = Asm::new(0);
        asm.insn(Op::addi, Operands { rd: 10, rs1: 11, imm: -1, ..Operands::default() }).expect("it fits");
        assert_eq!(asm.finish().expect("no labels").words(), [0xfff5_8513]);
        let mut asm = Asm::new(0);
        asm.insn(Op::jal, Operands { imm: 3, ..Operands::default() }).expect("it is encoded later");
        assert_eq!(asm.finish().expect_err("an odd offset").fault, Fault::Encoding);
    }
}
