//! The transport as drivers use it, with a device that records what it is given.

use super::*;
use crate::bus::MmioDevice;
use crate::snapshot::{RestoreError, Snapshot};
use crate::testing::driver::*;
use crate::testing::wires::RecordedLine;
use crate::virtio::chain;
use std::sync::atomic::AtomicBool;
use virtio_bindings::virtio_config::*;
use virtio_bindings::virtio_mmio::*;
use virtio_bindings::virtio_ring::*;
use vm_memory::GuestMemoryMmap;

type Memory = GuestMemoryMmap<()>;

const RAM: u64 = 0x8000_0000;
const RAM_SIZE: usize = 0x10_0000;
const QUEUE: u64 = RAM;
const BUFFERS: u64 = RAM + 0x4_0000;
const SIZE: u16 = 8;

/// Answers each chain by adding 1 to every byte it reads.
#[derive(Default)]
struct Increment {
    /// Leave the chain where it is.
    wait: Arc<AtomicBool>,
    /// Answer on the helper thread, which waits for this lock.
    gate: Option<Arc<Mutex<()>>>,
    negotiated: u64,
    config: Vec<u8>,
}

impl<M: GuestMemory> VirtioDevice<M> for Increment {
    type State = Vec<u8>;
    const VERSION: u16 = 1;

    fn id(&self) -> u32 {
        42
    }
    fn queue_sizes(&self) -> &[u16] {
        &[SIZE, SIZE]
    }
    fn features(&self) -> u64 {
        1 << 5
    }
    fn config(&self) -> &[u8] {
        &self.config
    }
    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        let end = (offset + bytes.len()).min(self.config.len());
        if let Some(to) = self.config.get_mut(offset..end) {
            to.copy_from_slice(&bytes[..to.len()]);
        }
    }
    fn negotiated(&mut self, features: u64) {
        self.negotiated = features;
    }
    fn serve(&mut self, _queue: usize, chain: &Chain, mem: &M) -> Outcome {
        if self.wait.load(SeqCst) {
            return Outcome::Wait;
        }
        if let Some(gate) = self.gate.clone() {
            let answer_at = chain.writable()[0].gpa;
            let work = Box::new(move || {
                drop(gate.lock());
                99
            });
            return Outcome::Later(Deferred { work, answer_at, written: 1 });
        }
        let mut bytes = vec![0; total(chain.readable()).min(256) as usize];
        chain::copy_from(chain.readable(), 0, &mut bytes, mem).unwrap();
        bytes.iter_mut().for_each(|byte| *byte += 1);
        Outcome::Done(chain::copy_to(chain.writable(), 0, &bytes, mem).unwrap() as u32)
    }
    fn save(&self) -> Vec<u8> {
        self.config.clone()
    }
    fn restore(&mut self, state: Vec<u8>) -> Result<(), RestoreError> {
        self.config = state;
        Ok(())
    }
}

struct Rig {
    mem: Arc<Memory>,
    line: Arc<RecordedLine>,
    transport: Arc<VirtioMmio<Memory, Increment>>,
    version: Version,
}

impl Rig {
    fn with(version: Version, device: Increment) -> Rig {
        let mem = Arc::new(Memory::from_ranges(&[(GuestAddress(RAM), RAM_SIZE)]).unwrap());
        let line = Arc::new(RecordedLine::default());
        let transport = VirtioMmio::new(version, device, mem.clone(), line.clone());
        Rig { mem, line, transport, version }
    }

    fn new(version: Version) -> Rig {
        Rig::with(version, Increment { config: (0..10).collect(), ..Increment::default() })
    }

    fn driver(&self, features: u64) -> Driver<'_, Memory> {
        let queues = [DriverQueue::at(QUEUE, SIZE), DriverQueue::at(QUEUE + 0x4000, SIZE)];
        Driver::start(&*self.transport, &self.mem, self.version, features, &queues)
    }

    /// A request of `bytes` with room for the answer, at place `n`.
    fn request(&self, n: u64, bytes: &[u8]) -> [Buffer; 2] {
        let at = BUFFERS + n * 0x200;
        self.mem.write_slice(bytes, GuestAddress(at)).unwrap();
        [readable(at, bytes.len() as u32), writable(at + 0x100, bytes.len() as u32)]
    }

    fn answer(&self, n: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.mem.read_slice(&mut bytes, GuestAddress(BUFFERS + n * 0x200 + 0x100)).unwrap();
        bytes
    }
}

