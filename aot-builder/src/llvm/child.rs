//! Child processes that read all of their input, write all of their output, and do not outlive this one.

#![allow(unsafe_code, reason = "a child is told to die with its parent between fork and exec")]

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// What a child left behind.
#[derive(Debug)]
pub(super) struct Ended {
    pub status: ExitStatus,
    pub output: Vec<u8>,
    /// What it complained of.
    pub errors: String,
}

/// Runs `command` on `input` to its end.
pub(super) fn run(command: &mut Command, input: &[u8]) -> io::Result<Ended> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only what is async-signal-safe may be done: this is one system call, which
    // allocates nothing and takes no lock.
    unsafe { command.pre_exec(die_with_parent) };
    let mut child = command.spawn()?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut output = Vec::new();
    let (read, errors) = thread::scope(|scope| {
        // A child that ends early does not read all: what it says of that counts.
        let writer = scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let complaints = scope.spawn(move || {
            let mut text = Vec::new();
            stderr.map(|mut stderr| stderr.read_to_end(&mut text)).transpose().map(|_| text)
        });
        let read = child.stdout.take().map(|mut stdout| stdout.read_to_end(&mut output)).transpose();
        _ = writer.join();
        (read, complaints.join().unwrap_or_else(|_| Ok(Vec::new())))
    });
    let status = child.wait()?;
    read?;
    Ok(Ended { status, output, errors: String::from_utf8_lossy(&errors?).into_owned() })
}

/// The thread that starts a child waits for it, so the child is killed only if this process is.
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}
