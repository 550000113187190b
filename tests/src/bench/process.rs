//! A child process under measurement: its lines of output as they come, its CPU time at any moment, and what it
//! used in all.

#![allow(unsafe_code, reason = "wait4 and the clock of another process have no safe wrapper in std")]

use crate::host::chunks;
use anyhow::{Context, Result, bail};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A process that prints nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(300);

/// What a process used until it ended.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all its threads and of children it waited for.
    pub cpu: Duration,
    /// From start to end.
    pub wall: Duration,
    /// Largest resident set, in bytes.
    pub rss: u64,
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// A running child.
pub struct Process {
    child: Child,
    output: Receiver<Vec<u8>>,
    unread: Vec<u8>,
    start: Instant,
    /// Waited for: the process id may be another's by now.
    ended: bool,
}

impl Process {
    /// Starts it with no input; its standard error goes where ours goes.
    pub fn start(command: &mut Command) -> Result<Process> {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
        let output = chunks(child.stdout.take().context("standard output of the child")?);
        Ok(Process { child, output, unread: Vec::new(), start, ended: false })
    }

    /// Reads more of what it prints; false at the end.
    fn more(&mut self) -> Result<bool> {
        match self.output.recv_timeout(SILENCE) {
            Ok(chunk) => self.unread.extend(chunk),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                bail!("nothing printed for {SILENCE:?}, last was: {}", String::from_utf8_lossy(&self.unread))
            }
        }
        Ok(true)
    }

    /// The next line it prints, without its end; `None` when it has closed its output.
    pub fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_string()));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Reads until `marker` has been printed, be it the end of a line or not.
    pub fn wait_for(&mut self, marker: &str) -> Result<()> {
        while !self.unread.windows(marker.len()).any(|w| w == marker.as_bytes()) {
            if !self.more()? {
                bail!(
                    "ended without printing `{marker}`; it said:\n{}",
                    String::from_utf8_lossy(&self.unread)
                );
            }
        }
        Ok(())
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.child.id())
    }

    /// Time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Ends it where it stands and gives what it used.
    pub fn kill(mut self) -> Result<Usage> {
        self.child.kill().context("killing the child")?;
        self.wait()
    }

    /// Reads the rest of its output, waits for its end and gives what it used.
    pub fn finish(mut self) -> Result<Usage> {
        while self.line()?.is_some() {}
        self.wait()
    }

    fn wait(mut self) -> Result<Usage> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        let mut status = 0;
        // SAFETY: `rusage` is plain numbers, for which all zeros is a value.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `pid` is our child, which nobody else waits for: `Child` does so only when asked, and `ended`
        // keeps `drop` from asking. wait4 writes to two locals of the right types.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut used) };
        self.ended = true;
        if waited != pid {
            bail!("waiting for process {pid}: {}", std::io::Error::last_os_error());
        }
        Ok(Usage {
            cpu: duration(used.ru_utime) + duration(used.ru_stime),
            wall: self.start.elapsed(),
            rss: u64::try_from(used.ru_maxrss)? * 1024,
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        })
    }
}

/// An error on the way leaves nothing running.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            // Both fail only where it has ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// CPU time so far of all threads of a process that has not been waited for.
pub fn cpu_of(process: u32) -> Result<Duration> {
    let pid = libc::pid_t::try_from(process)?;
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls only write through the pointers they are given, which are of locals of the right types.
    // A process that is gone is an error, not undefined.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) != 0 || libc::clock_gettime(clock, &raw mut time) != 0
    };
    if failed {
        bail!("the CPU clock of process {pid} cannot be read: {}", std::io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

fn duration(t: libc::timeval) -> Duration {
    Duration::from_secs(t.tv_sec.unsigned_abs()) + Duration::from_micros(t.tv_usec.unsigned_abs())
}
