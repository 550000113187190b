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
    const VERSION: u16 = 1;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::MmioDevice;
    use crate::snapshot::Snapshot;
    use crate::testing::driver::*;
    use crate::testing::wires::{BufferConsole, RecordedLine};
    use crate::virtio::Version;
    use virtio_bindings::virtio_mmio::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    type Memory = GuestMemoryMmap<()>;

    const RAM: u64 = 0x8000_0000;
    const DATA: u64 = RAM + 0x1_0000;
    const TRANSMIT: usize = 1;

    struct Rig {
        mem: Arc<Memory>,
        backend: Arc<BufferConsole>,
        line: Arc<RecordedLine>,
        transport: Arc<VirtioMmio<Memory, VirtioConsole>>,
        counters: Arc<ConsoleCounters>,
        version: Version,
    }

    impl Rig {
        fn new(version: Version) -> Rig {
            let mem = Arc::new(Memory::from_ranges(&[(GuestAddress(RAM), 0x10_0000)]).unwrap());
            let (backend, line) = (Arc::new(BufferConsole::default()), Arc::new(RecordedLine::default()));
            let console = VirtioConsole::new(backend.clone());
            let counters = console.counters();
            let transport = VirtioMmio::new(version, console, mem.clone(), line.clone());
            Rig { mem, backend, line, transport, counters, version }
        }

        fn driver(&self) -> Driver<'_, Memory> {
            let queues = [DriverQueue::at(RAM, QUEUE_SIZE), DriverQueue::at(RAM + 0x4000, QUEUE_SIZE)];
            Driver::start(&*self.transport, &*self.mem, self.version, ALL_FEATURES, &queues)
        }

        fn bytes(&self, gpa: u64, len: usize) -> Vec<u8> {
            let mut bytes = vec![0; len];
            self.mem.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
            bytes
        }
    }

    #[test]
    fn output_of_any_length_reaches_the_backend() {
        for version in [Version::Legacy, Version::Modern] {
            let rig = Rig::new(version);
            let mut driver = rig.driver();
            let text: Vec<u8> = (0..3 * CHUNK + 5).map(|i| i as u8).collect();
            rig.mem.write_slice(&text, GuestAddress(DATA)).unwrap();
            let (first, rest) = (7, text.len() as u32 - 7);
            let head = driver.add(TRANSMIT, &[readable(DATA, first), readable(DATA + 7, rest)]);
            driver.kick(TRANSMIT);
            assert_eq!(driver.take_used(TRANSMIT), Some((head, 0)));
            assert_eq!(rig.backend.take_output(), text);
            assert_eq!(rig.counters.bytes_out.get(), text.len() as u64);
        }
    }

    #[test]
    fn input_waits_for_buffers_and_buffers_for_input() {
        let rig = Rig::new(Version::Modern);
        let mut driver = rig.driver();
        rig.backend.type_in(b"early");
        rig.transport.input_ready();
        assert_eq!(rig.backend.waiting(), 5);
        let first = driver.add(RECEIVE, &[writable(DATA, 2), writable(DATA + 0x100, 1)]);
        let second = driver.add(RECEIVE, &[writable(DATA + 0x200, 100)]);
        let third = driver.add(RECEIVE, &[writable(DATA + 0x300, 100)]);
        driver.kick(RECEIVE);
        assert_eq!(driver.take_used(RECEIVE), Some((first, 3)));
        assert_eq!(driver.take_used(RECEIVE), Some((second, 2)));
        assert_eq!((rig.bytes(DATA, 2), rig.bytes(DATA + 0x100, 1)), (b"ea".to_vec(), b"r".to_vec()));
        assert_eq!(driver.take_used(RECEIVE), None);
        driver.write(VIRTIO_MMIO_INTERRUPT_ACK, 1);
        rig.backend.type_in(b"late");
        rig.transport.input_ready();
        assert_eq!(driver.take_used(RECEIVE), Some((third, 4)));
        assert_eq!(rig.bytes(DATA + 0x300, 4), b"late");
        assert!(rig.line.level());
        assert_eq!(rig.counters.bytes_in.get(), 9);
    }

    #[test]
    fn chain_of_the_wrong_direction_is_given_back_empty() {
        let rig = Rig::new(Version::Modern);
        let mut driver = rig.driver();
        rig.backend.type_in(b"kept");
        let head = driver.add(RECEIVE, &[readable(DATA, 8)]);
        driver.kick(RECEIVE);
        assert_eq!(driver.take_used(RECEIVE), Some((head, 0)));
        let head = driver.add(TRANSMIT, &[writable(DATA, 8)]);
        driver.kick(TRANSMIT);
        assert_eq!(driver.take_used(TRANSMIT), Some((head, 0)));
        assert_eq!((rig.backend.waiting(), rig.backend.take_output().len()), (4, 0));
        assert_eq!(rig.bytes(DATA, 8), [0; 8]);
    }

    #[test]
    fn resize_is_announced_and_saved() {
        let rig = Rig::new(Version::Modern);
        let driver = rig.driver();
        assert_eq!(driver.config(0, 4), 25 << 16 | 80);
        rig.transport.resize(132, 50);
        assert_eq!(driver.config(0, 4), 50 << 16 | 132);
        assert_eq!(driver.read(VIRTIO_MMIO_CONFIG_GENERATION), 1);
        assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), 2);
        let fresh = Rig::new(Version::Modern);
        let driver = fresh.driver();
        // The saved queues lie in the other machine's memory at the same place.
        fresh.transport.restore(rig.transport.save()).unwrap();
        assert_eq!(driver.config(0, 4), 50 << 16 | 132);
        assert!(fresh.line.level());
    }

    #[test]
    fn emergency_byte_needs_no_queue() {
        let rig = Rig::new(Version::Modern);
        let at = u64::from(VIRTIO_MMIO_CONFIG) + CONFIG_EMERG_WRITE as u64;
        rig.transport.write(at, 4, b'!'.into()).unwrap();
        rig.transport.write(at - 8, 4, b'?'.into()).unwrap();
        assert_eq!(rig.backend.take_output(), b"!");
    }
}
