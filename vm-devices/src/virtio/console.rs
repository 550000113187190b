//! virtio console (virtio 1.2, section 5.3) with one port.
//!
//! Its far end is the same [`ConsoleBackend`] as the UART's. Input is pulled when
//! the guest has given a buffer for it. EMERG_WRITE lets a kernel print before it
//! has set a queue up; SIZE tells it the terminal's size.

use super::chain::{self, Chain};
use super::{Outcome, VirtioDevice, VirtioMmio, bit};
use crate::console::ConsoleBackend;
use crate::metrics::ConsoleCounters;
use crate::snapshot::RestoreError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use vm_memory::GuestMemory;

const RECEIVE: usize = 0;
const QUEUE_SIZE: u16 = 128;
/// `VIRTIO_CONSOLE_F_SIZE` and `VIRTIO_CONSOLE_F_EMERG_WRITE`.
const F_SIZE: u32 = 0;
const F_EMERG_WRITE: u32 = 2;
/// Columns, rows, ports, emergency byte.
const CONFIG: usize = 12;
const CONFIG_EMERG_WRITE: usize = 8;
/// How much is copied out of guest memory at a time.
const CHUNK: usize = 4096;

/// What a snapshot keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioConsoleState {
    /// Size of the terminal, in characters.
    pub columns: u16,
    /// Size of the terminal, in characters.
    pub rows: u16,
}

/// A console.
pub struct VirtioConsole {
    backend: Arc<dyn ConsoleBackend>,
    config: [u8; CONFIG],
    size: VirtioConsoleState,
    counters: Arc<ConsoleCounters>,
}

impl VirtioConsole {
    /// A console whose far end is `backend`, 80 by 25 until told otherwise.
    pub fn new(backend: Arc<dyn ConsoleBackend>) -> VirtioConsole {
        let size = VirtioConsoleState { columns: 80, rows: 25 };
        let mut console = VirtioConsole { backend, config: [0; CONFIG], size, counters: Arc::default() };
        console.set_size(size);
        console
    }

    /// Bytes carried; shared, because the device itself goes into its transport.
    pub fn counters(&self) -> Arc<ConsoleCounters> {
        self.counters.clone()
    }

    fn set_size(&mut self, size: VirtioConsoleState) {
        self.size = size;
        self.config[0..2].copy_from_slice(&size.columns.to_le_bytes());
        self.config[2..4].copy_from_slice(&size.rows.to_le_bytes());
    }

    fn send(&self, bytes: &[u8]) {
        self.backend.output(bytes);
        self.counters.bytes_out.add(bytes.len() as u64);
    }

    fn transmit<M: GuestMemory>(&self, chain: &Chain, mem: &M) -> Outcome {
        let mut buf = [0; CHUNK];
        let (mut done, total) = (0, chain::total(chain.readable()));
        while done < total {
            let chunk = &mut buf[..(total - done).min(CHUNK as u64) as usize];
            if chain::copy_from(chain.readable(), done, chunk, mem).is_none() {
                break;
            }
            self.send(chunk);
            done += chunk.len() as u64;
        }
        Outcome::Done(0)
    }

    fn receive<M: GuestMemory>(&self, chain: &Chain, mem: &M) -> Outcome {
        let mut buf = [0; CHUNK];
        let room = chain::total(chain.writable()).min(CHUNK as u64) as usize;
        if room == 0 {
            return Outcome::Done(0);
        }
        let count = self.backend.input(&mut buf[..room]).min(room);
        if count == 0 {
            return Outcome::Wait;
        }
        let written = chain::copy_to(chain.writable(), 0, &buf[..count], mem).unwrap_or(0);
        self.counters.bytes_in.add(written as u64);
        Outcome::Done(written as u32)
    }
}

impl<M: GuestMemory + Send + Sync + 'static> VirtioMmio<M, VirtioConsole> {
    /// The backend has input again.
    pub fn input_ready(&self) {
        self.kick(RECEIVE);
    }

    /// The terminal has another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.change_config(|console| console.set_size(VirtioConsoleState { columns, rows }));
    }
}

impl<M: GuestMemory> VirtioDevice<M> for VirtioConsole {
    type State = VirtioConsoleState;

    fn id(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        bit(F_SIZE) | bit(F_EMERG_WRITE)
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        if let (CONFIG_EMERG_WRITE, Some(&byte)) = (offset, bytes.first()) {
            self.send(&[byte]);
        }
    }

    fn serve(&mut self, queue: usize, chain: &Chain, mem: &M) -> Outcome {
        match queue {
            RECEIVE => self.receive(chain, mem),
            _ => self.transmit(chain, mem),
        }
    }

    fn save(&self) -> VirtioConsoleState {
        self.size
    }

    fn restore(&mut self, state: VirtioConsoleState) -> Result<(), RestoreError> {
        self.set_size(state);
        Ok(())
    }
}
