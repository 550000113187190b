//! Runs binutils on words.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "binutils-riscv64-linux-gnu";

/// What the object file claims to be made of: all that binutils 2.40 knows of our table.
const ARCH: &str =
    "rv64imafdc_zicsr_zifencei_zicbom_zicbop_zicboz_zihintpause_zawrs_zfhmin_zba_zbb_zbs_svinval";

fn run(tool: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(tool).args(args).current_dir(dir).output().unwrap_or_else(|e| match e.kind() {
        ErrorKind::NotFound => panic!("{tool} is not installed: install the package {PACKAGE}"),
        _ => panic!("{tool} does not start: {e}"),
    });
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("objdump writes ASCII")
}

/// The text of each word of `size` bytes, the n-th at address n × `size`; none for what is no instruction.
/// `name` tells the callers' files apart.
pub fn disassemble(name: &str, words: &[u32], size: u64) -> Vec<Option<String>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, object) = (format!("{name}.s"), format!("{name}.o"));
    std::fs::write(dir.join(&source), text(words, size)).expect("the directory for tests can be written");
    run("riscv64-linux-gnu-as", &["-o", &object, &source], dir);
    let args = ["-D", "-z", "-j", ".text", "-M", "no-aliases,numeric", &object];
    let listing = run("riscv64-linux-gnu-objdump", &args, dir);
    listing.lines().filter_map(line).collect()
}

fn text(words: &[u32], size: u64) -> String {
    let mut text = format!(".attribute arch, \"{ARCH}\"\n.text\n");
    for word in words {
        writeln!(text, ".{size}byte {word:#x}").expect("writing to a string does not fail");
    }
    text
}

/// A line of a listing, if it is one of an instruction:
/// `   4:\tfe520ce3          \tbeq\tx4,x5,8 <.text+0x8>`.
fn line(line: &str) -> Option<Option<String>> {
    let mut fields = line.split('\t');
    let (address, _bits, mnemonic) = (fields.next()?, fields.next()?, fields.next()?);
    address.trim().strip_suffix(':')?;
    if mnemonic.starts_with('.') {
        return Some(None);
    }
    Some(Some(match fields.next() {
        None => mnemonic.trim().to_owned(),
        Some(operands) => format!("{mnemonic} {}", hexadecimal_target(operands)),
    }))
}

/// Without the symbolic form of a target, which goes `8 <.text+0x8>`, and with `0x` before its number.
fn hexadecimal_target(operands: &str) -> String {
    let operands = operands.split(" # ").next().unwrap_or(operands);
    let Some((operands, _symbol)) = operands.split_once(" <") else { return operands.to_owned() };
    let (others, target) = operands.split_at(operands.rfind(',').map_or(0, |comma| comma + 1));
    format!("{others}0x{target}")
}
