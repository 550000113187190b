//! Output to the host by a thread of its own, so that a byte costs a hart no system call.
//!
//! **Invariant**: bytes come out in the order in which they went in, and none is dropped while the
//! host takes them.

use std::io::Write;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Beyond this many bytes a writer waits for the host.
const LIMIT: usize = 1 << 16;
/// How long the host is given for the rest at the end.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// A buffered way out.
pub struct Output {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    buffer: Mutex<Buffer>,
    /// There is something to write, or the end has come.
    filled: Condvar,
    /// There is room again, or all is written.
    drained: Condvar,
}

struct Buffer {
    bytes: Vec<u8>,
    /// The thread is writing what it took.
    busy: bool,
    /// Writers wait for room.
    waiting: bool,
    closed: bool,
}

impl Output {
    /// Starts the thread that writes to `sink`.
    pub fn new(sink: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let buffer = Buffer { bytes: Vec::new(), busy: false, waiting: true, closed: false };
        let shared =
            Arc::new(Shared { buffer: Mutex::new(buffer), filled: Condvar::new(), drained: Condvar::new() });
        let writer = Builder::new().name("console out".into()).spawn({
            let shared = shared.clone();
            move || shared.drain_to(sink)
        })?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Appends bytes; waits while the host is behind.
    pub fn write(&self, bytes: &[u8]) {
        let mut buffer = self.shared.buffer.lock();
        while buffer.bytes.len() >= LIMIT && buffer.waiting && !buffer.closed {
            self.shared.drained.wait(&mut buffer);
        }
        if buffer.closed {
            return;
        }
        if buffer.bytes.is_empty() {
            self.shared.filled.notify_one();
        }
        buffer.bytes.extend_from_slice(bytes);
    }

    /// Whether writers wait while the host is behind.
    pub fn set_waiting(&self, waiting: bool) {
        self.shared.buffer.lock().waiting = waiting;
        self.shared.drained.notify_all();
    }

    /// Waits a moment for the host to take the rest, then drops what comes. A host that has stopped
    /// reading keeps the thread, but not the caller.
    pub fn close(&self) {
        let deadline = Instant::now() + LAST_MOMENT;
        let mut buffer = self.shared.buffer.lock();
        while !buffer.bytes.is_empty() || buffer.busy {
            if self.shared.drained.wait_until(&mut buffer, deadline).timed_out() {
                break;
            }
        }
        let done = buffer.bytes.is_empty() && !buffer.busy;
        buffer.closed = true;
        self.shared.filled.notify_all();
        self.shared.drained.notify_all();
        drop(buffer);
        if let Some(writer) = self.writer.lock().take().filter(|_| done) {
            // It caught every error of its own; there is nothing left to tell.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn drain_to(&self, mut sink: Box<dyn Write + Send>) {
        let mut taken = Vec::new();
        while self.take(&mut taken) {
            if let Err(error) = sink.write_all(&taken).and_then(|()| sink.flush()) {
                tracing::warn!(%error, "the console's output is gone; what follows is dropped");
                sink = Box::new(std::io::sink());
            }
            taken.clear();
        }
    }

    /// Waits for bytes and takes all there are; false at the end.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        let mut buffer = self.buffer.lock();
        buffer.busy = false;
        if buffer.bytes.is_empty() {
            self.drained.notify_all();
        }
        while buffer.bytes.is_empty() {
            if buffer.closed {
                return false;
            }
            self.filled.wait(&mut buffer);
        }
        std::mem::swap(&mut buffer.bytes, taken);
        buffer.busy = true;
        self.drained.notify_all();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Result;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Blocks on every write until the other end takes it.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Arc<Output>, Receiver<Vec<u8>>) {
        let (send, receive) = sync_channel(0);
        (Arc::new(Output::new(Box::new(Slow(send))).unwrap()), receive)
    }

    #[test]
    fn order_is_kept_and_close_waits_for_the_rest() {
        let (output, receive) = slow();
        let reader = std::thread::spawn(move || receive.iter().flatten().collect::<Vec<u8>>());
        let sent: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        sent.chunks(97).for_each(|chunk| output.write(chunk));
        output.close();
        assert_eq!(reader.join().unwrap(), sent);
    }

    #[test]
    fn a_full_buffer_holds_the_writer_until_it_is_released() {
        let (output, receive) = slow();
        output.write(&[0; 1]);
        // From here on the thread is stuck with what it took.
        while !output.shared.buffer.lock().busy {
            std::thread::yield_now();
        }
        output.write(&[0; LIMIT]);
        let held = std::thread::spawn({
            let output = output.clone();
            move || output.write(b"last")
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!held.is_finished());
        output.set_waiting(false);
        held.join().unwrap();
        drop(receive);
        output.close();
    }

    #[test]
    fn a_gone_host_is_survived() {
        let (output, receive) = slow();
        drop(receive);
        output.write(b"into the void");
        output.write(&[0; 3 * LIMIT]);
        output.write(b"and on");
        output.close();
        output.write(b"after the end");
    }
}
