//! Garbage for virtio devices: a byte string played as what a hostile driver does.
//!
//! A property test and a fuzz target share it: [`torture`] takes any bytes,
//! builds a device, plays them, and panics if something happened that must not.
//!
//! ```text
//! LOW    rings, tables, buffers: every address in the script points here,
//!        around its ends, or nowhere
//! (hole)
//! GUARD  memory that no descriptor names: it must keep its pattern
//! ```

use super::driver::*;
use super::wires::{BufferConsole, RecordedLine};
use crate::bus::MmioDevice;
use crate::snapshot::Snapshot;
use crate::virtio::{Access, Block, Disk, Entropy, Version, VirtioConsole, VirtioDevice, VirtioMmio};
use std::io::Write;
use std::sync::Arc;
use virtio_bindings::virtio_mmio::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The memory of the tortured machine.
pub type Memory = GuestMemoryMmap<()>;

const LOW: u64 = 0x8000_0000;
const LOW_SIZE: u64 = 0x2_0000;
const HOLE: u64 = LOW + LOW_SIZE;
const GUARD: u64 = 0x8010_3000;
const GUARD_SIZE: usize = 0x2000;
const PATTERN: u8 = 0xa5;

/// Where a proper driver puts queue `index`.
const fn queue_at(index: u64) -> u64 {
    LOW + index * 0x4000
}
/// Indirect tables and buffers.
const ARENA: u64 = LOW + 0x8000;
const QUEUE_SIZE: u16 = 16;
const DISK: usize = 64 * 512;

/// The script, read as numbers; it ends with zeroes.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number<const BYTES: usize>(&mut self) -> u64 {
        (0..BYTES).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// An address in LOW, at its ends, or nowhere; never in GUARD.
    fn gpa(&mut self) -> u64 {
        let near = self.number::<1>();
        match self.byte() % 8 {
            0 => LOW + self.number::<2>(),
            1 => HOLE - near,
            2 => self.pick(&[0, LOW - 1, HOLE, u64::MAX, u64::MAX - 15, 1 << 63]),
            3 => queue_at(near % 2) + self.number::<1>() * 16,
            _ => ARENA + near * 16,
        }
    }

    fn len(&mut self) -> u32 {
        match self.byte() % 6 {
            0 => self.pick(&[0, 1, 15, 16, 17, 511, 512, 513, u32::MAX, 1 << 31, LOW_SIZE as u32]),
            1 => self.number::<2>() as u32,
            2 => self.number::<4>() as u32,
            _ => 16 * u32::from(self.byte() % 64),
        }
    }
}

/// Plays `script` on `device` as its driver.
pub fn play(script: &[u8], device: &dyn MmioDevice, mem: &Memory, version: Version, queues: usize) {
    let mut script = Script(script);
    let places: Vec<DriverQueue> =
        (0..queues as u64).map(|index| DriverQueue::at(queue_at(index), QUEUE_SIZE)).collect();
    let mut driver = Driver::start(device, mem, version, ALL_FEATURES, &places);
    while !script.0.is_empty() {
        let queue = usize::from(script.byte()) % queues;
        match script.byte() % 16 {
            0 => driver = Driver::start(device, mem, version, script.number::<8>(), &places),
            1 => register(&mut script, device),
            2 => place(&mut script, &driver),
            3 => header(&mut script, mem),
            4..8 => descriptor(&mut script, &driver, queue),
            8 => {
                mem.write_slice(&[0; 0x200], GuestAddress(queue_at(queue as u64) + 0x100)).unwrap_or_default()
            }
            9..12 => request(&mut script, &mut driver, queue),
            _ => {
                driver.offer(queue, script.number::<1>() as u16 % (QUEUE_SIZE + 2));
                driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, queue as u32);
            }
        }
    }
    driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/// Any access to any register, but for those that say where queues are.
fn register(script: &mut Script, device: &dyn MmioDevice) {
    let (offset, size) = (script.number::<2>() % 0x120, script.pick(&[1, 2, 4, 8]));
    let value = script.number::<4>();
    let places = [
        VIRTIO_MMIO_GUEST_PAGE_SIZE..VIRTIO_MMIO_QUEUE_SEL,
        VIRTIO_MMIO_QUEUE_PFN..VIRTIO_MMIO_QUEUE_READY,
        VIRTIO_MMIO_QUEUE_DESC_LOW..VIRTIO_MMIO_SHM_SEL,
    ];
    let _ = device.read(offset, size);
    if !places.iter().any(|place| place.contains(&(offset as u32))) {
        let _ = device.write(offset, size, value);
    }
}

