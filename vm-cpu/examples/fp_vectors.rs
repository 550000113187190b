//! Writes the C program that makes the floating-point vectors of the tests: real RISC-V instructions,
//! run by QEMU (10 or newer, for Zfa), whose soft-float descends from Berkeley's.
//!
//! ```sh
//! cargo run -p vm-cpu --example fp_vectors > vectors.c
//! riscv64-linux-gnu-gcc -static -o vectors vectors.c
//! qemu-riscv64 -cpu max vectors > vm-cpu/tests/fp/vectors.txt
//! ```

use std::fmt::Write;

use vm_cpu::isa::emit::Fp;

#[path = "../tests/fp/instructions.rs"]
mod instructions;
#[path = "../tests/fp/operands.rs"]
mod operands;

use instructions::Instruction;
use operands::{MODES, Operands};

/// Cases of each instruction in each mode it has.
const CASES_ROUNDING: usize = 10;
const CASES_PLAIN: usize = 30;

const HEAD: &str = r#"#include <stdint.h>
#include <stdio.h>
typedef struct { uint64_t result, flags; } Outcome;
typedef Outcome (*Stub)(uint64_t a, uint64_t b, uint64_t c);
"#;

const MAIN: &str = r#"int main(void) {
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    Outcome o = cases[i].stub(cases[i].a, cases[i].b, cases[i].c);
    printf("%s %llx %llx %llx %llx %llx\n", cases[i].name,
      (unsigned long long)cases[i].a, (unsigned long long)cases[i].b, (unsigned long long)cases[i].c,
      (unsigned long long)o.result, (unsigned long long)o.flags);
  }
}
"#;

/// The program as it grows: stubs before the table of cases.
#[derive(Default)]
struct Program {
    stubs: String,
    cases: String,
    count: usize,
}

impl Program {
    /// A stub loads fa0..fa2, does the one instruction on fa0 or a0, and returns result and flags.
    fn stub(&mut self, i: &Instruction, word: u32) -> std::fmt::Result {
        self.count += 1;
        let n = self.count;
        let back = if i.to_int { "" } else { "fmv.x.d a0, fa0; " };
        writeln!(self.stubs, "Outcome stub{n}(uint64_t, uint64_t, uint64_t);")?;
        writeln!(
            self.stubs,
            "__asm__(\"stub{n}: fmv.d.x fa0, a0; fmv.d.x fa1, a1; fmv.d.x fa2, a2; \
             fscsr zero; .word {word:#x}; {back}frflags a1; ret\");"
        )
    }

    /// A case of the last stub.
    fn case(&mut self, name: &str, [a, b, c]: [u64; 3]) -> std::fmt::Result {
        let n = self.count;
        writeln!(self.cases, "  {{stub{n}, \"{name}\", {a:#x}, {b:#x}, {c:#x}}},")
    }

    fn instruction(&mut self, i: &Instruction, stream: &mut Operands) -> std::fmt::Result {
        // fa0, fa1, fa2 and a0 are registers 10, 11, 12 and 10.
        let registers = match i.op {
            Some(Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd) => 12 << 27 | 11 << 20 | 10 << 15 | 10 << 7,
            Some(_) if reads_two(i) => 11 << 20 | 10 << 15 | 10 << 7,
            _ => 10 << 15 | 10 << 7,
        };
        let (modes, cases) = if i.rounds { (&MODES[..], CASES_ROUNDING) } else { (&MODES[..1], CASES_PLAIN) };
        for (code, rm) in (0..).zip(modes) {
            let name = format!("{} {rm:?}", i.name);
            self.stub(i, i.word | registers | if i.rounds { code << 12 } else { 0 })?;
            for _ in 0..cases {
                self.case(&name, used(i, stream))?;
            }
        }
        Ok(())
    }

    /// `fli`: a stub for each index.
    fn constants(&mut self, i: &Instruction) -> std::fmt::Result {
        for index in 0..32 {
            self.stub(i, i.word | index << 15 | 10 << 7)?;
            self.case(&format!("{} Rne", i.name), [index.into(), 0, 0])?;
        }
        Ok(())
    }
}

fn reads_two(i: &Instruction) -> bool {
    let one = matches!(
        i.op,
        Some(Fp::Sqrt | Fp::Class | Fp::ToInt(_) | Fp::ToIntMod | Fp::FromInt(_) | Fp::FromFmt(_))
            | Some(Fp::Round | Fp::RoundNx)
    );
    !one
}

/// Operands, 0 for those that the instruction does not read.
fn used(i: &Instruction, stream: &mut Operands) -> [u64; 3] {
    let source = match i.op {
        Some(Fp::FromFmt(from)) => from,
        _ => i.fmt,
    };
    let [a, b, c] = if i.from_int { [stream.integer(), 0, 0] } else { stream.triple(source) };
    match i.op {
        Some(Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd) => [a, b, c],
        _ if reads_two(i) => [a, b, 0],
        _ => [a, 0, 0],
    }
}

fn main() -> std::fmt::Result {
    let mut program = Program::default();
    let mut stream = Operands::new(1985);
    for i in instructions::all() {
        match i.op {
            None => program.constants(&i)?,
            Some(_) => program.instruction(&i, &mut stream)?,
        }
    }
    let Program { stubs, cases, .. } = program;
    println!("{HEAD}{stubs}struct {{ Stub stub; const char *name; uint64_t a, b, c; }} cases[] = {{");
    print!("{cases}}};\n{MAIN}");
    Ok(())
}
