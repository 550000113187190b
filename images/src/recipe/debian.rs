//! `debian`: a Debian 13 system on an ext4 disk image.
//!
//! ```text
//! apt's plan ─► packages ─► tree (fakeroot) ─► dpkg's database ─► mke2fs -d
//!                                                                     │
//!     disk image, configured ◄─ e2fsck ◄─ guest: dpkg --configure -a ◄┘
//! ```
//! No step needs root: the packages' own scripts run where they belong, in a
//! guest on the very machine the image is for.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::initramfs::{self, BUSYBOX_PACKAGE, Script};
use super::kernel::{self, Kernel};
use super::{Recipe, Work};
use crate::apt::{Package, Root};
use crate::command;
use crate::dpkg::{self, Database};
use crate::manifest::Inputs;
use crate::vmm::Guest;

/// The recipe.
pub struct Debian;

/// Debian's minimal system, and the tools that make it one to work with.
const SELECTION: &[&str] = &[
    "?essential",
    "?priority(required)",
    "?priority(important)",
    "dbus",
    "libpam-systemd",
    "python3-minimal",
    "gcc",
    "libc6-dev",
];

const SIZE: &str = "4G";
const CONFIGURE: &str = "var/lib/vm-boot-configure";
const DONE: &str = "vm-boot: debian configured";

const SCRIPTS: &[Script] = &[Script { path: "init", text: include_str!("../../guest/debian-init") }];
const CONFIGURE_SCRIPT: &str = include_str!("../../guest/debian-configure");
const UNPACK_SCRIPT: &str = include_str!("../../host/unpack");

/// What decides, beside the scripts, what the disk image holds.
const SOURCES: &[&str] =
    &[CONFIGURE_SCRIPT, UNPACK_SCRIPT, include_str!("debian.rs"), include_str!("../dpkg.rs")];

/// Files that an installer would write.
const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "debian\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost ip6-loopback\n"),
    ("etc/fstab", "LABEL=debian / ext4 errors=remount-ro 0 1\n"),
    (
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n",
    ),
    ("etc/default/locale", "LANG=C.UTF-8\n"),
];

impl Recipe for Debian {
    fn name(&self) -> &'static str {
        "debian"
    }

    fn about(&self) -> &'static str {
        "Debian 13 on a disk image: systemd, apt, python3, gcc; root logs in without a password"
    }

    fn inputs(&self) -> Inputs {
        let inputs = Inputs::default().add_all(initramfs::SOURCES).add_all(SOURCES);
        SCRIPTS.iter().fold(inputs, |inputs, script| inputs.add(script.text))
    }

    fn packages(&self, root: &Root) -> Result<Vec<Package>> {
        let mut packages = vec![kernel::package(root)?, root.exactly(BUSYBOX_PACKAGE)?];
        packages.append(&mut root.with_dependencies(SELECTION)?);
        Ok(packages)
    }

    fn runs_a_guest(&self) -> bool {
        true
    }

    fn build(&self, work: &Work) -> Result<()> {
        let kernel = Kernel::unpack(work)?;
        kernel.copy_image(work.into)?;
        initramfs::write(work, &kernel, SCRIPTS)?;
        let system = System::new(work)?;
        system.unpack()?;
        system.install_modules(kernel)?;
        system.record_packages()?;
        system.write_files()?;
        let disk = work.into.join("disk.img");
        system.make_file_system(&disk)?;
        configure(work, &disk)?;
        check(&disk)
    }
}

/// The system's tree on the host, and what belongs to it.
struct System<'a> {
    work: &'a Work<'a>,
    tree: PathBuf,
    lists: PathBuf,
    /// Owners and modes as the guest will see them.
    owners: PathBuf,
}

impl<'a> System<'a> {
    fn new(work: &'a Work<'a>) -> Result<Self> {
        let inside = |name| work.scratch.join(name);
        let system = Self { work, tree: inside("tree"), lists: inside("lists"), owners: inside("owners") };
        dpkg::make_directory(&system.tree)?;
        dpkg::make_directory(&system.lists)?;
        Ok(system)
    }

    /// The packages of the system itself; the first two are the kernel's and busybox.
    fn packages(&self) -> &[PathBuf] {
        &self.work.files[2..]
    }

    fn fakeroot(&self) -> Command {
        let mut command = Command::new("fakeroot");
        command.arg("-s").arg(&self.owners);
        if self.owners.exists() {
            command.arg("-i").arg(&self.owners);
        }
        command.arg("--").env("PATH", path_with_sbin());
        command
    }

