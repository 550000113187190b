//! `firmware`: OpenSBI and U-Boot for a RISC-V `virt` machine, for boots that
//! start in M-mode. From Debian 13 whatever the host is, so that every host
//! tests the same firmware.

use std::fs;

use anyhow::{Context, Result};

use super::{Recipe, Work};
use crate::apt::{self, Package, Root};
use crate::manifest::Inputs;

/// The recipe.
pub struct Firmware;

/// Package, file in it, name in the output.
const FILES: &[(&str, &str, &str)] = &[
    ("opensbi", "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin", "fw_dynamic.bin"),
    ("opensbi", "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin", "fw_jump.bin"),
    ("u-boot-qemu", "usr/lib/u-boot/qemu-riscv64/u-boot.bin", "u-boot-m.bin"),
    ("u-boot-qemu", "usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin", "u-boot-s.bin"),
];

const PACKAGES: &[&str] = &["opensbi", "u-boot-qemu"];

impl Recipe for Firmware {
    fn name(&self) -> &'static str {
        "firmware"
    }

    fn about(&self) -> &'static str {
        "OpenSBI (fw_dynamic, fw_jump) and U-Boot (for M-mode and for S-mode)"
    }

    fn inputs(&self) -> Inputs {
        Inputs::default().add(include_str!("firmware.rs"))
    }

    fn packages(&self, root: &Root) -> Result<Vec<Package>> {
        PACKAGES.iter().map(|package| root.exactly(package)).collect()
    }

    fn build(&self, work: &Work) -> Result<()> {
        for package in PACKAGES {
            apt::unpack(work.file_of(package)?, &work.scratch.join(package))?;
        }
        for (package, file, name) in FILES {
            let from = work.scratch.join(package).join(file);
            fs::copy(&from, work.into.join(name))
                .with_context(|| format!("copying {file} from Debian's package {package}"))?;
        }
        Ok(())
    }
}
