//! Facts about single instructions, as tables in `tests/asm/*.facts`, and whether an engine agrees.
//!
//! ```text
//! # Integer division (unprivileged manual, 12.2)         a comment
//! cpu rv64gc,c=off                                       of the whole file; else every extension is there
//!
//! after lr.w t0, (a1)                                    code before the subject, if it needs any
//! sc.w a0, a2, (a1)                                      the subject, then what may follow it
//!     a1=data a2=7 w[0]=5  ->  t0=5 a0=0 w[0]=7          a case: what is given, what comes out
//!     a1=data+2            ->  trap=store-misaligned tval=data+2
//! ```
//! **Whatever a case does not name has not changed**: no register, no byte of the data area, no CSR. A trap
//! implies what the manual says of `mstatus`, and `mepc` at the subject unless `epc=` says otherwise.
//!
//! Places: integer and FP registers; `b[n]`, `h[n]`, `w[n]`, `d[n]` at byte `n` of the data area; CSRs, and
//! fields of `mstatus` such as `mstatus.mpp`; `prv` (u, s or m). Values: numbers; `code` (the subject),
//! `next` (behind it), `insn` (its bits), `data`, `end` (of the data area; nothing is there), each with an
//! offset; `s:1.5` and `d:-inf`, boxed as a register holds them.

mod check;
mod place;
mod read;

use std::collections::BTreeSet;
use std::path::Path;

use vm_cpu::CpuConfig;
use vm_cpu::isa::{Extensions, Insn, decode, rvc};

use crate::bare::Engine;
use place::Place;

/// A file of facts.
pub struct Facts {
    name: String,
    cpu: CpuConfig,
    sections: Vec<Section>,
}

/// One subject and its cases.
struct Section {
    before: String,
    code: String,
    cases: Vec<Case>,
}

/// What is given and what comes out. Values are text until the code has its addresses.
struct Case {
    line: usize,
    given: Vec<(Place, String)>,
    expected: Vec<(Place, String)>,
}

impl Facts {
    /// Reads a file.
    ///
    /// # Panics
    /// If it is malformed, with the line.
    pub fn read(path: &Path) -> Facts {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        read::file(&name, &text).unwrap_or_else(|fault| panic!("{name}:{fault}"))
    }

    /// What does not hold in `engine`, one message a case.
    pub fn failures(&self, engine: Engine) -> Vec<String> {
        let mut bench = check::Bench::new(engine, &self.cpu);
        let cases = self.sections.iter().flat_map(|section| section.cases.iter().map(move |c| (section, c)));
        cases
            .filter_map(|(section, case)| {
                let failure = bench.check(section, case).err()?;
                Some(format!("{}:{}: {}\n{failure}", self.name, case.line, section.code))
            })
            .collect()
    }

    /// Names of the instructions that are subjects: rows of the 32-bit table, and of the compressed one.
    pub fn subjects(&self) -> BTreeSet<String> {
        self.sections
            .iter()
            .filter_map(|section| check::subject(section, &self.cpu))
            .filter_map(|i| row(&i))
            .collect()
    }
}

/// The row of an instruction, by its variant since two rows may share a mnemonic; a compressed one's is its
/// own alone.
fn row(subject: &Insn) -> Option<String> {
    if subject.len == 4 {
        return Some(format!("{:?}", subject.op));
    }
    rvc::row(subject.bits as u16, Extensions::all()).map(|row| row.name.to_owned())
}

/// Every extension; A and D bits are of no concern here.
fn everything() -> CpuConfig {
    CpuConfig { extensions: Extensions::all(), ..CpuConfig::default() }
}

fn insn(bytes: &[u8], cpu: &CpuConfig) -> Option<Insn> {
    let bits = bytes.iter().take(4).rev().fold(0, |bits, &byte| bits << 8 | u32::from(byte));
    decode(bits, cpu.extensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(text: &str) -> Vec<String> {
        read::file("f", text).expect("a good file").failures(Engine::Interpreter)
    }

    #[test]
    fn a_wrong_fact_is_reported_with_what_was_found() {
        let found = failures("addi a0, a1, 1\n    a1=1  ->  a0=2\n    a1=1  ->  a0=3");
        assert_eq!(found, ["f:3: addi a0, a1, 1\n    x10: expected 0x3, found 0x2\n"]);
    }

    #[test]
    fn a_change_that_no_fact_names_is_reported_wherever_it_is() {
        for (code, place) in [
            ("li t0, 9", "x5: "),
            ("fmv.d.x fa0, x0", "f10: "),
            ("sb x0, 0(a1)", "b[0]: "),
            ("csrrwi x0, stvec, 4", "stvec: "),
            ("csrrwi x0, mstatus, 8", "mstatus: "),
            ("csrrwi x0, fflags, 8", "fflags: "),
            ("mret", "prv: "),
            ("ebreak", "end: "),
            ("sd x0, 0(x0); j .", "pc: "),
        ] {
            let found = failures(&format!("{code}\n    a1=data mepc=next mstatus.mpp=1  ->"));
            assert!(found.len() == 1 && found[0].contains(place), "{code}: {found:?}");
        }
    }

    #[test]
    fn a_trap_is_told_by_its_cause_place_and_value() {
        assert_eq!(failures("nop; ecall\n    prv=u  ->  trap=ecall-u epc=code+4"), [""; 0]);
        for wrong in ["trap=ecall-s epc=code+4", "trap=ecall-u", "trap=ecall-u epc=code+4 tval=1", ""] {
            let found = failures(&format!("nop; ecall\n    prv=u  ->  {wrong}"));
            assert_eq!(found.len(), 1, "{wrong}");
        }
    }
}
