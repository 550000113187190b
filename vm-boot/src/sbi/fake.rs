//! A hart and machine for tests: records what was asked of it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::hsm::HartStates;
use super::{Call, Caller, Fence, HartState};

/// Where the fake machine has RAM.
pub const RAM: Range<u64> = 0x8000_0000..0x8001_0000;

/// What a call did to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Timer(u64),
    Ipi(u64),
    ClearIpi,
    Fence(u64, Fence),
    Wake(usize),
}

/// Hart 0 (by default) of a machine with 64 KiB of RAM.
pub struct Fake {
    pub hart: usize,
    pub count: usize,
    pub ram: Vec<u8>,
    pub states: HartStates,
    pub csrs: HashMap<u16, u64>,
    pub virtual_words: HashMap<u64, u64>,
    pub effects: Vec<Effect>,
    pub printed: Vec<u8>,
    pub typed: VecDeque<u8>,
    state: HartState,
}

impl Fake {
    pub fn new(count: usize) -> Self {
        Self {
            hart: 0,
            count,
            ram: vec![0; (RAM.end - RAM.start) as usize],
            states: HartStates::new(count),
            csrs: HashMap::new(),
            virtual_words: HashMap::new(),
            effects: Vec::new(),
            printed: Vec::new(),
            typed: VecDeque::new(),
            state: HartState::default(),
        }
    }

    /// A call with the arguments given and zeros for the rest.
    pub fn call(extension: u32, function: u32, given: &[u64]) -> Call {
        let mut args = [0; 6];
        args[..given.len()].copy_from_slice(given);
        Call { extension, function, args }
    }

    fn window(&self, gpa: u64, len: u64) -> Option<Range<usize>> {
        let end = gpa.checked_add(len)?;
        (gpa >= RAM.start && end <= RAM.end).then(|| (gpa - RAM.start) as usize..(end - RAM.start) as usize)
    }
}

impl Caller for Fake {
    fn hart(&self) -> usize {
        self.hart
    }

    fn hart_count(&self) -> usize {
        self.count
    }

    fn state(&mut self) -> &mut HartState {
        &mut self.state
    }

    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        self.window(gpa, len).is_some()
    }

    fn read(&self, gpa: u64, buf: &mut [u8]) -> bool {
        self.window(gpa, buf.len() as u64).map(|window| buf.copy_from_slice(&self.ram[window])).is_some()
    }

    fn write(&mut self, gpa: u64, buf: &[u8]) -> bool {
        self.window(gpa, buf.len() as u64).map(|window| self.ram[window].copy_from_slice(buf)).is_some()
    }

    fn read_virtual(&mut self, va: u64) -> Option<u64> {
        self.virtual_words.get(&va).copied()
    }

    fn read_csr(&mut self, number: u16) -> Option<u64> {
        self.csrs.get(&number).copied()
    }

    fn write_csr(&mut self, number: u16, value: u64) -> bool {
        self.csrs.insert(number, value);
        true
    }

    fn set_timer(&mut self, time: u64) {
        self.effects.push(Effect::Timer(time));
    }

    fn send_ipi(&mut self, harts: u64) {
        self.effects.push(Effect::Ipi(harts));
    }

    fn clear_ipi(&mut self) {
        self.effects.push(Effect::ClearIpi);
    }

    fn fence(&mut self, harts: u64, fence: Fence) {
        self.effects.push(Effect::Fence(harts, fence));
    }

    fn harts(&self) -> &HartStates {
        &self.states
    }

    fn wake(&mut self, hart: usize) {
        self.effects.push(Effect::Wake(hart));
    }

    fn console_write(&mut self, bytes: &[u8]) {
        self.printed.extend_from_slice(bytes);
    }

    fn console_read(&mut self, buf: &mut [u8]) -> usize {
        let count = buf.len().min(self.typed.len());
        for (slot, byte) in buf.iter_mut().zip(self.typed.drain(..count)) {
            *slot = byte;
        }
        count
    }
}
