//! What other threads may do to a hart: set its interrupt wires, post mail, ask it to leave.
//!
//! ```text
//!  device, timer, other hart ──► lines / mail / requests ──► attention ──► hart, at its next block
//! ```
//!
//! **Invariant.** A hart looks at `attention` before every block it enters, and at its mail before
//! the first guest instruction after it was outside. So a poster that finds a hart outside
//! (`inside == false`) may go on as if the mail had been read: nothing of the guest runs in between.
//! Both sides order "my store, then your flag" with sequential consistency.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::Tally;

/// Interrupt wires or a timer may have changed.
pub const INTERRUPT: u32 = 1;
/// There is mail.
pub const MAIL: u32 = 2;
/// Somebody wants the hart's thread back.
pub const REQUEST: u32 = 4;

/// Beyond this many unread letters a hart is told to distrust everything instead.
const MAIL_LIMIT: usize = 512;

/// Work that one thread posts to another hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// Bytes that translations may have been made from were written: page and 64-byte granules.
    CodeWritten {
        /// Guest-physical address of the page.
        page: u64,
        /// One bit a granule.
        granules: u64,
    },
    /// The page at this guest-physical address holds code from now on: no store may bypass the door.
    Guard {
        /// Guest-physical address of the page.
        page: u64,
    },
    /// Every store must pass the door once more (dirty logging starts).
    GuardAll,
    /// `sfence.vma` for a remote hart.
    Sfence {
        /// First address, `0` with `size == u64::MAX` for all.
        va: u64,
        /// Bytes.
        size: u64,
        /// One address space only.
        asid: Option<u16>,
    },
    /// `fence.i` for a remote hart.
    FenceI,
    /// Too much mail was unread: drop every translation and every TLB entry.
    Everything,
}

/// One hart's mailbox, wires and flags.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Port {
    attention: AtomicU32,
    lines: AtomicU64,
    software: AtomicBool,
    inside: AtomicBool,
    sleeping: AtomicBool,
    read: AtomicU64,
    mail: Mutex<MailBox>,
    tally: Mutex<Tally>,
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug, Default)]
struct MailBox {
    letters: Vec<Mail>,
    posted: u64,
}

impl Port {
    /// Not 0 if the hart has to leave its block chain.
    #[inline(always)]
    pub fn attention(&self) -> u32 {
        self.attention.load(Relaxed)
    }

    /// Where generated code looks at it: valid as long as the port lives.
    pub fn attention_address(&self) -> u64 {
        self.attention.as_ptr() as u64
    }

    /// Takes the reasons for attention.
    pub fn take_attention(&self) -> u32 {
        self.attention.swap(0, SeqCst)
    }

    /// Levels of the interrupt wires, as bits of `mip`.
    pub fn lines(&self) -> u64 {
        self.lines.load(Acquire)
    }

    /// Sets or clears wires, and wakes the hart if one rose.
    pub fn set_lines(&self, bits: u64, level: bool) {
        if level {
            if self.lines.fetch_or(bits, AcqRel) & bits != bits {
                self.kick(INTERRUPT);
            }
        } else {
            self.lines.fetch_and(!bits, AcqRel);
        }
    }

    /// Posts a supervisor software interrupt: from then on it is the guest's to clear.
    pub fn post_software(&self) {
        if !self.software.swap(true, SeqCst) {
            self.kick(INTERRUPT);
        }
    }

    /// Takes a posted supervisor software interrupt.
    pub fn take_software(&self) -> bool {
        self.software.load(SeqCst) && self.software.swap(false, SeqCst)
    }

    /// Makes the hart look up: at its next block, or out of its sleep.
    pub fn kick(&self, why: u32) {
        self.attention.fetch_or(why, SeqCst);
        if self.sleeping.load(SeqCst)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
    }

