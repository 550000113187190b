//! Linux as a guest: the boot to its marker, and the bench programs inside it.

use super::machine::{Guest, Machine};
use super::overlay::{self, BEGIN};
use super::process::Process;
use super::programs::{Length, Measured};
use crate::host::repository;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MARKER: &str = "vm-boot: busybox ready";
const APPEND: &str = "console=ttyS0";
const MEMORY: &str = "512M";

/// A file of `linux-busybox`.
pub(super) fn image(file: &str) -> Result<PathBuf> {
    let path = repository("images/out/linux-busybox").join(file);
    if !path.exists() {
        bail!("expected {}: `cargo run -p images -- linux-busybox` puts it there", path.display());
    }
    Ok(path)
}

/// What a boot took until the marker.
#[derive(Clone, Copy)]
pub struct Boot {
    /// CPU time of the process.
    pub cpu: Duration,
    /// From the start.
    pub wall: Duration,
}

/// Boots to the shell's marker and ends the machine there. `options` are for `vm-boot`.
pub fn boot(machine: Machine, options: &[&str]) -> Result<Boot> {
    let (kernel, initrd) = (image("Image")?, image("initramfs.cpio")?);
    let guest =
        Guest { kernel: &kernel, initrd: Some(&initrd), append: APPEND, memory: MEMORY, disk: None, options };
    let mut process = Process::start(&mut machine.command(&guest)?)?;
    process.wait_for(MARKER).with_context(|| format!("booting Linux on {}", machine.name()))?;
    let wall = process.elapsed();
    Ok(Boot { cpu: process.kill()?.cpu, wall })
}

/// A program's run in a guest.
pub struct GuestRun {
    /// What the program said.
    pub said: Measured,
    /// CPU time of the machine's process from the program's start to its end.
    pub host_cpu: Duration,
}

/// Makes the initramfs with the programs, for [`run`].
pub fn prepare(names: &[String], length: Length) -> Result<PathBuf> {
    overlay::with_programs(&image("initramfs.cpio")?, names, length)
}

/// Boots an initramfs of [`prepare`] and collects what its programs took. `options` are for `vm-boot`.
pub fn run(machine: Machine, initramfs: &Path, options: &[&str]) -> Result<Vec<GuestRun>> {
    let kernel = image("Image")?;
    let guest = Guest {
        kernel: &kernel,
        initrd: Some(initramfs),
        append: APPEND,
        memory: MEMORY,
        disk: None,
        options,
    };
    let mut process = Process::start(&mut machine.command(&guest)?)?;
    let (mut runs, mut begun) = (Vec::new(), None);
    while let Some(line) = process.line()? {
        if let Some(name) = line.strip_prefix(BEGIN) {
            begun = Some((name.to_string(), process.cpu()?));
        } else if let Some(said) = Measured::parse(&line) {
            let (name, before) = begun.take().with_context(|| format!("{} was not announced", said.name))?;
            if name != said.name {
                bail!("expected a result of {name}, found one of {}", said.name);
            }
            runs.push(GuestRun { said, host_cpu: process.cpu()? - before });
        } else if line.starts_with("bench: ") {
            bail!("{}: {line}", machine.name());
        }
    }
    let usage = process.finish()?;
    if usage.code != Some(0) {
        bail!("{}: expected the guest to power off with code 0, found {:?}", machine.name(), usage.code);
    }
    Ok(runs)
}
