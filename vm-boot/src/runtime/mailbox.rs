//! Messages to the control plane from threads that must not wait: harts, devices, the keyboard.
//!
//! A message goes into a queue and a byte into a socket, which the control plane can wait for together
//! with signals and ticks. A full socket is as good as a new byte.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use vm_devices::PowerEvents;

use super::state::{Command, Illegal};
use crate::console::{Console, Listener, Typed};

/// Something for the control plane.
pub enum Message {
    /// A command, and where to say what became of it.
    Command(Command, Option<Sender<Result<(), Illegal>>>),
    /// The guest switched the machine off.
    PowerOff {
        /// The guest's own exit code.
        code: u8,
    },
    /// The guest restarts the machine.
    Reboot,
    /// Compiled code waits for room.
    CacheFull,
    /// The text that was waited for has appeared on a console.
    Marked,
    /// A hart's thread cannot go on.
    HartFailed {
        /// Which.
        hart: usize,
        /// Why.
        reason: String,
    },
    /// Somebody typed something for the machine, on this console.
    Typed(Typed, Arc<Console>),
}

/// The way in; clones share it.
#[derive(Clone)]
pub struct Mailbox {
    queue: Sender<Message>,
    bell: Arc<UnixStream>,
}

/// The way out.
pub struct Inbox {
    queue: Receiver<Message>,
    bell: UnixStream,
}

/// Both ends of a new mailbox.
pub fn mailbox() -> io::Result<(Mailbox, Inbox)> {
    let (ring, bell) = UnixStream::pair()?;
    ring.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    let (send, receive) = channel();
    Ok((Mailbox { queue: send, bell: Arc::new(ring) }, Inbox { queue: receive, bell }))
}

impl Mailbox {
    /// Posts a message; lost if the control plane is gone, as is then the machine.
    pub fn post(&self, message: Message) {
        if self.queue.send(message).is_ok() {
            // Full or closed: the receiver looks into the queue anyway, or never again.
            let _ = (&*self.bell).write(&[0]);
        }
    }
}

impl Inbox {
    /// The next message, if there is one.
    pub fn next(&self) -> Option<Message> {
        self.queue.try_recv().ok()
    }

    /// A handle on the bell, to wait for.
    pub fn bell(&self) -> io::Result<UnixStream> {
        self.bell.try_clone()
    }
}

impl PowerEvents for Mailbox {
    fn shutdown(&self, code: u16) {
        self.post(Message::PowerOff { code: exit_code(u64::from(code)) });
    }

    fn reset(&self) {
        self.post(Message::Reboot);
    }
}

/// A guest's exit code as a process can have it; a failure never becomes a success by losing bits.
pub fn exit_code(code: u64) -> u8 {
    match (code, code as u8) {
        (0, _) => 0,
        (_, 0) => 1,
        (_, low) => low,
    }
}

/// The keyboard of a machine: input for the guest rings its serial port, the rest is a message.
pub struct Keyboard<F> {
    /// Called when there is input for the guest.
    pub ready: F,
    /// Where the rest goes.
    pub mailbox: Mailbox,
    /// Where answers are printed.
    pub console: Arc<Console>,
}

impl<F: Fn() + Send> Listener for Keyboard<F> {
    fn input_ready(&self) {
        (self.ready)();
    }

    fn typed(&self, what: Typed) {
        self.mailbox.post(Message::Typed(what, self.console.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stays_a_failure() {
        assert_eq!([0, 1, 255, 256, 0x1_0002].map(exit_code), [0, 1, 255, 1, 2]);
    }

    #[test]
    fn messages_come_out_in_order_and_ring() {
        use std::io::Read;
        let (mailbox, inbox) = mailbox().unwrap();
        assert!(inbox.next().is_none());
        for _ in 0..100_000 {
            mailbox.reset();
        }
        mailbox.shutdown(3);
        let mut rung = [0; 16];
        assert!(inbox.bell().unwrap().read(&mut rung).unwrap() > 0);
        for _ in 0..100_000 {
            assert!(matches!(inbox.next(), Some(Message::Reboot)));
        }
        assert!(matches!(inbox.next(), Some(Message::PowerOff { code: 3 })));
    }
}