    fn unpack(&self) -> Result<()> {
        let step = self.work.progress.counting("unpacking packages", self.packages().len() as u64);
        let mut command = self.fakeroot();
        command.args(["bash", "-c", UNPACK_SCRIPT, "unpack"]).arg(&self.tree).arg(&self.lists);
        let mut done = 0;
        command::lines(command.args(self.packages()), |_| {
            done += 1;
            step.at(done);
        })
    }

    /// The kernel itself comes from outside, so its package is not installed and
    /// only its modules are there.
    fn install_modules(&self, kernel: Kernel) -> Result<()> {
        let _step = self.work.progress.waiting("indexing the kernel's modules");
        let version = kernel.move_modules(&self.tree.join("usr/lib/modules"))?;
        let mut depmod = Command::new("depmod");
        depmod.env("PATH", path_with_sbin()).arg("-b").arg(&self.tree).arg(version);
        command::output(&mut depmod).map(drop)
    }

    fn record_packages(&self) -> Result<()> {
        let step = self.work.progress.counting("recording packages", self.packages().len() as u64);
        let mut database = Database::new(&self.tree)?;
        let control = self.work.scratch.join("control");
        dpkg::make_directory(&control)?;
        for (done, package) in self.packages().iter().enumerate() {
            let name = package.file_name().unwrap_or_default();
            let listing = fs::read_to_string(self.lists.join(name))?;
            database.add(package, &listing, &self.tree, &control.join(name))?;
            step.at(done as u64 + 1);
        }
        database.finish()
    }

    fn write_files(&self) -> Result<()> {
        for (path, text) in FILES {
            self.write(path, text, 0o644)?;
        }
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: trixie\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            self.work.mirror
        );
        self.write("etc/apt/sources.list.d/debian.sources", &sources, 0o644)?;
        self.write(CONFIGURE, CONFIGURE_SCRIPT, 0o755)
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let path = self.tree.join(path);
        if let Some(parent) = path.parent() {
            dpkg::make_directory(parent)?;
        }
        dpkg::write(&path, text, mode)
    }

    /// A new file reads as zeros, so nothing needs to be written to say so, on
    /// the host or later in the guest.
    fn make_file_system(&self, disk: &Path) -> Result<()> {
        let _step = self.work.progress.waiting("making the file system");
        let mut command = self.fakeroot();
        command.args(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "debian", "-m", "1"]);
        command.args(["-E", "root_owner=0:0,assume_storage_prezeroed=1", "-d"]);
        command::output(command.arg(&self.tree).arg(disk).arg(SIZE)).map(drop)
    }
}

/// Boots the unconfigured system with the script as its first process.
fn configure(work: &Work, disk: &Path) -> Result<()> {
    let total = work.files.len() as u64 - 2;
    let step = work.progress.counting("configuring packages in a guest", total);
    let guest = Guest {
        kernel: &work.into.join("Image"),
        initramfs: &work.into.join("initramfs.cpio"),
        command_line: &format!("console=ttyS0 quiet root=/dev/vda init=/{CONFIGURE}"),
        disk,
    };
    let mut configured = 0;
    let mut verdict = None;
    work.vmm.run(&guest, work.log, |line| {
        if line.starts_with("Setting up ") {
            configured += 1;
            step.at(configured);
        } else if line.starts_with("vm-boot: debian ") {
            verdict = Some(line.to_owned());
        }
    })?;
    ensure!(
        verdict.as_deref().is_some_and(|verdict| verdict.starts_with(DONE)),
        "expected {DONE:?} from the guest, found {}; its console is in {}",
        verdict.as_deref().unwrap_or("no such line"),
        work.log.display()
    );
    ensure!(
        configured == total,
        "expected {total} packages to be configured, found {configured}; the console is in {}",
        work.log.display()
    );
    Ok(())
}

/// A file system that was left in order has nothing to repair and no journal to
/// replay; the latter is only a warning to e2fsck.
fn check(disk: &Path) -> Result<()> {
    let mut command = Command::new("e2fsck");
    command.env("PATH", path_with_sbin()).env("LC_ALL", "C").arg("-fn").arg(disk);
    let report = command.output().context("starting e2fsck")?;
    let said = String::from_utf8_lossy(&report.stdout) + String::from_utf8_lossy(&report.stderr);
    ensure!(
        report.status.success() && !said.contains("journal recovery"),
        "{}: expected a clean file system, found\n{said}",
        disk.display()
    );
    Ok(())
}

/// The file-system tools live in sbin, which is not on everyone's path.
fn path_with_sbin() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsStr::new(":/usr/sbin:/sbin"));
    path
}
