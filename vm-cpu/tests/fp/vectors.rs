//! Every instruction in every mode against what QEMU made of it; `examples/fp_vectors.rs` tells how the
//! file is made.

use std::collections::{HashMap, HashSet};

use vm_cpu::fp::{self, HostFp, soft};
use vm_cpu::isa::emit::{Fmt, Rm};
use vm_cpu::isa::{Extensions, decode, disassemble};

use crate::instructions::{self, Instruction};
use crate::operands::MODES;

const VECTORS: &str = include_str!("vectors.txt");

/// `name mode a b c result flags`
struct Vector<'a> {
    line: &'a str,
    name: &'a str,
    rm: Rm,
    operands: [u64; 3],
    outcome: (u64, u8),
}

fn parse(line: &str) -> Option<Vector<'_>> {
    let mut words = line.split(' ');
    let (name, mode) = (words.next()?, words.next()?);
    let rm = MODES.into_iter().find(|rm| format!("{rm:?}") == mode)?;
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    let operands = [number()?, number()?, number()?];
    let outcome = (number()?, number()? as u8);
    Some(Vector { line, name, rm, operands, outcome })
}

fn vectors() -> impl Iterator<Item = Vector<'static>> {
    VECTORS.lines().map(|line| parse(line).expect(line))
}

fn check(what: &str, run: impl Fn(&Instruction, &Vector) -> (u64, u8)) {
    let all: HashMap<String, Instruction> =
        instructions::all().into_iter().map(|i| (i.name.clone(), i)).collect();
    for v in vectors() {
        let got = run(&all[v.name], &v);
        assert_eq!(got, v.outcome, "{what}: {} gives {:x} {:x}", v.line, got.0, got.1);
    }
}

fn constant(fmt: Fmt, v: &Vector) -> (u64, u8) {
    (fp::fli_value(fmt, v.operands[0] as u8), 0)
}

#[test]
fn soft_path_is_qemus() {
    check("soft", |i, v| {
        let Some(op) = i.op else { return constant(i.fmt, v) };
        let ([a, b, c], mut flags) = (v.operands, 0);
        (soft::apply(op, i.fmt, v.rm, a, b, c, &mut flags), flags)
    });
}

#[test]
fn apply_is_qemus() {
    check("apply", |i, v| {
        let Some(op) = i.op else { return constant(i.fmt, v) };
        let ([a, b, c], mut flags) = (v.operands, 0);
        (fp::apply(op, i.fmt, v.rm, a, b, c, &mut flags), flags)
    });
}

#[test]
fn session_is_qemus() {
    let session = HostFp::enter();
    check("session", |i, v| {
        let Some(op) = i.op else { return constant(i.fmt, v) };
        let mut flags = 0;
        let bits = session.apply(op, i.fmt, v.rm, v.operands, &mut flags);
        (bits, flags | session.take())
    });
}

#[test]
fn vectors_cover_every_instruction_in_every_mode() {
    let have: HashSet<(&str, String)> = vectors().map(|v| (v.name, format!("{:?}", v.rm))).collect();
    for i in instructions::all() {
        for rm in if i.rounds { &MODES[..] } else { &MODES[..1] } {
            assert!(have.contains(&(i.name.as_str(), format!("{rm:?}"))), "no vector of {} {rm:?}", i.name);
        }
    }
}

/// The vectors were made with these encodings, so the emulator vouches for them.
#[test]
fn encodings_of_the_vectors_decode_to_their_instructions() {
    for i in instructions::all() {
        // QEMU takes this one as part of Zfh, which the table has not.
        if i.name == "fli.h" {
            continue;
        }
        let insn = decode(i.word, Extensions::all()).expect(&i.name);
        let text = disassemble(&insn, 0);
        assert_eq!(text.split_whitespace().next(), Some(i.name.as_str()), "{:#010x} is {text}", i.word);
    }
}
