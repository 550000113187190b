//! What the tests of the program share: running it with a time limit, and small guests in assembly.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use vm_cpu::isa::asm::assemble;

/// First byte of RAM.
pub const RAM: u64 = 0x8000_0000;
/// Where a raw kernel goes in S-mode.
pub const KERNEL: u64 = RAM + 0x20_0000;
/// Far more than any of these guests takes, on a busy host.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory with files for one test.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path as a word of a command.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        word(&path)
    }

    /// Assembles a guest that starts at `base`.
    pub fn program(&self, name: &str, base: u64, source: &str) -> String {
        self.write(name, assemble(base, source).unwrap().bytes)
    }
}

/// A path as a word of a command.
pub fn word(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The program under test.
pub fn vm_boot() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vm-boot"))
}

/// Runs it to its end, without input.
pub fn run(args: &[&str]) -> Output {
    run_with_input(args, b"")
}

/// Runs it to its end with `input` piped in.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut command = vm_boot();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let pid = child.id();
    let waiter = std::thread::spawn(move || child.wait_with_output().unwrap());
    let start = Instant::now();
    while !waiter.is_finished() {
        if start.elapsed() > LIMIT {
            kill(pid, "KILL");
            panic!("{args:?} did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    waiter.join().unwrap()
}

/// Waits for a process to end, within the limit.
pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("the process did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process that the test started. The shell's own `kill` is there when procps is not.
pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]).status().unwrap();
    assert!(status.success());
}

/// Exit code and both outputs as text.
pub fn read(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