const NO_EVENT_IDX: u64 = ALL_FEATURES & !EVENT_IDX;
const VERSIONS: [Version; 2] = [Version::Legacy, Version::Modern];

#[test]
fn both_layouts_carry_requests_with_and_without_indirect_tables() {
    for version in VERSIONS {
        let rig = Rig::new(version);
        let mut driver = rig.driver(ALL_FEATURES);
        for round in 0..3 * u64::from(SIZE) {
            let request = rig.request(0, &[round as u8, 7]);
            let head = match round % 2 {
                0 => driver.add(0, &request),
                _ => driver.add_indirect(0, BUFFERS + 0x8000, &request),
            };
            assert!(driver.kick(0));
            assert_eq!(driver.take_used(0), Some((head, 2)), "{version:?} round {round}");
            assert_eq!(rig.answer(0, 2), [round as u8 + 1, 8]);
            assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), USED);
            assert!(rig.line.level());
            driver.write(VIRTIO_MMIO_INTERRUPT_ACK, USED);
            assert!(!rig.line.level());
        }
        assert_eq!(rig.transport.counters().chains.get(), 24);
    }
}

#[test]
fn identity_registers_are_those_of_the_layout() {
    for (version, number) in [(Version::Legacy, 1), (Version::Modern, 2)] {
        let rig = Rig::new(version);
        let driver = rig.driver(ALL_FEATURES);
        assert_eq!(driver.read(VIRTIO_MMIO_MAGIC_VALUE), u32::from_le_bytes(*b"virt"));
        assert_eq!(driver.read(VIRTIO_MMIO_VERSION), number);
        assert_eq!(driver.read(VIRTIO_MMIO_DEVICE_ID), 42);
        assert_eq!(driver.read(VIRTIO_MMIO_VENDOR_ID), u32::from_le_bytes(*b"QEMU"));
        let version_1 = driver.offered() >> VIRTIO_F_VERSION_1 & 1;
        assert_eq!(version_1, u64::from(version == Version::Modern));
        driver.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
        assert_eq!(driver.read(VIRTIO_MMIO_DEVICE_FEATURES), 0);
        let shm = driver.read(VIRTIO_MMIO_SHM_LEN_LOW);
        assert_eq!(shm, if version == Version::Modern { u32::MAX } else { 0 });
        for (selected, max) in [(0, u32::from(SIZE)), (1, SIZE.into()), (2, 0), (u32::MAX, 0)] {
            driver.write(VIRTIO_MMIO_QUEUE_SEL, selected);
            assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_NUM_MAX), max);
        }
    }
}

#[test]
fn feature_that_was_not_offered_is_not_ok() {
    let rig = Rig::new(Version::Modern);
    let driver = rig.driver(ALL_FEATURES);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    driver.accept(driver.offered() | 1 << 50);
    driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_FEATURES_OK);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    driver.accept(driver.offered());
    driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FEATURES_OK);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_FEATURES_OK);
    driver.accept(0);
    let negotiated = rig.transport.enter(|core| core.device.negotiated);
    assert_eq!(negotiated, driver.offered(), "FEATURES_OK froze them");
}

/// xv6 accepts only what it knows, in the low word, and never VERSION_1.
#[test]
fn modern_driver_without_version_1_is_served() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(0);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), LIVE);
    driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert_eq!(driver.take_used(0), Some((0, 1)));
}

/// Older xv6 sets DRIVER_OK first and its queue up afterwards.
#[test]
fn legacy_queue_may_be_set_up_after_driver_ok() {
    let rig = Rig::new(Version::Legacy);
    let mut driver = rig.driver(0);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    driver.write(VIRTIO_MMIO_STATUS, LIVE);
    driver.place(0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_PFN), (QUEUE / PAGE) as u32);
    driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert_eq!(driver.take_used(0), Some((0, 1)));
    driver.write(VIRTIO_MMIO_QUEUE_PFN, 0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_PFN), 0);
}