/// Says where a queue is, mostly wrongly.
fn place(script: &mut Script, driver: &Driver<Memory>) {
    driver.write(VIRTIO_MMIO_QUEUE_SEL, script.number::<1>() as u32 % 3);
    driver.write(VIRTIO_MMIO_GUEST_PAGE_SIZE, script.pick(&[PAGE as u32, 0, 1, 3, u32::MAX]));
    let page = (LOW / PAGE) as u32 + u32::from(script.byte() % 32);
    driver.write(VIRTIO_MMIO_QUEUE_PFN, script.pick(&[page, page, 0, u32::MAX, (HOLE / PAGE) as u32]));
    driver.write(VIRTIO_MMIO_QUEUE_NUM, script.pick(&[1, 2, 16, 256, 3, 0, 1 << 16]));
    for (low, high) in [
        (VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH),
        (VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH),
        (VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_QUEUE_USED_HIGH),
    ] {
        driver.write(low, script.gpa() as u32);
        driver.write(high, script.pick(&[0, 0, 0, 1, u32::MAX]));
    }
    driver.write(VIRTIO_MMIO_QUEUE_READY, script.pick(&[0, 1, 1, u32::MAX]));
}

/// A block request's header, often with a kind that exists.
fn header(script: &mut Script, mem: &Memory) {
    let mut bytes = [0; 16];
    let kind = script.pick(&[0u32, 0, 1, 1, 4, 8, 11, 13, 2, u32::MAX]);
    let sector = script.pick(&[0, 1, 62, 63, 64, u64::MAX, u64::MAX / 512]);
    bytes[0..4].copy_from_slice(&kind.to_le_bytes());
    bytes[8..16].copy_from_slice(&sector.to_le_bytes());
    let at = ARENA + script.number::<1>() * 16;
    mem.write_slice(&bytes, GuestAddress(at)).expect("the arena is RAM");
}

/// One descriptor, in the queue's table or in an indirect one.
fn descriptor(script: &mut Script, driver: &Driver<Memory>, queue: usize) {
    let table = match script.byte() % 3 {
        0 => ARENA + script.number::<1>() * 16,
        _ => driver.queues[queue].desc,
    };
    let buffer = Buffer { gpa: script.gpa(), len: script.len(), writable: script.byte() & 1 != 0 };
    let flags = u32::from(script.pick(&[0u16, 0, 1, 1, 1, 4, 5, 0xffff]));
    let index = u16::from(script.byte()) % QUEUE_SIZE;
    driver.descriptor(table, index, buffer, flags, u16::from(script.byte()) % (QUEUE_SIZE + 2));
}

/// A chain that is well formed but for its addresses and lengths.
fn request(script: &mut Script, driver: &mut Driver<Memory>, queue: usize) {
    let count = script.byte() % 6;
    let split = script.byte() % 6;
    let mut buffers = vec![readable(ARENA + script.number::<1>() * 16, 16)];
    buffers.extend((0..count).map(|i| Buffer { gpa: script.gpa(), len: script.len(), writable: i >= split }));
    buffers.push(writable(ARENA + script.number::<1>(), 1));
    if script.byte() & 1 != 0 {
        driver.add(queue, &buffers);
    } else {
        driver.add_indirect(queue, ARENA + script.number::<1>() * 16, &buffers);
    }
    driver.kick(queue);
}

/// Builds the device that the first byte chooses and plays the rest on it.
///
/// # Panics
/// If GUARD changes, if the disk changes its length, or if a reset does not bring
/// the device back.
pub fn torture(script: &[u8]) {
    let (choice, script) = script.split_first().unwrap_or((&0, &[]));
    let version = if choice & 1 == 0 { Version::Modern } else { Version::Legacy };
    match choice >> 1 & 3 {
        0 => torture_device(script, version, Entropy::new(), 1, |_| {}),
        1 => {
            let backend = Arc::new(BufferConsole::default());
            let input = backend.clone();
            torture_device(script, version, VirtioConsole::new(backend), 2, move |transport| {
                input.type_in(b"typed by somebody");
                transport.input_ready();
            });
        }
        _ => torture_block(script, version, choice & 8 != 0),
    }
}

fn torture_block(script: &[u8], version: Version, read_only: bool) {
    let mut image = tempfile::NamedTempFile::new().expect("the host has room for a file");
    image.write_all(&[0xd1; DISK]).expect("the host has room for a file");
    let disk = Disk::open(image.path(), if read_only { Access::Read } else { Access::Write })
        .expect("nobody else uses the file");
    torture_device(script, version, Block::new(disk, "garbage"), 1, |_| {});
    let bytes = std::fs::read(image.path()).expect("the file is there");
    assert_eq!(bytes.len(), DISK, "the disk keeps its length");
    assert!(!read_only || bytes.iter().all(|&byte| byte == 0xd1), "the read-only disk keeps its content");
}

