//! Golden texts of meaning: `tests/lift/*.txt` hold lines of assembler, and below each the operations that
//! engines are asked for. `UPDATE_GOLDENS=1` rewrites them.
//!
//! Lines that are not indented are the source: assembler, comments, and `! without c` to take an extension
//! away from there on. Each line is a block of its own.

use std::path::{Path, PathBuf};
use vm_cpu::isa::asm::assemble;
use vm_cpu::isa::{Extension, Extensions, Insn, decode, ir};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lift");

/// The instructions of a line of assembler, as one block.
fn block(line: &str, ext: Extensions) -> Vec<Insn> {
    let bytes = assemble(0, line).unwrap_or_else(|e| panic!("{e}")).bytes;
    let (mut code, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let word = bytes[at..].iter().take(4).rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        let i = decode(word, ext).unwrap_or_else(|| panic!("`{line}` is illegal"));
        code.push(Insn { at: u8::try_from(at / 2).expect("a short block"), ..i });
        at += usize::from(i.len);
    }
    code
}

/// The file as it should be.
fn golden(source: &str) -> String {
    let mut ext = Extensions::all();
    let mut text = String::new();
    for line in source.lines().filter(|line| !line.starts_with(' ')) {
        text += line;
        text.push('\n');
        if let Some(name) = line.strip_prefix("! without ") {
            ext.set(name.parse::<Extension>().expect("an extension"), false);
        } else if !line.starts_with('#') {
            block(line, ext).iter().for_each(|i| text += &ir::operations(i));
        }
    }
    text
}

fn files() -> Vec<PathBuf> {
    let entries = Path::new(DIRECTORY).read_dir().expect("the directory of goldens can be read");
    let files: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    assert!(!files.is_empty(), "{DIRECTORY} is empty");
    files
}

#[test]
fn meanings_lift_to_the_golden_operations() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut changed = Vec::new();
    for path in files() {
        let is = std::fs::read_to_string(&path).expect("a golden can be read");
        let should = golden(&is);
        if is != should && update {
            std::fs::write(&path, should).expect("a golden can be written");
        } else if let Some((line, (is, should))) = first_difference(&is, &should) {
            changed.push(format!("{}:{line}: golden `{is}`, lifted `{should}`", path.display()));
        }
    }
    assert!(changed.is_empty(), "UPDATE_GOLDENS=1 accepts these:\n{}", changed.join("\n"));
}

fn first_difference<'a>(is: &'a str, should: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let longest = is.lines().count().max(should.lines().count());
    let lines = |text: &'a str| text.lines().chain(std::iter::repeat("")).take(longest);
    (1..).zip(lines(is).zip(lines(should))).find(|(_, (is, should))| is != should)
}
