//! Debian 13 from a disk until it asks who logs in.

use super::limits::{DEBIAN, DEBIAN_AHEAD};
use super::machine::{Guest, Machine};
use super::process::Process;
use super::report::{Samples, Unit};
use crate::ahead::Ahead;
use crate::debian::{APPEND, Debian, Disk, image};
use anyhow::{Context, Result};

/// Boots by the JIT alone, from an image of what a boot executed, and on QEMU; makes the image first.
pub fn measure(made: &mut Option<Ahead>, samples: &mut Samples) -> Result<()> {
    let ahead = match made {
        Some(ahead) => ahead,
        None => made.insert(Ahead::of(|profile| -> Result<()> {
            Debian::boot(&Disk::new().path(), "1", &["--profile", profile]).power_off();
            Ok(())
        })?),
    };
    let options = ahead.options();
    boot(Machine::VmBoot, &[], &[DEBIAN], samples)?;
    boot(Machine::VmBoot, &options.each_ref().map(String::as_str), &[DEBIAN_AHEAD], samples)?;
    boot(Machine::Qemu, &[], &[DEBIAN, DEBIAN_AHEAD], samples)
}

/// Boots a fresh copy of the disk on one hart, and ends the machine at the login.
fn boot(machine: Machine, options: &[&str], groups: &[&str], samples: &mut Samples) -> Result<()> {
    let (disk, kernel, initrd) = (Disk::new(), image("Image"), image("initramfs.cpio"));
    let guest = Guest {
        kernel: &kernel,
        initrd: Some(&initrd),
        append: APPEND,
        memory: "1G",
        disk: Some(&disk.path()),
        options,
    };
    let mut process = Process::start(&mut machine.command(&guest)?)?;
    process.wait_for("login: ").with_context(|| format!("booting Debian on {}", machine.name()))?;
    let wall = process.elapsed();
    let usage = process.kill()?;
    for group in groups {
        samples.add(group, "cpu time", Unit::Ns, machine.name(), usage.cpu.as_secs_f64() * 1e9);
        samples.add(group, "wall time", Unit::Ns, machine.name(), wall.as_secs_f64() * 1e9);
    }
    Ok(())
}
