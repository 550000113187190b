//! Notes which sources this crate and those below it are built from, for `aot/layout.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

include!("src/aot/sources.rs");

fn main() -> io::Result<()> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in SOURCES {
        println!("cargo:rerun-if-changed={}", crates.join(name).display());
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output()?.stdout;
    println!("cargo:rustc-env=VM_SOURCES={:016x}", hash_of_sources(&crates, &version)?);
    Ok(())
}
