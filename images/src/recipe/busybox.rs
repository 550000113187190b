//! `linux-busybox`: Debian's kernel and an initramfs with a shell.
//!
//! What the guest does is in `guest/busybox-*`: it prints `vm-boot: busybox
//! ready` and gives a shell on the console.

use anyhow::Result;

use super::initramfs::{self, BUSYBOX_PACKAGE, Script};
use super::kernel::{self, Kernel};
use super::{Recipe, Work};
use crate::apt::{Package, Root};
use crate::manifest::Inputs;

/// The recipe.
pub struct Busybox;

const SCRIPTS: &[Script] = &[
    Script { path: "init", text: include_str!("../../guest/busybox-init") },
    Script { path: "etc/inittab", text: include_str!("../../guest/busybox-inittab") },
    Script { path: "etc/rc", text: include_str!("../../guest/busybox-rc") },
];

impl Recipe for Busybox {
    fn name(&self) -> &'static str {
        "linux-busybox"
    }

    fn about(&self) -> &'static str {
        "Debian's kernel and a busybox shell in an initramfs"
    }

    fn inputs(&self) -> Inputs {
        let inputs = Inputs::default().add_all(initramfs::SOURCES).add(include_str!("busybox.rs"));
        SCRIPTS.iter().fold(inputs, |inputs, script| inputs.add(script.text))
    }

    fn packages(&self, root: &Root) -> Result<Vec<Package>> {
        Ok(vec![kernel::package(root)?, root.exactly(BUSYBOX_PACKAGE)?])
    }

    fn build(&self, work: &Work) -> Result<()> {
        let kernel = Kernel::unpack(work)?;
        kernel.copy_image(work.into)?;
        initramfs::write(work, &kernel, SCRIPTS)
    }
}
