//! The terminal: raw while the machine runs, and as it was before on every way out.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Files, kill, vm_boot, wait};
use vm_boot::console::terminal::{Pty, open_pty};
use vm_cpu::aot::profile::Profile;

const LIMIT: Duration = Duration::from_secs(60);
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../images/demo/demo.bin");

/// The program on a terminal of its own.
struct Session {
    pty: Pty,
    before: String,
    child: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Session {
    /// Starts the demo on a terminal with usual settings.
    fn demo(args: &[&str]) -> Self {
        Self::start(vm_boot().arg("demo").args(args))
    }

    /// Starts the demo as a kernel, with options that a demo has not.
    fn demo_with(args: &[&str]) -> Self {
        Self::start(vm_boot().args(["run", "--memory", "8M", "--kernel", DEMO]).args(args))
    }

    fn start(command: &mut Command) -> Self {
        let pty = open_pty().unwrap();
        let path = pty.path.to_str().unwrap().to_owned();
        let sane = Command::new("stty").args(["-F", &path, "sane"]).status().unwrap();
        assert!(sane.success());
        let before = settings(&path);
        let end = || Stdio::from(OpenOptions::new().read(true).write(true).open(&path).unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let output = follow(pty.master.try_clone().unwrap());
        Self { pty, before, child, output, seen: String::new() }
    }

    /// Waits until `text` has been printed since the last such wait.
    fn expect(&mut self, text: &str) {
        let start = Instant::now();
        while !self.seen.contains(text) {
            let left = LIMIT.saturating_sub(start.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("expected {text:?}, found {:?} ({error})", self.seen),
            }
        }
        let end = self.seen.find(text).map_or(0, |at| at + text.len());
        self.seen.drain(..end);
    }

    fn type_in(&mut self, text: &str) {
        self.pty.master.write_all(text.as_bytes()).unwrap();
    }

    /// Gives the monitor a command and waits for its answer and the next prompt: whatever is typed before
    /// that may come in before the command is done.
    fn ask(&mut self, command: &str, answers: &[&str]) {
        self.type_in(&format!("{command}\r"));
        answers.iter().for_each(|answer| self.expect(answer));
        self.expect("(vm) ");
    }

    fn wait_until(&self, or: &str, is: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(start.elapsed() < LIMIT, "{or}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The third word of `stat` tells; the second, the name in parentheses, has no space in it here.
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.split(' ').nth(2) == Some("T")
    }

    fn settings(&self) -> String {
        settings(self.pty.path.to_str().unwrap())
    }

    /// Waits for the end; the terminal must be as it was.
    fn ends(&mut self) -> ExitStatus {
        let status = wait(&mut self.child);
        assert_eq!(self.settings(), self.before);
        status
    }

    fn ends_with(mut self, code: i32) {
        assert_eq!(self.ends().code(), Some(code));
    }
}

fn settings(path: &str) -> String {
    let output = Command::new("stty").args(["-F", path, "-a"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Reads on a thread of its own; ends with the terminal.
fn follow(mut master: File) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            if send.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

#[test]
fn quitting_restores_the_terminal() {
    let mut session = Session::demo(&[]);
    session.expect("demo>");
    assert!(session.settings().contains("-icanon"), "raw while it runs");
    session.type_in("\x01x");
    session.ends_with(0);
}

#[test]
fn the_guests_own_end_restores_the_terminal() {
    let mut session = Session::demo(&[]);
    session.expect("demo>");
    session.type_in("exit 3\r");
    session.ends_with(3);
}

#[test]
fn signals_end_in_order_and_restore_the_terminal() {
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut session = Session::demo(&[]);
        session.expect("demo>");
        kill(session.child.id(), signal);
        session.ends_with(code);
    }
}

#[test]
fn faults_restore_the_terminal_and_end_as_faults_do() {
    for (signal, number) in [("SEGV", 11), ("BUS", 7), ("ILL", 4), ("FPE", 8), ("ABRT", 6)] {
        let mut session = Session::demo(&[]);
        session.expect("demo>");
        kill(session.child.id(), signal);
        assert_eq!(session.ends().signal(), Some(number));
    }
}

/// Stands before the C library and fails the clock once, on one thread, when a file is there. Rust's clock panics
/// then; or the thread faults at once. Those are defects as they would be: in the middle of what a thread does.
const NO_CLOCK: &str = r#"
    #define _GNU_SOURCE
    #include <pthread.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t id, struct timespec *now) {
        static int failed;
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof name);
        if (!strcmp(name, getenv("FAIL_THREAD")) && !access(getenv("FAIL_WHEN"), F_OK)
            && !__atomic_exchange_n(&failed, 1, __ATOMIC_SEQ_CST)) {
            if (getenv("FAIL_BY_FAULT")) *(volatile int *)16 = 0;
            return -1;
        }
        return syscall(SYS_clock_gettime, id, now);
    }
"#;

/// The demo on two harts, in the middle of a benchmark, with a clock that has just failed on `thread`.
fn failing(files: &Files, thread: &str, by_fault: bool) -> Session {
    let (source, library) = (files.write("clock.c", NO_CLOCK), files.path("clock.so"));
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success(), "cc, in Debian's package gcc");
    let when = files.path("now");
    let mut command = vm_boot();
    command.args(["demo", "--cpus", "2"]).env("LD_PRELOAD", &library);
    command.env("FAIL_THREAD", thread).env("FAIL_WHEN", &when);
    if by_fault {
        command.env("FAIL_BY_FAULT", "1");
    }
    let mut session = Session::start(&mut command);
    session.expect("demo>");
    assert_ne!(session.settings(), session.before, "raw while it runs");
    std::fs::write(when, "").unwrap();
    session.type_in("bench\r");
    session
}

#[test]
fn a_panic_of_any_thread_is_named_and_restores_the_terminal() {
    for (thread, named) in [("hart 0", "hart 0 failed: "), ("timers", "thread timers failed; ")] {
        let files = Files::new();
        let mut session = failing(&files, thread, false);
        session.expect("panicked at");
        session.expect(&format!("vm-boot: {named}"));
        session.expect("this is a defect of vm-boot, please report it");
        session.ends_with(1);
    }
}

#[test]
fn a_bad_access_of_a_thread_restores_the_terminal() {
    let files = Files::new();
    let mut session = failing(&files, "hart 0", true);
    assert_eq!(session.ends().signal(), Some(11));
}

#[test]
fn a_stopped_program_leaves_the_terminal_and_takes_it_again() {
    let mut session = Session::demo(&[]);
    session.expect("demo>");
    kill(session.child.id(), "TSTP");
    session.wait_until("the terminal was not given back", |session| session.settings() == session.before);
    session.wait_until("it did not stop", Session::is_stopped);
    kill(session.child.id(), "CONT");
    session.type_in("help\r");
    session.expect("shut the machine down");
    session.wait_until("not raw again", |session| session.settings().contains("-icanon"));
    session.type_in("\x01x");
    session.ends_with(0);
}

#[test]
fn the_monitor_has_its_commands_and_the_guest_its_keys() {
    let mut session = Session::demo(&["--cpus", "2"]);
    session.expect("demo>");
    session.type_in("\x01h");
    session.expect("Ctrl-A x");
    session.type_in("\x01c");
    session.expect("(vm) ");
    session.ask("info", &["state   Running", "vmm"]);
    session.ask("stats", &["instructions", "zone long"]);
    session.ask("pause", &[]);
    session.ask("info", &["state   Paused"]);
    session.ask("pause", &["cannot Pause a machine that is Paused"]);
    session.ask("regs 1", &["hart 1"]);
    session.ask("regs 2", &["there is no hart 2"]);
    session.ask("resume", &[]);
    session.ask("rest", &["did you mean \"reset\"?"]);
    session.ask("reset", &[]);
    session.type_in("\x01c\r");
    session.expect("demo>");
    session.type_in("exit 4\r");
    session.ends_with(4);
}

#[test]
fn profiles_are_written_while_the_machine_runs() {
    let files = Files::new();
    let (every, now) = (files.path("every"), files.path("now"));
    let pages = |path: &Path| Profile::read(&std::fs::read(path).unwrap()).unwrap().pages.len();
    let mut session = Session::demo_with(&["--profile", &common::word(&every), "--profile-every", "1"]);
    session.expect("demo>");
    session.wait_until("no profile after a second", |_| every.exists());
    assert!(pages(&every) > 0);
    session.type_in("\x01c");
    session.expect("(vm) ");
    session.ask(&format!("profile {}", common::word(&now)), &["profile written to"]);
    assert!(pages(&now) > 0);
    session.ask("profile /proc/none/there", &["/proc/none/there"]);
    // Whenever it ends, what was written last is whole.
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    assert!(pages(&every) > 0);
    let mut session = Session::demo(&[]);
    session.expect("demo>");
    session.type_in("\x01c");
    session.expect("(vm) ");
    session.ask("profile", &["expected profile FILE"]);
    session.ask(&format!("profile {}", common::word(&now)), &["nothing is noted"]);
    session.type_in("\x01x");
    session.ends_with(0);
}

#[test]
fn a_console_on_a_pseudo_terminal_is_reached_by_its_path() {
    let mut command = vm_boot();
    command.args(["run", "--kernel", DEMO, "--memory", "8M", "--serial", "pty"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let path = said.trim().strip_prefix("vm-boot: console on ").unwrap();
    let mut console = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let output = follow(console.try_clone().unwrap());
    let mut seen = String::new();
    while !seen.contains("demo>") {
        seen.push_str(&String::from_utf8_lossy(&output.recv_timeout(LIMIT).unwrap()));
    }
    // No escapes here: every key is the guest's.
    console.write_all(b"\x01x\x15exit 5\r").unwrap();
    assert_eq!(wait(&mut child).code(), Some(5));
}

#[test]
fn the_keys_and_the_monitor_save_and_load() {
    let files = Files::new();
    let (dir, other) = (common::word(&files.path("snap")), common::word(&files.path("other")));
    let mut session = Session::demo_with(&["--snapshot-dir", &dir]);
    session.expect("demo>");
    session.type_in("\x01s");
    session.expect(&format!("saved to {dir}"));
    session.type_in("\x01c");
    session.expect("(vm) ");
    session.ask(&format!("save {other}"), &[&format!("saved to {other}")]);
    session.ask("save /proc/none", &["cannot make"]);
    session.ask("load", &["goes on from"]);
    session.ask("load nowhere", &["state: is missing"]);
    session.type_in("\x01c");
    session.expect("console");
    session.type_in("exit 3\r");
    session.ends_with(3);
    for dir in [dir, other] {
        let mut session = Session::start(vm_boot().args(["restore", &dir]));
        session.type_in("\r");
        session.expect("demo>");
        session.type_in("exit 4\r");
        session.ends_with(4);
    }
}
