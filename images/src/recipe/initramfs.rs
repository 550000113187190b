//! The part every initramfs shares: busybox, the drivers of the machine's
//! devices, and the shell functions that load them.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};

use super::Work;
use super::kernel::Kernel;
use crate::apt;
use crate::cpio::Archive;
use crate::module::{alias_table, dependency_table};

/// Debian's package of busybox, linked statically.
pub const BUSYBOX_PACKAGE: &str = "busybox-static";

/// Shell functions for every `/init`.
const EARLY: &str = include_str!("../../guest/early");

/// Everything that decides what [`write()`] makes of its arguments.
pub const SOURCES: &[&str] = &[
    EARLY,
    include_str!("initramfs.rs"),
    include_str!("kernel.rs"),
    include_str!("../cpio.rs"),
    include_str!("../module.rs"),
];

/// Modules beyond what Debian builds into the kernel. `crc32c_generic` is what
/// ext4 asks for by alias.
const MODULES: &[&str] =
    &["virtio_mmio", "virtio_blk", "virtio_rng", "virtio_net", "virtio_balloon", "crc32c_generic", "ext4"];

const DIRECTORIES: &[&str] = &[
    "bin",
    "sbin",
    "usr",
    "usr/bin",
    "usr/sbin",
    "etc",
    "proc",
    "sys",
    "dev",
    "mnt",
    "run",
    "tmp",
    "root",
    "lib",
    "lib/modules",
];

/// An executable script of the archive.
pub struct Script {
    /// Where it goes, without the leading slash.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Writes `into/initramfs.cpio`, not packed: unpacking costs the guest more time
/// than the few megabytes cost the host.
pub fn write(work: &Work, kernel: &Kernel, scripts: &[Script]) -> Result<()> {
    let _step = work.progress.waiting("writing the initramfs");
    let path = work.into.join("initramfs.cpio");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    archive.character_device("dev/console", 5, 1)?;
    archive.file("bin/busybox", 0o755, &busybox(work)?)?;
    archive.file("etc/early", 0o644, EARLY.as_bytes())?;
    for script in scripts {
        archive.file(script.path, 0o755, script.text.as_bytes())?;
    }
    modules(&mut archive, kernel)?;
    archive.finish()?.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

fn busybox(work: &Work) -> Result<Vec<u8>> {
    let tree = work.scratch.join("busybox");
    apt::unpack(work.file_of(BUSYBOX_PACKAGE)?, &tree)?;
    let path = tree.join("usr/bin/busybox");
    fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

fn modules(archive: &mut Archive<BufWriter<File>>, kernel: &Kernel) -> Result<()> {
    let modules = kernel.modules()?.with_dependencies(MODULES)?;
    let base = format!("lib/modules/{}", kernel.version);
    let mut made = vec![Path::new("lib/modules").to_path_buf()];
    for module in &modules {
        let path = Path::new(&base).join(&module.path);
        let mut parents: Vec<_> =
            path.ancestors().skip(1).take_while(|parent| !made.contains(&parent.to_path_buf())).collect();
        parents.reverse();
        for parent in parents {
            archive.directory(&parent.to_string_lossy())?;
            made.push(parent.to_path_buf());
        }
        archive.file(&path.to_string_lossy(), 0o644, &module.elf)?;
    }
    archive.file(&format!("{base}/modules.dep"), 0o644, dependency_table(&modules).as_bytes())?;
    archive.file(&format!("{base}/modules.alias"), 0o644, alias_table(&modules).as_bytes())?;
    Ok(())
}