/// Linux stores GuestPageSize before it resets the device.
#[test]
fn legacy_page_size_survives_the_drivers_reset() {
    let rig = Rig::new(Version::Legacy);
    let mut driver = rig.driver(0);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 0);
    driver.write(VIRTIO_MMIO_QUEUE_NUM, SIZE.into());
    driver.write(VIRTIO_MMIO_QUEUE_PFN, (QUEUE / PAGE) as u32);
    driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert_eq!(driver.take_used(0), Some((0, 1)));
}

#[test]
fn modern_queue_waits_for_driver_ok() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    driver.accept(driver.features);
    driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FEATURES_OK);
    driver.place(0);
    driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert_eq!(driver.take_used(0), None);
    driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK);
    assert_eq!(driver.take_used(0), Some((0, 1)), "what was there is served at DRIVER_OK");
}

#[test]
fn batch_is_one_kick_and_one_interrupt() {
    for features in [ALL_FEATURES, NO_EVENT_IDX] {
        let rig = Rig::new(Version::Modern);
        let mut driver = rig.driver(features);
        let heads: Vec<u16> = (0..4).map(|n| driver.add(0, &rig.request(n, &[n as u8]))).collect();
        assert!(driver.kick(0));
        let used: Vec<u16> = std::iter::from_fn(|| driver.take_used(0)).map(|(head, _)| head).collect();
        assert_eq!(used, heads);
        assert_eq!(rig.line.rises(), 1);
        assert_eq!(rig.transport.counters().interrupts.get(), 1);
    }
}

#[test]
fn driver_that_wants_no_interrupt_gets_none() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(NO_EVENT_IDX);
    driver.refuse_interrupts(0, true);
    driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert!(driver.take_used(0).is_some() && !rig.line.level());
    driver.refuse_interrupts(0, false);
    driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert!(rig.line.level());

    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    for n in 0..2 {
        driver.add(0, &rig.request(n, &[1]));
        driver.kick(0);
    }
    assert_eq!(rig.line.rises(), 1, "the driver has not moved its event index");
    assert_eq!(rig.transport.counters().suppressed.get(), 1);
}

#[test]
fn waiting_queue_asks_for_no_kicks_and_goes_on_when_rung() {
    let wait = Arc::new(AtomicBool::new(true));
    let rig = Rig::with(Version::Modern, Increment { wait: wait.clone(), ..Increment::default() });
    let mut driver = rig.driver(NO_EVENT_IDX);
    let head = driver.add(0, &rig.request(0, &[4]));
    driver.kick(0);
    assert_eq!(driver.take_used(0), None);
    driver.add(0, &rig.request(1, &[5]));
    assert!(!driver.wants_kick(0));
    wait.store(false, SeqCst);
    rig.transport.kick(0);
    assert_eq!(driver.take_used(0), Some((head, 1)));
    assert!(driver.take_used(0).is_some());
    assert!(driver.wants_kick(0));
}

#[test]
fn more_than_a_budget_is_finished_by_the_helper() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(NO_EVENT_IDX);
    for n in 0..u64::from(SIZE) {
        let [first, _] = rig.request(n, &[n as u8]);
        driver.add(0, &[first]);
    }
    driver.kick(0);
    rig.transport.quiesce();
    assert_eq!(std::iter::from_fn(|| driver.take_used(0)).count(), usize::from(SIZE));
    assert_eq!(rig.transport.counters().deferred.get(), 1);
    assert!(driver.wants_kick(0), "the helper has found the queue empty");
}

#[test]
fn bytes_count_against_the_budget_too() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(NO_EVENT_IDX);
    let all = writable(RAM, RAM_SIZE as u32);
    let whole = BATCH_BYTES as usize / RAM_SIZE + 1;
    for _ in 0..2 {
        driver.add_indirect(0, BUFFERS, &vec![all; whole]);
    }
    driver.kick(0);
    rig.transport.quiesce();
    assert_eq!(std::iter::from_fn(|| driver.take_used(0)).count(), 2);
    assert_eq!(rig.transport.counters().deferred.get(), 2);
}

#[test]
fn deferred_chain_is_given_back_when_its_work_is_done() {
    let gate = Arc::new(Mutex::new(()));
    let rig = Rig::with(Version::Modern, Increment { gate: Some(gate.clone()), ..Increment::default() });
    let mut driver = rig.driver(ALL_FEATURES);
    let closed = gate.lock();
    let head = driver.add(0, &rig.request(0, &[1]));
    driver.kick(0);
    assert_eq!((driver.take_used(0), rig.answer(0, 1)), (None, vec![0]));
    drop(closed);
    rig.transport.quiesce();
    assert_eq!((driver.take_used(0), rig.answer(0, 1)), (Some((head, 1)), vec![99]));
    assert!(rig.line.level());
}

