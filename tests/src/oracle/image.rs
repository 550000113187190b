//! Many programs in one executable.
//!
//! ```text
//!  CODE      for each program: registers from its record, its body, registers to its record
//!            then: write(1, all records), exit(0)
//!  RECORDS   for each program: scratch buffer | x0 … x31 | f0 … f31 | fcsr
//! ```

use std::fmt::Write;

use vm_cpu::isa::asm::assemble;

use super::elf::{self, Segment};
use super::program::Program;
use crate::bare::RAM;

/// Where code and records lie.
pub const CODE: u64 = RAM;
pub const RECORDS: u64 = RAM + (16 << 20);

/// Bytes of the scratch buffer; the base register points to its middle.
pub const SCRATCH: usize = 1024;
const MIDDLE: i32 = SCRATCH as i32 / 2;
/// From the middle to the registers.
const X: i32 = MIDDLE;
const F: i32 = X + 32 * 8;
const FCSR: i32 = F + 32 * 8;
/// Bytes of a record: whole cache blocks.
const RECORD: usize = 1600;
const _: () = assert!(RECORD >= SCRATCH + 65 * 8 && RECORD.is_multiple_of(64));

/// All of the state that a program starts and ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The scratch buffer.
    pub scratch: Vec<u8>,
    /// Integer registers.
    pub x: [u64; 32],
    /// FP registers, raw.
    pub f: [u64; 32],
    /// Rounding mode and flags.
    pub fcsr: u64,
}

/// The programs as instructions and records.
pub struct Image {
    pub code: Vec<u8>,
    pub records: Vec<u8>,
}

impl Image {
    pub fn of(programs: &[Program]) -> Image {
        let mut code = Vec::new();
        for (n, program) in programs.iter().enumerate() {
            let record = RECORDS + (n * RECORD) as u64;
            code.extend(assembled(&code, &enter(program.base, record)));
            code.extend(program.bytes(CODE + code.len() as u64));
            // A body may end between words; what follows is found at a multiple of 4 all the same.
            if code.len() % 4 != 0 {
                code.extend(assembled(&code, "c.nop"));
            }
            code.extend(assembled(&code, &leave(program.base)));
        }
        let records: Vec<u8> = programs.iter().flat_map(|program| program.start.bytes()).collect();
        code.extend(assembled(&code, &finish(records.len())));
        assert!(CODE + code.len() as u64 <= RECORDS, "too many programs for one image");
        Image { code, records }
    }

    /// As a file for an operating system.
    pub fn executable(&self) -> Vec<u8> {
        let segments =
            [Segment { at: CODE, bytes: &self.code }, Segment { at: RECORDS, bytes: &self.records }];
        elf::executable(CODE, &segments)
    }
}

/// Where the body of the first program of an image lies.
pub fn body_address() -> u64 {
    CODE + assembled(&[], &enter(2, RECORDS)).len() as u64
}

fn assembled(before: &[u8], source: &str) -> Vec<u8> {
    assemble(CODE + before.len() as u64, source).expect("good assembler").bytes
}

/// A register other than the base.
fn other(base: u8) -> u8 {
    if base == 5 { 6 } else { 5 }
}

/// Code that loads the registers of the record at `record`.
fn enter(base: u8, record: u64) -> String {
    let free = other(base);
    let mut text = format!(
        "la x{base}, {:#x}; ld x{free}, {FCSR}(x{base}); csrw fcsr, x{free}\n",
        record + SCRATCH as u64 / 2
    );
    (0..32).for_each(|r| text += &format!("fld f{r}, {}(x{base})\n", F + 8 * r));
    let free_to_set = (1..32).filter(|&r| r != i32::from(base));
    free_to_set.for_each(|r| text += &format!("ld x{r}, {}(x{base})\n", X + 8 * r));
    text
}

/// Code that stores them.
fn leave(base: u8) -> String {
    let free = other(base);
    let mut text = String::new();
    (0..32).for_each(|r| text += &format!("sd x{r}, {}(x{base})\n", X + 8 * r));
    (0..32).for_each(|r| text += &format!("fsd f{r}, {}(x{base})\n", F + 8 * r));
    text + &format!("csrr x{free}, fcsr; sd x{free}, {FCSR}(x{base})\n")
}

/// Code that writes `len` bytes of records to standard output and exits: with 0 if all were written.
fn finish(len: usize) -> String {
    format!(
        "    la   a1, {RECORDS:#x}
             li   s0, {len}
         1:  mv   a2, s0
             li   a0, 1
             li   a7, 64
             ecall
             blez a0, 2f
             add  a1, a1, a0
             sub  s0, s0, a0
             bnez s0, 1b
         2:  snez a0, s0
             li   a7, 93
             ecall"
    )
}

impl Record {
    /// All zeros.
    pub fn zero() -> Record {
        Record { scratch: vec![0; SCRATCH], x: [0; 32], f: [0; 32], fcsr: 0 }
    }

    fn bytes(&self) -> Vec<u8> {
        let registers = self.x.iter().chain(&self.f).chain([&self.fcsr]);
        let mut bytes = self.scratch.clone();
        bytes.extend(registers.flat_map(|register| register.to_le_bytes()));
        bytes.resize(RECORD, 0);
        bytes
    }

    /// The records in `bytes`.
    pub fn read_all(bytes: &[u8]) -> Vec<Record> {
        bytes.chunks_exact(RECORD).map(Record::read).collect()
    }

    fn read(bytes: &[u8]) -> Record {
        let (scratch, registers) = bytes.split_at(SCRATCH);
        let register = |n: usize| {
            let eight = registers[n * 8..n * 8 + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(eight)
        };
        Record {
            scratch: scratch.to_vec(),
            x: std::array::from_fn(register),
            f: std::array::from_fn(|r| register(32 + r)),
            fcsr: register(64),
        }
    }

    /// What is not zero, a line each; register `base` is set by the image.
    pub fn describe(&self, base: u8) -> String {
        let mut text = String::new();
        let mut line = |name: String, value: u64| {
            if value != 0 {
                writeln!(text, "  {name} = {value:#x}").expect("a string takes all");
            }
        };
        (0..32).filter(|&r| r != usize::from(base)).for_each(|r| line(format!("x{r}"), self.x[r]));
        (0..32).for_each(|r| line(format!("f{r}"), self.f[r]));
        line("fcsr".into(), self.fcsr);
        for (at, word) in self.scratch.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            line(format!("scratch[{}]", at * 8), word);
        }
        text
    }

    /// What `found` has else than this.
    pub fn difference(&self, found: &Record) -> String {
        let mut text = String::new();
        let mut line = |name: String, expected: u64, found: u64| {
            if expected != found {
                writeln!(text, "{name}: expected {expected:#x}, found {found:#x}")
                    .expect("a string takes all");
            }
        };
        (0..32).for_each(|r| line(format!("x{r}"), self.x[r], found.x[r]));
        (0..32).for_each(|r| line(format!("f{r}"), self.f[r], found.f[r]));
        line("fcsr".into(), self.fcsr, found.fcsr);
        let bytes = self.scratch.iter().zip(&found.scratch).enumerate();
        bytes.for_each(|(at, (&a, &b))| line(format!("scratch[{at}]"), a.into(), b.into()));
        text
    }
}
