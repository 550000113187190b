//! Debian on a disk, with somebody at its console.

use crate::host::{Outcome, program, repository, run_limited, scratch, vm_boot};
use crate::session::Session;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Far more than any step takes, on a busy host with every check on.
pub const LIMIT: Duration = Duration::from_secs(400);
/// What its shell prints when it is ready.
pub const PROMPT: &str = "ready> ";
/// Command line of the kernel.
pub const APPEND: &str = "console=ttyS0 root=/dev/vda rw";

/// A file of the image.
///
/// # Panics
/// If the image is not there.
pub fn image(file: &str) -> PathBuf {
    let path = repository("images/out/debian").join(file);
    assert!(path.exists(), "expected {}: `cargo run -p images -- debian` puts it there", path.display());
    path
}

/// A copy of the image's disk. Not in `/tmp`, which may be memory.
pub struct Disk(tempfile::TempDir);

impl Disk {
    /// A fresh one, which goes when this is dropped.
    ///
    /// # Panics
    /// If there is no room.
    #[expect(clippy::new_without_default, reason = "it takes a while and may fail")]
    pub fn new() -> Disk {
        let disk = Disk(tempfile::tempdir_in(scratch("debian")).expect("a temporary directory"));
        let mut copy = Command::new("cp");
        copy.args(["--sparse=always", "--reflink=auto"]).arg(image("disk.img")).arg(disk.path());
        let Outcome { code, output, .. } = run_limited(&mut copy, LIMIT);
        assert_eq!(code, Some(0), "cp: {output}");
        disk
    }

    /// The image.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("disk.img")
    }

    /// What `e2fsck` says of it.
    ///
    /// # Panics
    /// If that finds something to repair.
    pub fn check(&self) -> String {
        let mut check = program("e2fsck", "e2fsprogs");
        let Outcome { code, output, .. } =
            run_limited(check.env("LC_ALL", "C").arg("-fn").arg(self.path()), LIMIT);
        assert_eq!(code, Some(0), "{output}");
        output
    }
}

/// `--disk` for a file, as one field of several.
pub fn disk_option(path: &Path) -> String {
    // In an option of several fields a comma is doubled to stand for itself.
    format!("file={}", path.display().to_string().replace(',', ",,"))
}

/// Debian with root logged in, at the prompt of a shell that does not echo.
pub struct Debian(pub Session);

impl Debian {
    /// Boots `disk` on `cpus` harts, with more options of `vm-boot`, and logs in.
    pub fn boot(disk: &Path, cpus: &str, options: &[&str]) -> Debian {
        Debian::boot_with(&disk_option(disk), cpus, options)
    }

    /// The same with `disk` as the whole option.
    pub fn boot_with(disk: &str, cpus: &str, options: &[&str]) -> Debian {
        let mut command = Command::new(vm_boot());
        command.args(["run", "--memory", "1G", "--cpus", cpus, "--append", APPEND]);
        command.arg("--kernel").arg(image("Image")).arg("--initrd").arg(image("initramfs.cpio"));
        command.args(["--disk", disk]).args(options);
        let mut session = Session::start(&mut command);
        session.expect("login: ", LIMIT);
        session.send("root\r");
        session.expect("# ", LIMIT);
        // In two parts, so that what is typed is not taken for what is printed.
        session.send("stty -echo; PS1='rea''dy> ' exec sh\r");
        session.expect(PROMPT, LIMIT);
        Debian(session)
    }

    /// What a command prints.
    pub fn ask(&mut self, command: &str) -> String {
        self.ask_for(command, LIMIT)
    }

    /// The same of a command that takes so long at most.
    pub fn ask_for(&mut self, command: &str, limit: Duration) -> String {
        self.0.send(&format!("{command}\r"));
        self.0.expect(PROMPT, limit)
    }

    /// Shuts it down in order.
    ///
    /// # Panics
    /// If that fails.
    pub fn power_off(mut self) {
        self.0.send("poweroff\r");
        let (code, last) = self.0.end(LIMIT);
        assert_eq!(code, Some(0), "{last}");
    }
}