#[test]
fn reset_takes_memory_away_from_deferred_work() {
    for stop_queue_only in [false, true] {
        let gate = Arc::new(Mutex::new(()));
        let rig = Rig::with(Version::Modern, Increment { gate: Some(gate.clone()), ..Increment::default() });
        let mut driver = rig.driver(ALL_FEATURES);
        let closed = gate.lock();
        driver.add(0, &rig.request(0, &[1]));
        driver.kick(0);
        if stop_queue_only {
            driver.write(VIRTIO_MMIO_QUEUE_READY, 0);
        } else {
            driver.write(VIRTIO_MMIO_STATUS, 0);
        }
        drop(closed);
        rig.transport.quiesce();
        assert_eq!((driver.take_used(0), rig.answer(0, 1)), (None, vec![0]));
        assert!(!rig.line.level());
    }
}

/// Puts one bad chain into a fresh queue and checks that the device breaks.
fn assert_breaks(what: &str, put: impl Fn(&Rig, &mut Driver<Memory>)) {
    for version in VERSIONS {
        let rig = Rig::new(version);
        let mut driver = rig.driver(ALL_FEATURES);
        put(&rig, &mut driver);
        driver.kick(0);
        assert_eq!(driver.take_used(0), None, "{what}: nothing is given back");
        assert_eq!(rig.answer(0, 16), [0; 16], "{what}: nothing is written");
        assert_eq!(rig.transport.counters().broken.get(), 1, "{what}");
        let needs_reset = driver.read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET != 0;
        assert_eq!(needs_reset, version == Version::Modern, "{what}");
        assert_eq!(rig.line.level(), version == Version::Modern, "{what}");

        driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        assert_eq!(rig.transport.counters().broken.get(), 1, "{what}: it takes no more chains");
        rig.mem.write_slice(&[0; 0x2000], GuestAddress(QUEUE)).unwrap();
        let mut driver = rig.driver(ALL_FEATURES);
        driver.add(0, &rig.request(1, &[1]));
        driver.kick(0);
        assert!(driver.take_used(0).is_some(), "{what}: reset mends it");
    }
}

#[test]
fn malformed_chain_breaks_the_device_until_reset() {
    let end = RAM + RAM_SIZE as u64;
    assert_breaks("loop", |rig, driver| {
        let [first, second] = rig.request(0, &[1]);
        driver.descriptor(QUEUE, 0, first, VRING_DESC_F_NEXT, 1);
        driver.descriptor(QUEUE, 1, second, VRING_DESC_F_NEXT, 1);
        driver.offer(0, 0);
    });
    assert_breaks("next outside the table", |rig, driver| {
        let [first, _] = rig.request(0, &[1]);
        driver.descriptor(QUEUE, 0, first, VRING_DESC_F_NEXT, SIZE);
        driver.offer(0, 0);
    });
    assert_breaks("head outside the table", |_, driver| driver.offer(0, SIZE));
    assert_breaks("readable after writable", |rig, driver| {
        let [first, second] = rig.request(0, &[1]);
        driver.add(0, &[second, first]);
    });
    assert_breaks("empty descriptor", |rig, driver| {
        let [first, second] = rig.request(0, &[1]);
        driver.add(0, &[first, Buffer { len: 0, ..second }]);
    });
    for gpa in [0, RAM - 1, end, end - 1, u64::MAX, u64::MAX - 1] {
        assert_breaks("range outside RAM", |rig, driver| {
            let [first, _] = rig.request(0, &[1; 16]);
            driver.add(0, &[first, writable(gpa, 16)]);
        });
    }
    assert_breaks("4 GiB", |rig, driver| {
        let [first, second] = rig.request(0, &[1]);
        driver.add(0, &[first, Buffer { len: u32::MAX, ..second }]);
    });
    assert_breaks("indirect table of odd length", |rig, driver| {
        let [first, _] = rig.request(0, &[1]);
        driver.descriptor(QUEUE, 0, Buffer { len: 24, ..first }, VRING_DESC_F_INDIRECT, 0);
        driver.offer(0, 0);
    });
    assert_breaks("indirect table without entries", |rig, driver| {
        let [first, _] = rig.request(0, &[1]);
        driver.descriptor(QUEUE, 0, Buffer { len: 0, ..first }, VRING_DESC_F_INDIRECT, 0);
        driver.offer(0, 0);
    });
    assert_breaks("indirect table outside RAM", |_, driver| {
        driver.descriptor(QUEUE, 0, readable(end, 32), VRING_DESC_F_INDIRECT, 0);
        driver.offer(0, 0);
    });
    assert_breaks("table in a table", |_, driver| {
        let table = BUFFERS + 0x8000;
        driver.descriptor(table, 0, readable(table, 16), VRING_DESC_F_INDIRECT, 0);
        driver.descriptor(QUEUE, 0, readable(table, 16), VRING_DESC_F_INDIRECT, 0);
        driver.offer(0, 0);
    });
    assert_breaks("very long chain", |rig, driver| {
        let [first, _] = rig.request(0, &[1]);
        driver.add_indirect(0, BUFFERS + 0x8000, &[first; chain::LONGEST_CHAIN + 1]);
    });
    assert_breaks("available index that jumps", |_, driver| {
        for _ in 0..=SIZE {
            driver.offer(0, 0);
        }
    });
}