    /// Posts a letter; gives its number for [`Port::has_read`].
    pub fn post(&self, letter: Mail) -> u64 {
        let number = {
            let mut mail = self.mail.lock();
            if mail.letters.len() >= MAIL_LIMIT {
                mail.letters.clear();
                mail.letters.push(Mail::Everything);
            }
            if mail.letters.last() != Some(&letter) {
                mail.letters.push(letter);
            }
            mail.posted += 1;
            mail.posted
        };
        // A sleeper reads its mail when it wakes; it need not wake for it.
        self.attention.fetch_or(MAIL, SeqCst);
        number
    }

    /// Whether letter `number` can no longer be overtaken by a guest instruction of this hart.
    pub fn has_read(&self, number: u64) -> bool {
        !self.inside.load(SeqCst) || self.read.load(SeqCst) >= number
    }

    /// Takes all mail into `letters`; the hart calls [`Port::confirm`] when it has acted on it.
    pub fn take_mail(&self, letters: &mut Vec<Mail>) -> u64 {
        let mut mail = self.mail.lock();
        letters.append(&mut mail.letters);
        mail.posted
    }

    /// Everything up to `number` has been acted on.
    pub fn confirm(&self, number: u64) {
        self.read.store(number, SeqCst);
    }

    /// The hart's thread begins to execute guest code. Mail has to be read after this call.
    pub fn enter(&self) {
        self.inside.store(true, SeqCst);
    }

    /// The hart's thread executes no guest code from here on.
    pub fn leave(&self) {
        self.inside.store(false, SeqCst);
    }

    /// Sleeps until kicked or for `limit`. Returns at once if attention is due.
    pub fn sleep(&self, limit: Option<Duration>) {
        self.belong_to(std::thread::current());
        self.sleeping.store(true, SeqCst);
        if self.attention.load(SeqCst) & !MAIL == 0 {
            match limit {
                Some(limit) => std::thread::park_timeout(limit),
                None => std::thread::park(),
            }
        }
        self.sleeping.store(false, SeqCst);
    }

    /// The thread to wake. It wants its timers to the microsecond.
    fn belong_to(&self, thread: Thread) {
        let mut held = self.thread.lock();
        if held.as_ref().is_none_or(|held| held.id() != thread.id()) {
            sharpen_timers();
            *held = Some(thread);
        }
    }

    /// What the hart had done when it left guest code last.
    pub fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Lays down what the hart has done.
    pub(super) fn put_tally(&self, tally: &Tally) {
        self.tally.lock().clone_from(tally);
    }

    /// Whether the hart sleeps right now.
    pub fn is_sleeping(&self) -> bool {
        self.sleeping.load(SeqCst)
    }
}

/// Asks the host to end the sleeps of this thread on time; by default it may add 50 µs.
pub(super) fn sharpen_timers() {
    // A host that refuses has late timers and nothing worse.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_mail_becomes_one_letter() {
        let port = Port::default();
        for page in 0..2000 {
            port.post(Mail::Guard { page: page * 4096 });
        }
        let mut letters = Vec::new();
        assert_eq!(port.take_mail(&mut letters), 2000);
        assert!(letters.len() <= MAIL_LIMIT);
        assert_eq!(letters[0], Mail::Everything);
    }

    #[test]
    fn a_hart_outside_needs_no_waiting_for() {
        let port = Port::default();
        let number = port.post(Mail::FenceI);
        assert!(port.has_read(number));
        port.enter();
        assert!(!port.has_read(number));
        port.confirm(number);
        assert!(port.has_read(number));
    }

    #[test]
    fn a_rising_wire_ends_sleep() {
        let port = std::sync::Arc::new(Port::default());
        let sleeper = std::thread::spawn({
            let port = port.clone();
            move || {
                while port.attention() == 0 {
                    port.sleep(None);
                }
            }
        });
        port.set_lines(1 << 9, true);
        sleeper.join().unwrap();
        assert_eq!(port.take_attention(), INTERRUPT);
    }
}
