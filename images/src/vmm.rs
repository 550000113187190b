//! Runs a guest to its end while an image is made: in our own `vm-boot`, or in
//! QEMU to compare.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A guest that says nothing for so long has stopped.
const SILENCE: Duration = Duration::from_secs(900);

/// Lines of the console kept for an error message.
const TAIL: usize = 15;

/// The program that runs the guest.
#[derive(Clone, Debug)]
pub enum Vmm {
    /// Our own, at this path.
    VmBoot(PathBuf),
    /// `qemu-system-riscv64`, at this path.
    Qemu(PathBuf),
}

/// What a guest is started with.
pub struct Guest<'a> {
    /// The kernel.
    pub kernel: &'a Path,
    /// Its initramfs.
    pub initramfs: &'a Path,
    /// Its command line.
    pub command_line: &'a str,
    /// Its disk, raw.
    pub disk: &'a Path,
}

/// Kills the program when the guest is given up.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Vmm {
    /// `setpriv` has the kernel end the guest with this process, however that ends.
    fn command(&self, guest: &Guest) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        // In an option of several fields a comma is doubled to stand for itself.
        let disk = guest.disk.display().to_string().replace(',', ",,");
        match self {
            Self::VmBoot(program) => {
                command.arg(program).arg("run").args(["--memory", "1G", "--cpus", "2"]);
                command.arg("--kernel").arg(guest.kernel).arg("--initrd").arg(guest.initramfs);
                command.args(["--append", guest.command_line]);
                command.args(["--disk", &format!("file={disk}")]);
            }
            Self::Qemu(program) => {
                command.arg(program).args([
                    "-M",
                    "virt",
                    "-m",
                    "1G",
                    "-smp",
                    "2",
                    "-nographic",
                    "-no-reboot",
                ]);
                command.arg("-kernel").arg(guest.kernel).arg("-initrd").arg(guest.initramfs);
                command.args(["-append", guest.command_line]);
                command.arg("-drive").arg(format!("file={disk},format=raw,if=none,id=disk,cache=unsafe"));
                command.args(["-device", "virtio-blk-device,drive=disk"]);
            }
        }
        command
    }

    fn program(&self) -> &Path {
        match self {
            Self::VmBoot(program) | Self::Qemu(program) => program,
        }
    }

    /// Runs the guest until it powers off, hands each line of its console to
    /// `line`, and keeps all of them in the file `log`.
    pub fn run(&self, guest: &Guest, log: &Path, mut line: impl FnMut(&str)) -> Result<()> {
        let mut command = self.command(guest);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let program = self.program().display();
        let mut running = Running(child.with_context(|| format!("starting {program}"))?);
        let mut log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let mut last = VecDeque::new();
        let lines = console(&mut running.0);
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(text) => {
                    writeln!(log, "{text}")?;
                    line(&text);
                    last.push_back(text);
                    if last.len() > TAIL {
                        last.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "expected the guest to go on, found it silent for {} s; the last it said:\n{}",
                    SILENCE.as_secs(),
                    Vec::from(last).join("\n")
                ),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status: ExitStatus = running.0.wait()?;
        ensure!(
            status.success(),
            "{program}: expected the guest to power off, found {status}; the last it said:\n{}",
            Vec::from(last).join("\n")
        );
        Ok(())
    }
}

/// The lines of the guest's console, as they come; the channel closes with it.
fn console(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stand-in for the VMM: a script.
    fn run(script: &str) -> (Result<()>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("vmm");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path();
        let guest = Guest { kernel: path, initramfs: path, command_line: "quiet", disk: path };
        let mut lines = Vec::new();
        let result = Vmm::VmBoot(program).run(&guest, &path.join("log"), |line| lines.push(line.to_owned()));
        (result, lines)
    }

    #[test]
    fn the_console_comes_line_by_line() {
        let (result, lines) = run("printf 'one\\r\\ntwo\\r\\n'");
        result.unwrap();
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_failed_guest_is_reported_with_its_last_words() {
        let (result, _) = run("echo panic; exit 1");
        let error = result.unwrap_err().to_string();
        assert!(error.contains("exit status: 1") && error.contains("panic"), "{error}");
    }

    #[test]
    fn the_guest_gets_what_it_was_given() {
        let (_, lines) = run("echo \"$@\"");
        assert!(lines[0].contains("--append quiet --disk file=/"), "{lines:?}");
    }
}
