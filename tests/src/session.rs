//! A program that is talked to: what it prints is waited for, what a person would type is sent.

use crate::bench::process::cpu_of;
use crate::host::chunks;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A running program with its console.
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// Printed and not yet waited for.
    unread: String,
    start: Instant,
}

impl Session {
    /// Starts it. Its standard error goes where the test's goes.
    pub fn start(command: &mut Command) -> Session {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let output = chunks(child.stdout.take().expect("piped"));
        let input = child.stdin.take().expect("piped");
        Session { child, input, output, unread: String::new(), start }
    }

    /// Time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Its number as a process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.child.id()).expect("it runs still")
    }

    /// Types `text`.
    pub fn send(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).expect("the program reads its console");
    }

    /// Waits for `text` and gives what was printed before it.
    pub fn expect(&mut self, text: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.unread.find(text) {
                let rest = self.unread.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.unread, rest);
                before.truncate(at);
                return before;
            }
            self.receive(deadline, text);
        }
    }

    fn receive(&mut self, deadline: Instant, text: &str) {
        match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => self.unread += &String::from_utf8_lossy(&chunk),
            Err(RecvTimeoutError::Timeout) => panic!("no `{text}` in time; unread: `{}`", self.unread),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("it ended before `{text}`; unread: `{}`", self.unread)
            }
        }
    }

    /// Ends it at once, without a chance to do anything more.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs still");
        self.child.wait().expect("our own child");
    }

    /// Waits for its end; gives the exit code, or `None` for a signal, and what it printed last.
    pub fn end(mut self, limit: Duration) -> (Option<i32>, String) {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            assert!(Instant::now() < deadline, "no end in time; unread: `{}`", self.unread);
            std::thread::sleep(Duration::from_millis(5));
        };
        while let Ok(chunk) = self.output.recv_timeout(limit) {
            self.unread += &String::from_utf8_lossy(&chunk);
        }
        (status.code(), std::mem::take(&mut self.unread))
    }
}

/// A test that fails leaves nothing running.
impl Drop for Session {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
