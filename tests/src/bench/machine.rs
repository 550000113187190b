//! The machines that are compared: `vm-boot` and QEMU, with the same kernel, memory and number of harts.

use crate::debian::disk_option;
use crate::host::{repository, vm_boot};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine that runs guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// This project's.
    VmBoot,
    /// The one to compare with.
    Qemu,
}

/// A guest to start.
pub struct Guest<'a> {
    /// Linux `Image`, or what has its header.
    pub kernel: &'a Path,
    /// Initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// Command line.
    pub append: &'a str,
    /// As both machines write it: `8M`.
    pub memory: &'a str,
    /// Raw image of a disk.
    pub disk: Option<&'a Path>,
    /// More options for `vm-boot`.
    pub options: &'a [&'a str],
}

/// Both, in the order of a round.
pub const MACHINES: [Machine; 2] = [Machine::VmBoot, Machine::Qemu];

impl Machine {
    /// As it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Machine::VmBoot => "vm-boot",
            Machine::Qemu => "qemu",
        }
    }

    /// The command that runs `guest` on it with one hart.
    pub fn command(self, guest: &Guest) -> Result<Command> {
        let mut command = match self {
            Machine::VmBoot => vm_boot_command(guest),
            Machine::Qemu => qemu_command(guest)?,
        };
        if let Some(initrd) = guest.initrd {
            command.arg(self.option("initrd")).arg(initrd);
        }
        match (self, guest.disk) {
            (_, None) => {}
            (Machine::VmBoot, Some(disk)) => {
                command.arg("--disk").arg(disk_option(disk));
            }
            (Machine::Qemu, Some(disk)) => {
                command.arg("-drive").arg(disk_option(disk) + ",if=none,id=disk,format=raw");
                command.args(["-device", "virtio-blk-device,drive=disk"]);
            }
        }
        command.arg(self.option("kernel")).arg(guest.kernel);
        command.arg(self.option("append")).arg(guest.append);
        Ok(command)
    }

    /// The command that runs a bare ELF in M-mode on it, on `cpus` harts in `memory`.
    pub fn bare(self, elf: &Path, cpus: &str, memory: &str) -> Result<Command> {
        let mut command = match self {
            Machine::VmBoot => Command::new(vm_boot()),
            Machine::Qemu => Command::new(qemu()?),
        };
        match self {
            Machine::VmBoot => command.args(["run", "--cpus", cpus, "--memory", memory, "--kernel"]),
            Machine::Qemu => command.args([
                "-M",
                "virt",
                "-nographic",
                "-bios",
                "none",
                "-smp",
                cpus,
                "-m",
                memory,
                "-kernel",
            ]),
        };
        command.arg(elf);
        Ok(command)
    }

    fn option(self, name: &str) -> String {
        match self {
            Machine::VmBoot => format!("--{name}"),
            Machine::Qemu => format!("-{name}"),
        }
    }

    /// What it says of its version.
    pub fn version(self) -> Result<String> {
        let program = match self {
            Machine::VmBoot => vm_boot().to_path_buf(),
            Machine::Qemu => qemu()?,
        };
        let out = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| program.display().to_string())?;
        Ok(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_string())
    }
}

fn vm_boot_command(guest: &Guest) -> Command {
    let mut command = Command::new(vm_boot());
    command.args(["run", "--cpus", "1", "--memory", guest.memory]).args(guest.options);
    command
}

fn qemu_command(guest: &Guest) -> Result<Command> {
    let mut command = Command::new(qemu()?);
    command.args(["-M", "virt", "-nographic", "-smp", "1", "-m", guest.memory]);
    Ok(command)
}

/// The QEMU that the recipe unpacked, which is the version that figures are stated against.
fn qemu() -> Result<PathBuf> {
    let path = repository("images/out/qemu/qemu-system-riscv64");
    if !path.exists() {
        bail!("expected QEMU at {}: `cargo run -p images -- qemu` puts it there", path.display());
    }
    Ok(path)
}
