//! The terminal after a fault of this program: signals that end a process without unwinding (a bad access, an
//! abort) restore it first.
//!
//! **Invariant**: the signal still has its own effect. A fault goes to whoever handled it before (Rust's report
//! of a stack overflow, then the kernel); a signal that somebody sent ends the process by its default action.

#![allow(unsafe_code, reason = "signal actions have no safe interface in std")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_void, siginfo_t};

use super::terminal;

const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];

/// What each signal did before.
static BEFORE: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

/// From now on a fault restores the terminal. A second call changes nothing.
pub(super) fn restore_terminal() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = [default_action(); SIGNALS.len()];
    for (signal, before) in SIGNALS.into_iter().zip(&mut before) {
        // SAFETY: a null pointer asks for the present action, which is written to `before`, a valid one.
        terminal::check(unsafe { libc::sigaction(signal, ptr::null(), before) })?;
    }
    BEFORE.get_or_init(|| before);
    let mut action = default_action();
    action.sa_sigaction = on_fault as *const () as usize;
    // On the stack that Rust keeps for it, since the thread's own may be what has run out.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in SIGNALS {
        // SAFETY: `action` is a valid one; its handler has the signature that SA_SIGINFO asks for and does only
        // what a handler may, see there.
        terminal::check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })?;
    }
    Ok(())
}

fn default_action() -> libc::sigaction {
    // SAFETY: all zeros are a valid sigaction: SIG_DFL, no flags, an empty mask.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// May interrupt anything, so it takes no lock that it could wait for and allocates nothing.
extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    terminal::try_restore();
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO.
    let sent = unsafe { (*info).si_code } <= 0;
    let before = BEFORE.get().zip(SIGNALS.iter().position(|&known| known == signal));
    let next = before.filter(|_| !sent).map_or_else(default_action, |(actions, at)| actions[at]);
    // SAFETY: `sigaction` and `raise` may be called in a handler; `next` is what the kernel gave us, or the
    // default. A fault happens again when this returns; what was sent is raised again, and waits until then.
    unsafe {
        libc::sigaction(signal, &next, ptr::null_mut());
        if sent {
            libc::raise(signal);
        }
    }
}
