//! A child process under measurement: its lines of output as they come, its CPU time at any moment, and what it
//! used in all.

#![allow(unsafe_code, reason = "wait4 and the clock of another process have no safe wrapper in std")]

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

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
    output: BufReader<ChildStdout>,
    start: Instant,
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
        let output = BufReader::new(child.stdout.take().context("standard output of the child")?);
        Ok(Process { child, output, start })
    }

    /// The next line it prints, without its end; `None` when it has closed its output.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let read = self.output.read_until(b'\n', &mut bytes)?;
        Ok((read > 0).then(|| String::from_utf8_lossy(&bytes).trim_end().to_string()))
    }

    /// Reads until `marker` has been printed, be it the end of a line or not.
    pub fn wait_for(&mut self, marker: &str) -> Result<()> {
        let mut seen = Vec::new();
        loop {
            let chunk = self.output.fill_buf()?;
            if chunk.is_empty() {
                bail!("ended without printing `{marker}`; it said:\n{}", String::from_utf8_lossy(&seen));
            }
            let length = chunk.len();
            seen.extend_from_slice(chunk);
            self.output.consume(length);
            if seen.windows(marker.len()).any(|w| w == marker.as_bytes()) {
                return Ok(());
            }
        }
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Result<Duration> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both calls only write through the pointers they are given, which are of locals of the right
        // types; the process has not been waited for, so its id is still its own.
        let failed = unsafe {
            libc::clock_getcpuclockid(pid, &raw mut clock) != 0
                || libc::clock_gettime(clock, &raw mut time) != 0
        };
        if failed {
            bail!("the CPU clock of process {pid} cannot be read: {}", std::io::Error::last_os_error());
        }
        Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
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

    fn wait(self) -> Result<Usage> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        let mut status = 0;
        // SAFETY: `rusage` is plain numbers, for which all zeros is a value.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `pid` is our child, which nobody else waits for: `Child` does so only when asked, and it is
        // dropped after this. wait4 writes to two locals of the right types.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut used) };
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

fn duration(t: libc::timeval) -> Duration {
    Duration::from_secs(t.tv_sec.unsigned_abs()) + Duration::from_micros(t.tv_usec.unsigned_abs())
}
