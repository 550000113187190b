//! Wires, a clock and a console that a test can read and drive.

use crate::console::ConsoleBackend;
use crate::wires::{Clock, HartLine, HartLines, IrqLine};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// A wire that remembers its level and counts its rising edges.
#[derive(Debug, Default)]
pub struct RecordedLine {
    level: AtomicBool,
    rises: AtomicUsize,
}

impl RecordedLine {
    /// Whether the wire is high.
    pub fn level(&self) -> bool {
        self.level.load(SeqCst)
    }

    /// How often it went from low to high.
    pub fn rises(&self) -> usize {
        self.rises.load(SeqCst)
    }
}

impl IrqLine for RecordedLine {
    fn set(&self, level: bool) {
        if !self.level.swap(level, SeqCst) && level {
            self.rises.fetch_add(1, SeqCst);
        }
    }
}

/// The interrupt inputs of some harts.
#[derive(Debug)]
pub struct RecordedLines {
    /// One bit per [`HartLine`].
    levels: Vec<AtomicUsize>,
    mtimecmp: Vec<AtomicU64>,
    announcements: AtomicUsize,
}

impl RecordedLines {
    /// Lines of `harts` harts, all low.
    pub fn new(harts: usize) -> RecordedLines {
        RecordedLines {
            levels: (0..harts).map(|_| AtomicUsize::new(0)).collect(),
            mtimecmp: (0..harts).map(|_| AtomicU64::new(u64::MAX)).collect(),
            announcements: AtomicUsize::new(0),
        }
    }

    /// Whether `line` of `hart` is high.
    pub fn level(&self, hart: usize, line: HartLine) -> bool {
        self.levels[hart].load(SeqCst) & 1 << line as usize != 0
    }

    /// The last timer announced to `hart`.
    pub fn mtimecmp(&self, hart: usize) -> u64 {
        self.mtimecmp[hart].load(SeqCst)
    }

    /// How many timers were announced.
    pub fn announcements(&self) -> usize {
        self.announcements.load(SeqCst)
    }
}

impl HartLines for RecordedLines {
    fn set(&self, hart: usize, line: HartLine, level: bool) {
        let bit = 1 << line as usize;
        if level {
            self.levels[hart].fetch_or(bit, SeqCst);
        } else {
            self.levels[hart].fetch_and(!bit, SeqCst);
        }
    }

    fn set_mtimecmp(&self, hart: usize, ticks: u64) {
        self.mtimecmp[hart].store(ticks, SeqCst);
        self.announcements.fetch_add(1, SeqCst);
    }
}

/// A clock that only moves when told to.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn ticks(&self) -> u64 {
        self.0.load(SeqCst)
    }

    fn set_ticks(&self, ticks: u64) {
        self.0.store(ticks, SeqCst);
    }
}

/// A console whose far end is two buffers.
#[derive(Debug, Default)]
pub struct BufferConsole {
    output: Mutex<Vec<u8>>,
    input: Mutex<VecDeque<u8>>,
}

impl BufferConsole {
    /// Takes what the guest has sent so far.
    pub fn take_output(&self) -> Vec<u8> {
        std::mem::take(&mut self.output.lock())
    }

    /// Adds input for the guest.
    pub fn type_in(&self, bytes: &[u8]) {
        self.input.lock().extend(bytes);
    }

    /// How much input the guest has not taken.
    pub fn waiting(&self) -> usize {
        self.input.lock().len()
    }
}

impl ConsoleBackend for BufferConsole {
    fn output(&self, bytes: &[u8]) {
        self.output.lock().extend_from_slice(bytes);
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
