//! The host's terminal: raw mode and the way back, pseudo-terminals, and waiting for input.
//!
//! **Invariant**: once raw mode was entered, [`restore`] brings back the settings found before, whoever
//! calls it and however often; it is called when the guard is dropped, by the panic hook, and before
//! the process stops or ends by a signal or a fault.

#![allow(unsafe_code, reason = "terminal settings, poll and pseudo-terminals have no safe interface in std")]

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::fault;

/// The settings to go back to, and of which terminal, while raw mode is on.
static BEFORE: Mutex<Option<(RawFd, libc::termios)>> = Mutex::new(None);

/// Raw mode of standard input; ends when dropped.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Switches standard input to raw mode; `None` if it is not a terminal.
    ///
    /// Output processing stays on: the guest's own carriage returns do no harm, and log lines need
    /// theirs.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = settings(stdin.as_raw_fd())?;
        fault::restore_terminal()?;
        *BEFORE.lock() = Some((stdin.as_raw_fd(), before));
        apply(stdin.as_raw_fd(), &raw(before))?;
        Ok(Some(Self(())))
    }

    /// Raw mode once more, after the process was stopped and somebody else had the terminal.
    pub fn enter_again(&self) -> io::Result<()> {
        match *BEFORE.lock() {
            Some((fd, before)) => apply(fd, &raw(before)),
            None => Ok(()),
        }
    }

    /// The settings found before, for as long as the process is stopped.
    pub fn pause(&self) {
        restore_settings(*BEFORE.lock());
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Brings back the settings found before raw mode, if it is on. May be called from anywhere.
pub fn restore() {
    restore_settings(BEFORE.lock().take());
}

/// The same for a signal handler, which may have interrupted somebody here: then it does nothing.
pub(super) fn try_restore() {
    if let Some(before) = BEFORE.try_lock() {
        restore_settings(*before);
    }
}

fn restore_settings(before: Option<(RawFd, libc::termios)>) {
    if let Some((fd, settings)) = before {
        // A terminal that is gone needs no settings.
        let _ = apply(fd, &settings);
    }
}

fn raw(mut settings: libc::termios) -> libc::termios {
    // SAFETY: `cfmakeraw` only changes the structure it is given, which is a valid one of ours.
    unsafe { libc::cfmakeraw(&mut settings) };
    settings.c_oflag |= libc::OPOST | libc::ONLCR;
    settings
}

fn settings(fd: RawFd) -> io::Result<libc::termios> {
    let mut settings = MaybeUninit::uninit();
    // SAFETY: the pointer is to a termios of ours, which the call fills in when it returns 0; a bad
    // descriptor is an error, not undefined.
    check(unsafe { libc::tcgetattr(fd, settings.as_mut_ptr()) })?;
    // SAFETY: the call returned 0 above, so it has filled in the whole structure.
    Ok(unsafe { settings.assume_init() })
}

fn apply(fd: RawFd, settings: &libc::termios) -> io::Result<()> {
    // SAFETY: the pointer is to a valid termios for the length of the call, which only reads it.
    check(unsafe { libc::tcsetattr(fd, libc::TCSANOW, settings) })
}

/// Stops this process as an uncaught SIGTSTP would; returns when it is continued.
pub fn stop_process() {
    // SAFETY: `raise` takes no pointers; SIGSTOP has no handler that could run.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Waits until `source` has input or is closed, or `wake` has input; true for the first.
pub fn wait_for_input(source: BorrowedFd, wake: BorrowedFd) -> io::Result<bool> {
    let entry = |fd: BorrowedFd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(source), entry(wake)];
    loop {
        // SAFETY: the pointer and length are those of the array, which lives through the call; both
        // descriptors are borrowed, hence open.
        let result = check(unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, -1) });
        match result {
            Ok(()) => return Ok(entries[1].revents == 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A new pseudo-terminal in raw mode: the end to use here, and the path of the other.
///
/// Our end keeps the other one open too, so that input does not end whenever a user detaches.
pub fn open_pty() -> io::Result<Pty> {
    let open = |path: &str| {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC).open(path)
    };
    let master = open("/dev/ptmx")?;
    let fd = master.as_raw_fd();
    let mut unlock: libc::c_int = 0;
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCSPTLCK reads one int through the pointer, which is valid; `fd` is open.
    check(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &mut unlock) })?;
    // SAFETY: TIOCGPTN writes one unsigned int through the pointer, which is valid; `fd` is open.
    check(unsafe { libc::ioctl(fd, libc::TIOCGPTN, &mut number) })?;
    let path = format!("/dev/pts/{number}");
    let other = open(&path)?;
    apply(other.as_raw_fd(), &raw(settings(other.as_raw_fd())?))?;
    Ok(Pty { master, other, path: path.into() })
}

/// A pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end to use here.
    pub master: File,
    /// The other end, kept open.
    pub other: File,
    /// Path of the other end.
    pub path: PathBuf,
}

pub(super) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
