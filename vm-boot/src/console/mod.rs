//! The console: the guest's serial line on one side, a terminal, pipe, file or pseudo-terminal on the
//! other.
//!
//! ```text
//!  hart ─► Console::output ─► bounded buffer ─► writer thread ─► host
//!  host ─► reader thread ─► Keys (Ctrl-A …) ─► queue ─► Console::input ◄─ UART, SBI
//! ```
//! A guest that prints faster than the host reads waits, so nothing is lost; it is let go when the
//! machine has to pause or end ([`Console::release`]).

pub mod keys;
pub mod terminal;

mod fault;
mod line;
mod marker;
mod output;
mod port;
mod reader;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use vm_devices::ConsoleBackend;

pub use line::Line;
use marker::Marker;
pub use output::Output;
pub use port::{ConsoleError, Input, Port};
pub use reader::{Listener, PROMPT, Reader, Typed};

/// Bytes that wait for the guest; more than that stays with the host.
const INPUT_LIMIT: usize = 1 << 16;

/// The consoles of a machine.
#[derive(Clone)]
pub struct Consoles {
    /// On the serial port.
    pub serial: Arc<Console>,
    /// On the virtio console, if there is one.
    pub virtio: Option<Arc<Console>>,
}

impl Consoles {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Console>> {
        [&self.serial].into_iter().chain(&self.virtio)
    }
}

/// Both directions of the guest's serial line.
pub struct Console {
    output: Output,
    input: Mutex<VecDeque<u8>>,
    marker: OnceLock<Mutex<Marker>>,
}

impl Console {
    /// A console that prints to `sink`.
    pub fn new(sink: Box<dyn Write + Send>) -> std::io::Result<Self> {
        Ok(Self { output: Output::new(sink)?, input: Mutex::default(), marker: OnceLock::new() })
    }

    /// Takes what was typed for the guest; returns how many bytes there was room for.
    pub fn push_input(&self, bytes: &[u8]) -> usize {
        let mut input = self.input.lock();
        let room = INPUT_LIMIT.saturating_sub(input.len()).min(bytes.len());
        input.extend(&bytes[..room]);
        room
    }

    /// Calls `found` when the guest prints `text`, once. A second text is not waited for.
    pub fn wait_for(&self, text: &str, found: Box<dyn FnOnce() + Send>) {
        self.marker.get_or_init(|| Mutex::new(Marker::new(text, found)));
    }

    /// Prints for the program itself, between what the guest prints.
    pub fn print(&self, text: &str) {
        self.output.write(text.as_bytes());
    }

    /// Lets output through without waiting for the host, until `hold` is called.
    pub fn release(&self) {
        self.output.set_waiting(false);
    }

    /// Output waits for the host again.
    pub fn hold(&self) {
        self.output.set_waiting(true);
    }

    /// Gives the host a moment to take what is still buffered, then ends the writer.
    pub fn close(&self) {
        self.output.close();
    }
}

impl ConsoleBackend for Console {
    fn output(&self, bytes: &[u8]) {
        self.output.write(bytes);
        if let Some(marker) = self.marker.get() {
            marker.lock().look(bytes);
        }
    }

    fn input(&self, buf: &mut [u8]) -> usize {
        let mut input = self.input.lock();
        let count = buf.len().min(input.len());
        for (slot, byte) in buf.iter_mut().zip(input.drain(..count)) {
            *slot = byte;
        }
        count
    }
}