#[test]
fn queue_that_is_not_in_ram_is_not_started() {
    let end = RAM + RAM_SIZE as u64;
    for at in [0, end - PAGE, end, 0xffff_f000] {
        for version in VERSIONS {
            let rig = Rig::new(version);
            let mut driver = rig.driver(ALL_FEATURES);
            driver.write(VIRTIO_MMIO_STATUS, 0);
            driver.queues[0] = DriverQueue::at(at, SIZE);
            driver.place(0);
            driver.write(VIRTIO_MMIO_STATUS, LIVE);
            driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
            assert!(!rig.transport.enter(|core| core.queues[0].ready()), "{at:#x} {version:?}");
        }
    }
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    driver.queues[0].desc += 8;
    driver.place(0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0, "a misaligned table");
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_NEEDS_RESET);
}

#[test]
fn queue_size_must_be_a_power_of_two_up_to_the_largest() {
    let rig = Rig::new(Version::Modern);
    let driver = rig.driver(ALL_FEATURES);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    for (stored, size) in [(4, 4), (5, 4), (0, 4), (16, 4), (1 << 16 | 2, 4), (8, 8)] {
        driver.write(VIRTIO_MMIO_QUEUE_NUM, stored);
        assert_eq!(rig.transport.enter(|core| core.queues[0].size()), size);
    }
}

#[test]
fn registers_of_other_widths_are_harmless() {
    for version in VERSIONS {
        let rig = Rig::new(version);
        let transport = &rig.transport;
        for (offset, size) in [(0, 1), (0, 2), (0, 8), (1, 4), (0x70, 8), (0xf8, 4)] {
            assert_eq!(transport.read(offset, size), Ok(0), "{offset:#x} {size}");
            assert_eq!(transport.write(offset, size, u64::MAX), Ok(()));
        }
        transport.write(VIRTIO_MMIO_QUEUE_NOTIFY.into(), 4, u32::MAX.into()).unwrap();
        assert_eq!(transport.read(VIRTIO_MMIO_STATUS.into(), 4), Ok(0));
    }
}

#[test]
fn configuration_takes_any_width_and_shows_its_generation() {
    let rig = Rig::new(Version::Modern);
    let driver = rig.driver(ALL_FEATURES);
    assert_eq!(driver.config(2, 1), 2);
    assert_eq!(driver.config(2, 4), 0x0504_0302);
    assert_eq!(driver.config(0, 8), 0x0706_0504_0302_0100);
    assert_eq!(driver.config(8, 4), 0x0908, "past the end is 0");
    assert_eq!(driver.config(0xe00, 8), 0);
    rig.transport.write(u64::from(VIRTIO_MMIO_CONFIG) + 9, 2, 0xffaa).unwrap();
    assert_eq!(driver.config(8, 2), 0xaa08);

    assert_eq!(driver.read(VIRTIO_MMIO_CONFIG_GENERATION), 0);
    rig.transport.change_config(|device| device.config[0] = 77);
    assert_eq!(driver.read(VIRTIO_MMIO_CONFIG_GENERATION), 1);
    assert_eq!(driver.config(0, 1), 77);
    assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), CONFIG);
    driver.write(VIRTIO_MMIO_INTERRUPT_ACK, CONFIG);
    assert!(!rig.line.level());
}

