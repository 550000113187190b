//! The committed demo guest is what its sources say: `images/demo/demo.sum` lists the SHA-256 of every source
//! and of the binary, so that a change of one without the other fails here. Where the compiler is the recorded
//! one the binary is also built anew and compared byte for byte.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const COMPILER: &str = "riscv64-unknown-elf-gcc";
const ASSEMBLER: &str = "riscv64-unknown-elf-as";

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/demo")
}

/// `demo.sum`: what the binary was built with, and hash by file name.
struct Record {
    tools: Vec<String>,
    hashes: BTreeMap<String, String>,
}

impl Record {
    fn read() -> Record {
        let text = std::fs::read_to_string(demo().join("demo.sum")).expect("images/demo/demo.sum");
        let tools = text.lines().filter_map(|l| l.strip_prefix("# ")).map(String::from).collect();
        let hashes = text
            .lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.split_once("  ").expect("a line of sha256sum"))
            .map(|(hash, name)| (name.to_string(), hash.to_string()))
            .collect();
        Record { tools, hashes }
    }
}

fn hash(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn is_source(name: &str) -> bool {
    name == "Makefile" || [".c", ".h", ".S", ".lds"].iter().any(|end| name.ends_with(end))
}

#[test]
fn every_source_and_the_binary_are_the_recorded_ones() {
    let record = Record::read();
    let mut sources = 0;
    for entry in std::fs::read_dir(demo()).expect("images/demo") {
        let name = entry.expect("entry").file_name().into_string().expect("name");
        if is_source(&name) {
            sources += 1;
            assert!(record.hashes.contains_key(&name), "{name} is not in demo.sum: run `make record` there");
        }
    }
    assert_eq!(record.hashes.len(), sources + 1, "demo.sum lists each source and demo.bin, and nothing else");
    for (name, recorded) in &record.hashes {
        assert_eq!(
            &hash(&demo().join(name)),
            recorded,
            "{name} differs from demo.sum: run `make record` there"
        );
    }
}

/// First line of `--version`.
fn version(tool: &str) -> String {
    let out = Command::new(tool).arg("--version").output().unwrap_or_else(|e| {
        panic!(
            "{tool}: {e}; it is in Debian's packages gcc-riscv64-unknown-elf and binutils-riscv64-unknown-elf"
        )
    });
    String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_string()
}

#[test]
fn the_sources_build_and_give_the_same_bytes_with_the_recorded_compiler() {
    let record = Record::read();
    let out = tempfile::tempdir().expect("temporary directory");
    let make = Command::new("make")
        .arg(format!("OUT={}", out.path().display()))
        .arg(format!("{}/demo.bin", out.path().display()))
        .current_dir(demo())
        .output()
        .expect("make, in Debian's package make");
    assert!(make.status.success(), "make: {}", String::from_utf8_lossy(&make.stderr));
    let tools = [version(COMPILER), version(ASSEMBLER)];
    if tools == record.tools[..] {
        assert!(make.stderr.is_empty(), "warnings: {}", String::from_utf8_lossy(&make.stderr));
        assert_eq!(hash(&out.path().join("demo.bin")), record.hashes["demo.bin"], "rebuilt demo.bin differs");
    } else {
        eprintln!("bytes not compared: built with {tools:?}, recorded {:?}", record.tools);
    }
}

/// The header by which kernel loaders know a RISC-V Linux `Image`.
#[test]
fn the_binary_has_the_header_of_a_linux_image() {
    let bin = std::fs::read(demo().join("demo.bin")).expect("demo.bin");
    let u64_at = |at: usize| u64::from_le_bytes(bin[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(&bin[48..56], b"RISCV\0\0\0");
    assert_eq!(&bin[56..60], b"RSC\x05");
    assert_eq!(u64_at(8), 0x20_0000, "text offset");
    assert!(u64_at(16) >= bin.len() as u64, "the image size counts .bss");
    assert!(bin.len() < 64 << 10, "tens of KiB");
}
