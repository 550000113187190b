//! `qemu`: QEMU 10 for RISC-V, unpacked rather than installed, for benches to
//! compare with.
//!
//! On Debian 12 that version lies in the backports, and enabling those would
//! change the host's own sources. Unpacked with every library it needs, down to
//! the dynamic linker, it runs beside the host's software and is removed with
//! its directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Recipe, Work};
use crate::apt::{self, Archive, Package, Root};
use crate::command;
use crate::host;
use crate::manifest::Inputs;

/// The recipe.
pub struct Qemu;

const PACKAGE: &str = "qemu-system-riscv";
/// The program, in the directory of the output.
pub const PROGRAM: &str = "qemu-system-riscv64";

/// What an x86-64 host is called in Debian's archive and in its library paths.
const ARCHITECTURE: &str = "amd64";
const TRIPLET: &str = "x86_64-linux-gnu";
const LINKER: &str = "ld-linux-x86-64.so.2";

/// Debian 13 has QEMU 10 itself; Debian 12 has it in the backports.
fn suites(codename: &str) -> Vec<String> {
    let own = codename.to_owned();
    if codename == "bookworm" { vec![own, "bookworm-backports".into()] } else { vec![own] }
}

/// Starts the program with the unpacked linker and libraries. Debian 12 keeps some
/// of them in `lib`, Debian 13 all in `usr/lib`.
fn wrapper() -> String {
    format!(
        "#!/bin/sh\n\
         root=$(dirname \"$(readlink -f \"$0\")\")/root\n\
         for lib in \"$root/lib/{TRIPLET}\" \"$root/usr/lib/{TRIPLET}\"; do\n\
         \x20   [ -e \"$lib/{LINKER}\" ] && break\n\
         done\n\
         exec \"$lib/{LINKER}\" --library-path \"$root/lib/{TRIPLET}:$root/usr/lib/{TRIPLET}\" \\\n\
         \x20   \"$root/usr/bin/{PROGRAM}\" -L \"$root/usr/share/qemu\" \"$@\"\n"
    )
}

impl Recipe for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn about(&self) -> &'static str {
        "QEMU 10 for RISC-V with all its libraries, for benches to compare with"
    }

    fn inputs(&self) -> Inputs {
        Inputs::default().add(include_str!("qemu.rs"))
    }

    fn archive(&self) -> Result<Archive> {
        Ok(Archive { architecture: ARCHITECTURE.into(), suites: suites(&host::codename()?) })
    }

    fn packages(&self, root: &Root) -> Result<Vec<Package>> {
        root.with_dependencies(&[PACKAGE])
    }

    fn build(&self, work: &Work) -> Result<()> {
        let root = work.into.join("root");
        let step = work.progress.counting("unpacking QEMU", work.files.len() as u64);
        for (done, file) in work.files.iter().enumerate() {
            apt::unpack(file, &root)?;
            step.at(done as u64 + 1);
        }
        let program = work.into.join(PROGRAM);
        fs::write(&program, wrapper())?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        command::output(Command::new(&program).arg("--version")).context("trying the unpacked QEMU").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_12_needs_the_backports() {
        assert_eq!(suites("bookworm"), ["bookworm", "bookworm-backports"]);
        assert_eq!(suites("trixie"), ["trixie"]);
    }

    #[test]
    fn the_wrapper_is_a_script_the_shell_accepts() {
        let mut shell = Command::new("sh");
        shell.args(["-n", "-c", &wrapper()]);
        command::output(&mut shell).unwrap();
    }
}
