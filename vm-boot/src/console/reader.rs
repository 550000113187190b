//! Input from the host by a thread of its own: escapes are taken out, the rest goes to the guest or,
//! while it has the focus, to the monitor.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::keys::{HELP, Key, Keys};
use super::line::{Edit, Line};
use super::port::{Input, Source};
use super::{Console, terminal};

/// How often a guest that does not read is asked again.
const FULL: Duration = Duration::from_millis(10);
/// What the monitor shows when it waits for a command.
pub const PROMPT: &str = "(vm) ";

/// What somebody typed that is not for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// End the machine.
    Quit,
    /// Take a snapshot.
    Save,
    /// A line for the monitor.
    Command(String),
}

/// The thread that reads; ends when dropped.
pub struct Reader {
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// Whom the reader tells what it found.
pub trait Listener: Send {
    /// There is input for the guest.
    fn input_ready(&self);
    /// Somebody typed something for the machine.
    fn typed(&self, what: Typed);
}

impl Reader {
    /// Starts reading.
    pub fn start(input: Input, console: Arc<Console>, listener: Box<dyn Listener>) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let mut work = Work {
            source: input.source,
            escapes: input.escapes,
            console,
            listener,
            keys: Keys::default(),
            monitor: None,
            woken,
        };
        let thread = Builder::new().name("console in".into()).spawn(move || {
            if let Err(error) = work.run() {
                tracing::warn!(%error, "the console's input is gone");
            }
        })?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let told = self.wake.write_all(b"end");
        if let (Ok(()), Some(thread)) = (told, self.thread.take()) {
            // It reported its own failure, if any.
            let _ = thread.join();
        }
    }
}

struct Work {
    source: Box<dyn Source>,
    escapes: bool,
    console: Arc<Console>,
    listener: Box<dyn Listener>,
    keys: Keys,
    /// The line typed so far, while the monitor has the focus.
    monitor: Option<Line>,
    woken: UnixStream,
}

impl Work {
    /// Until told to end, or the input does: the guest goes on without.
    fn run(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        while terminal::wait_for_input(self.source.as_fd(), self.woken.as_fd())? {
            match self.source.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => self.take(&bytes[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut for_guest = Vec::new();
        for &byte in bytes {
            let key = if self.escapes { self.keys.next(byte) } else { Some(Key::Byte(byte)) };
            match (key, &mut self.monitor) {
                (None, _) => {}
                (Some(Key::Byte(byte)), None) => for_guest.push(byte),
                (Some(Key::Byte(byte)), Some(line)) => match line.take(byte) {
                    Edit::Echo(text) => self.console.print(&text),
                    Edit::Enter(text) => {
                        self.console.print("\r\n");
                        self.listener.typed(Typed::Command(text));
                    }
                },
                (Some(Key::Quit), _) => self.listener.typed(Typed::Quit),
                (Some(Key::Save), _) => self.listener.typed(Typed::Save),
                (Some(Key::Help), _) => self.console.print(HELP),
                (Some(Key::Toggle), _) => self.toggle(),
            }
        }
        self.give(&for_guest)
    }

    fn toggle(&mut self) {
        self.monitor = match self.monitor {
            None => Some(Line::default()),
            Some(_) => None,
        };
        match self.monitor {
            Some(_) => self.console.print(&format!("\r\nmonitor; help lists its commands\r\n{PROMPT}")),
            None => self.console.print("\r\nconsole\r\n"),
        }
    }

    /// Waits for a guest that does not read, so that nothing piped in is lost.
    fn give(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.console.push_input(bytes);
            bytes = &bytes[taken..];
            self.listener.input_ready();
            if taken == 0 && self.told_to_end()? {
                break;
            }
        }
        Ok(())
    }

    /// Sleeps for a moment, unless told to end.
    fn told_to_end(&self) -> io::Result<bool> {
        self.woken.set_read_timeout(Some(FULL))?;
        match (&self.woken).read(&mut [0]) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use vm_devices::ConsoleBackend;

    use super::*;

    struct Tell(Sender<Option<Typed>>);

    impl Listener for Tell {
        fn input_ready(&self) {
            self.0.send(None).unwrap();
        }

        fn typed(&self, what: Typed) {
            self.0.send(Some(what)).unwrap();
        }
    }

    struct Bench {
        keyboard: Option<UnixStream>,
        console: Arc<Console>,
        told: Receiver<Option<Typed>>,
        _reader: Reader,
    }

    fn bench(escapes: bool) -> Bench {
        let (keyboard, source) = UnixStream::pair().unwrap();
        let source = std::fs::File::from(std::os::fd::OwnedFd::from(source));
        let console = Arc::new(Console::new(Box::new(io::sink())).unwrap());
        let (tell, told) = channel();
        let input = Input { source: Box::new(source), escapes };
        let reader = Reader::start(input, console.clone(), Box::new(Tell(tell))).unwrap();
        Bench { keyboard: Some(keyboard), console, told, _reader: reader }
    }

    impl Bench {
        fn type_in(&self, bytes: &[u8]) {
            self.keyboard.as_ref().unwrap().write_all(bytes).unwrap();
        }

        fn guest_reads(&self) -> Vec<u8> {
            let mut bytes = [0; 64];
            let count = self.console.input(&mut bytes);
            bytes[..count].to_vec()
        }
    }

    #[test]
    fn bytes_reach_the_guest_and_commands_the_machine() {
        let bench = bench(true);
        bench.type_in(b"ls\r");
        assert_eq!(bench.told.recv().unwrap(), None);
        assert_eq!(bench.guest_reads(), b"ls\r");
        bench.type_in(b"\x01cinfo\r");
        assert_eq!(bench.told.recv().unwrap(), Some(Typed::Command("info".into())));
        bench.type_in(b"\x01cpwd\x01x");
        assert_eq!(bench.told.recv().unwrap(), Some(Typed::Quit));
        assert_eq!(bench.told.recv().unwrap(), None);
        assert_eq!(bench.guest_reads(), b"pwd");
    }

    #[test]
    fn without_escapes_every_byte_is_the_guests() {
        let bench = bench(false);
        bench.type_in(b"\x01x");
        assert_eq!(bench.told.recv().unwrap(), None);
        assert_eq!(bench.guest_reads(), b"\x01x");
    }

    #[test]
    fn more_than_the_guest_reads_waits() {
        let bench = bench(false);
        let sent: Vec<u8> = (0..super::super::INPUT_LIMIT * 2).map(|i| (i % 253) as u8).collect();
        let keyboard = bench.keyboard.as_ref().unwrap().try_clone().unwrap();
        let typist = std::thread::spawn({
            let sent = sent.clone();
            move || (&keyboard).write_all(&sent).unwrap()
        });
        let mut read = Vec::new();
        while read.len() < sent.len() {
            bench.told.recv().unwrap();
            loop {
                let more = bench.guest_reads();
                if more.is_empty() {
                    break;
                }
                read.extend(more);
            }
        }
        typist.join().unwrap();
        assert!(read == sent);
    }

    #[test]
    fn the_end_of_input_ends_nothing_else() {
        let mut bench = bench(true);
        bench.type_in(b"last");
        assert_eq!(bench.told.recv().unwrap(), None);
        bench.keyboard = None;
        assert_eq!(bench.guest_reads(), b"last");
        assert!(bench.told.recv().is_err(), "the reader has ended without a word");
    }
}
