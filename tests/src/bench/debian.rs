//! Debian 13 from a disk until it asks who logs in.

use super::limits::DEBIAN;
use super::machine::{Guest, Machine};
use super::process::Process;
use super::report::{Samples, Unit};
use crate::debian::{APPEND, Disk, image};
use anyhow::{Context, Result};

/// Boots a fresh copy of the disk on one hart, and ends the machine at the login.
pub fn measure(machine: Machine, samples: &mut Samples) -> Result<()> {
    let (disk, kernel, initrd) = (Disk::new(), image("Image"), image("initramfs.cpio"));
    let guest = Guest {
        kernel: &kernel,
        initrd: Some(&initrd),
        append: APPEND,
        memory: "1G",
        disk: Some(&disk.path()),
        options: &[],
    };
    let mut process = Process::start(&mut machine.command(&guest)?)?;
    process.wait_for("login: ").with_context(|| format!("booting Debian on {}", machine.name()))?;
    let wall = process.elapsed();
    let usage = process.kill()?;
    samples.add(DEBIAN, "cpu time", Unit::Ns, machine.name(), usage.cpu.as_secs_f64() * 1e9);
    samples.add(DEBIAN, "wall time", Unit::Ns, machine.name(), wall.as_secs_f64() * 1e9);
    Ok(())
}