fn torture_device<D: VirtioDevice<Memory>>(
    script: &[u8],
    version: Version,
    device: D,
    queues: usize,
    stir: impl Fn(&VirtioMmio<Memory, D>),
) {
    let ranges = [(GuestAddress(LOW), LOW_SIZE as usize), (GuestAddress(GUARD), GUARD_SIZE)];
    let mem = Arc::new(Memory::from_ranges(&ranges).expect("the ranges do not overlap"));
    let guard = || {
        let mut bytes = [0; GUARD_SIZE];
        mem.read_slice(&mut bytes, GuestAddress(GUARD)).expect("the guard is RAM");
        bytes
    };
    mem.write_slice(&[PATTERN; GUARD_SIZE], GuestAddress(GUARD)).expect("the guard is RAM");
    let transport = VirtioMmio::new(version, device, mem.clone(), Arc::new(RecordedLine::default()));
    let (first, second) = script.split_at(script.len() / 2);
    play(first, &*transport, &mem, version, queues);
    stir(&transport);
    transport.quiesce();
    let state = transport.save();
    // A queue whose rings the guest has moved out of RAM cannot be saved as
    // ready, so what was saved can always be restored.
    transport.restore(state).expect("a device takes its own state");
    transport.resume();
    play(second, &*transport, &mem, version, queues);
    transport.quiesce();
    assert!(guard().iter().all(|&byte| byte == PATTERN), "memory that no descriptor names has changed");

    mem.write_slice(&[0; LOW_SIZE as usize], GuestAddress(LOW)).expect("the rings are RAM");
    let places: Vec<DriverQueue> =
        (0..queues as u64).map(|index| DriverQueue::at(queue_at(index), QUEUE_SIZE)).collect();
    let mut driver = Driver::start(&*transport, &*mem, version, ALL_FEATURES, &places);
    let last = queues - 1;
    let head = driver.add(last, &[readable(ARENA, 16), writable(ARENA + 0x100, 513)]);
    driver.kick(last);
    transport.quiesce();
    assert_eq!(driver.take_used(last).map(|(head, _)| head), Some(head), "a reset mends the device");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clint::Clint;
    use crate::plic::Plic;
    use crate::rtc::{HostWallClock, Rtc};
    use crate::testing::wires::{ManualClock, RecordedLines};
    use crate::uart::Uart;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_driver_breaks_more_than_its_device(
            choice in 0u8..16,
            script in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            torture(&[&[choice], script.as_slice()].concat());
        }

        #[test]
        fn no_access_panics(
            accesses in proptest::collection::vec((any::<bool>(), 0u64..0x60_0000, 0usize..4, any::<u64>()), 0..200),
        ) {
            let lines = Arc::new(RecordedLines::new(2));
            let plic = Arc::new(Plic::new(2, lines.clone()));
            let console = Arc::new(BufferConsole::default());
            console.type_in(&[b'x'; 1000]);
            let devices: [(Arc<dyn MmioDevice>, u64); 4] = [
                (plic.clone(), 0x60_0000),
                (Arc::new(Clint::new(2, lines, Arc::new(ManualClock::default()))), 0x1_0000),
                (Arc::new(Uart::new(console, plic.latching_line(10))), 0x10),
                (Arc::new(Rtc::new(Arc::new(HostWallClock), plic.line(11))), 0x30),
            ];
            for (write, offset, size, value) in accesses {
                for (device, window) in &devices {
                    let (offset, size) = (offset % window, [1, 2, 4, 8][size]);
                    if write {
                        let _ = device.write(offset, size, value);
                    } else {
                        let _ = device.read(offset, size);
                    }
                }
            }
        }
    }

    /// A generator whose scripts never get anywhere tests nothing.
    #[test]
    fn scripts_reach_both_served_and_malformed_chains() {
        let ranges = [(GuestAddress(LOW), LOW_SIZE as usize)];
        let mem = Arc::new(Memory::from_ranges(&ranges).unwrap());
        let transport =
            VirtioMmio::new(Version::Modern, Entropy::new(), mem.clone(), Arc::new(RecordedLine::default()));
        let mut seed = 1u64;
        let script: Vec<u8> = (0..20_000)
            .map(|_| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (seed >> 56) as u8
            })
            .collect();
        play(&script, &*transport, &mem, Version::Modern, 1);
        let counters = transport.counters();
        assert!(counters.chains.get() > 20, "{counters:?}");
        assert!(counters.broken.get() > 20, "{counters:?}");
    }
}