#[test]
fn restore_in_mid_use_continues_there() {
    for version in VERSIONS {
        let wait = Arc::new(AtomicBool::new(false));
        let config = vec![1, 2, 3];
        let saved = Rig::with(version, Increment { wait: wait.clone(), config, ..Increment::default() });
        let mut driver = saved.driver(ALL_FEATURES);
        for n in 0..3 {
            driver.add(0, &saved.request(n, &[1]));
        }
        driver.kick(0);
        assert!(driver.take_used(0).is_some());
        wait.store(true, SeqCst);
        let last = driver.add(0, &saved.request(3, &[50]));
        driver.kick(0);
        saved.transport.quiesce();
        let state = saved.transport.save();

        // The memory stays; the device is another one.
        let line = Arc::new(RecordedLine::default());
        let fresh: Arc<VirtioMmio<Memory, Increment>> =
            VirtioMmio::new(version, Increment::default(), saved.mem.clone(), line.clone());
        fresh.restore(state.clone()).unwrap();
        assert!(line.level(), "the interrupt was not acknowledged");
        let mut driver = Driver::adopt(&*fresh, &*saved.mem, &driver);
        let mut take =
            || -> Vec<u16> { std::iter::from_fn(|| driver.take_used(0)).map(|(head, _)| head).collect() };
        let mut heads = take();
        assert_eq!(heads.len(), 2, "nothing is served before the machine is complete");
        fresh.resume();
        heads.extend(take());
        assert_eq!(heads.last(), Some(&last), "what was waiting is served");
        assert_eq!(heads.len(), 3);
        assert_eq!(driver.config(0, 4), 0x03_0201);
        let head = driver.add(0, &saved.request(4, &[60]));
        assert!(driver.kick(0));
        assert_eq!(driver.take_used(0), Some((head, 1)));
        assert_eq!(saved.answer(4, 1), [61]);
    }
}

#[test]
fn state_that_does_not_fit_is_refused_and_changes_nothing() {
    let rig = Rig::new(Version::Modern);
    let driver = rig.driver(ALL_FEATURES);
    let state = rig.transport.save();
    let mut bad = vec![state.clone(); 7];
    bad[0].id = 1;
    bad[1].version = Version::Legacy;
    bad[2].queues.pop();
    bad[3].queues[1].size = 3;
    bad[4].queues[0].place.desc = RAM - 16;
    bad[5].queues[0].place.align = 0;
    bad[6].queues[0].place.used += 2;
    for bad in bad {
        assert!(rig.transport.restore(bad).is_err());
        assert_eq!(rig.transport.save(), state);
    }
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), LIVE);
}

#[test]
fn two_harts_that_ring_lose_no_request() {
    let rig = Rig::new(Version::Modern);
    let init = rig.driver(ALL_FEATURES);
    std::thread::scope(|scope| {
        for index in 0..2usize {
            let rig = &rig;
            let mut driver = Driver::adopt(&*rig.transport, &*rig.mem, &init);
            scope.spawn(move || {
                for round in 0..2000u64 {
                    let head = driver.add(index, &rig.request(index as u64, &[round as u8 & 0x7f]));
                    driver.kick(index);
                    let used = loop {
                        match driver.take_used(index) {
                            Some(used) => break used,
                            None => std::thread::yield_now(),
                        }
                    };
                    assert_eq!(used, (head, 1));
                }
            });
        }
    });
    assert_eq!(rig.transport.counters().chains.get(), 4000);
}

#[test]
fn empty_slot_says_that_there_is_no_device() {
    let slot = EmptySlot { version: Version::Modern };
    assert_eq!(slot.read(0, 4), Ok(u64::from(u32::from_le_bytes(*b"virt"))));
    assert_eq!((slot.read(4, 4), slot.read(8, 4), slot.read(8, 1)), (Ok(2), Ok(0), Ok(0)));
    assert_eq!(slot.write(0x70, 4, 1), Ok(()));
    assert_eq!(slot.read(0x70, 4), Ok(0));
}
