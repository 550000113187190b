//! A small virtio-mmio driver: what a kernel does, for tests.
//!
//! It speaks both register layouts, obeys and uses EVENT_IDX, and leaves every
//! address to its caller, so that a test can also put wrong ones.

use crate::bus::MmioDevice;
use crate::virtio::Version;
use std::sync::atomic::Ordering::SeqCst;
use virtio_bindings::virtio_config::*;
use virtio_bindings::virtio_mmio::*;
use virtio_bindings::virtio_ring::*;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// The page of a legacy driver.
pub const PAGE: u64 = 4096;
/// All features, as far as offered.
pub const ALL_FEATURES: u64 = u64::MAX;
/// The status a driver ends its initialisation with.
pub const LIVE: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_DRIVER_OK;

/// A buffer to put into a queue.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Guest-physical address.
    pub gpa: u64,
    /// Length in bytes.
    pub len: u32,
    /// The device writes it.
    pub writable: bool,
}

/// A buffer the device reads.
pub fn readable(gpa: u64, len: u32) -> Buffer {
    Buffer { gpa, len, writable: false }
}

/// A buffer the device writes.
pub fn writable(gpa: u64, len: u32) -> Buffer {
    Buffer { gpa, len, writable: true }
}

/// The driver's side of a queue.
#[derive(Clone, Debug)]
pub struct DriverQueue {
    /// Elements.
    pub size: u16,
    /// Descriptor table.
    pub desc: u64,
    /// Available ring.
    pub avail: u64,
    /// Used ring.
    pub used: u64,
    next_desc: u16,
    next_avail: u16,
    kicked: u16,
    seen_used: u16,
}

impl DriverQueue {
    /// A queue at `at`, laid out as legacy devices want it.
    pub fn at(at: u64, size: u16) -> DriverQueue {
        let avail = at + 16 * u64::from(size);
        let used = (avail + 6 + 2 * u64::from(size)).next_multiple_of(PAGE);
        DriverQueue { size, desc: at, avail, used, next_desc: 0, next_avail: 0, kicked: 0, seen_used: 0 }
    }
}

/// A driver of one device.
pub struct Driver<'a, M> {
    device: &'a dyn MmioDevice,
    mem: &'a M,
    version: Version,
    /// Accepted features.
    pub features: u64,
    /// Its queues, by index.
    pub queues: Vec<DriverQueue>,
}

impl<'a, M: GuestMemory> Driver<'a, M> {
    /// Resets and initialises `device`: accepts what it offers of `features` and
    /// sets up `queues`.
    pub fn start(
        device: &'a dyn MmioDevice,
        mem: &'a M,
        version: Version,
        features: u64,
        queues: &[DriverQueue],
    ) -> Driver<'a, M> {
        let mut driver = Driver { device, mem, version, features: 0, queues: queues.to_vec() };
        driver.write(VIRTIO_MMIO_STATUS, 0);
        driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
        driver.features = driver.offered() & features;
        driver.accept(driver.features);
        driver.write(VIRTIO_MMIO_STATUS, LIVE & !VIRTIO_CONFIG_S_DRIVER_OK);
        for index in 0..queues.len() {
            driver.place(index);
        }
        driver.write(VIRTIO_MMIO_STATUS, LIVE);
        driver
    }

    /// The driver of a device that another driver has initialised: its queues go
    /// on where they are.
    pub fn adopt(device: &'a dyn MmioDevice, mem: &'a M, other: &Driver<M>) -> Driver<'a, M> {
        Driver { device, mem, version: other.version, features: other.features, queues: other.queues.clone() }
    }

    /// Loads a register.
    pub fn read(&self, register: u32) -> u32 {
        self.device.read(register.into(), 4).expect("a register is a word") as u32
    }

    /// Stores a register.
    pub fn write(&self, register: u32, value: u32) {
        self.device.write(register.into(), 4, value.into()).expect("a register is a word");
    }

    /// Loads from the configuration space.
    pub fn config(&self, offset: u64, size: u8) -> u64 {
        self.device.read(u64::from(VIRTIO_MMIO_CONFIG) + offset, size).expect("the space takes any width")
    }

    /// The features the device offers.
    pub fn offered(&self) -> u64 {
        let half = |selector| {
            self.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, selector);
            u64::from(self.read(VIRTIO_MMIO_DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    /// Accepts `features`.
    pub fn accept(&self, features: u64) {
        for (selector, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, selector);
            self.write(VIRTIO_MMIO_DRIVER_FEATURES, half);
        }
    }

    /// Tells the device where queue `index` is.
    pub fn place(&self, index: usize) {
        let queue = &self.queues[index];
        self.write(VIRTIO_MMIO_QUEUE_SEL, index as u32);
        self.write(VIRTIO_MMIO_QUEUE_NUM, queue.size.into());
        if self.version == Version::Legacy {
            self.write(VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE as u32);
            self.write(VIRTIO_MMIO_QUEUE_ALIGN, PAGE as u32);
            self.write(VIRTIO_MMIO_QUEUE_PFN, (queue.desc / PAGE) as u32);
            return;
        }
        for (low, high, gpa) in [
            (VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, queue.desc),
            (VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, queue.avail),
            (VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_QUEUE_USED_HIGH, queue.used),
        ] {
            self.write(low, gpa as u32);
            self.write(high, (gpa >> 32) as u32);
        }
        self.write(VIRTIO_MMIO_QUEUE_READY, 1);
    }

    /// Stores a descriptor into the table at `table`.
    pub fn descriptor(&self, table: u64, index: u16, buffer: Buffer, flags: u32, next: u16) {
        let direction = if buffer.writable { VRING_DESC_F_WRITE } else { 0 };
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&buffer.gpa.to_le_bytes());
        bytes[8..12].copy_from_slice(&buffer.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&((flags | direction) as u16).to_le_bytes());
        bytes[14..16].copy_from_slice(&next.to_le_bytes());
        self.mem.write_slice(&bytes, GuestAddress(table + 16 * u64::from(index))).expect("the table is RAM");
    }

    /// Makes the chain that starts at `head` available.
    pub fn offer(&mut self, index: usize, head: u16) {
        let queue = &mut self.queues[index];
        let slot = queue.avail + 4 + 2 * u64::from(queue.next_avail % queue.size);
        queue.next_avail = queue.next_avail.wrapping_add(1);
        let (avail, idx) = (queue.avail, queue.next_avail);
        self.store(slot, head);
        self.store(avail + 2, idx);
    }

    /// Puts `buffers` into queue `index` as one chain; gives its head.
    pub fn add(&mut self, index: usize, buffers: &[Buffer]) -> u16 {
        let (table, size) = (self.queues[index].desc, self.queues[index].size);
        let head = self.queues[index].next_desc;
        let at = |i: usize| (head + i as u16) % size;
        for (i, &buffer) in buffers.iter().enumerate() {
            let flags = if i + 1 < buffers.len() { VRING_DESC_F_NEXT } else { 0 };
            self.descriptor(table, at(i), buffer, flags, at(i + 1));
        }
        self.queues[index].next_desc = at(buffers.len());
        self.offer(index, head);
        head
    }

    /// Puts `buffers` into queue `index` through an indirect table at `table`.
    pub fn add_indirect(&mut self, index: usize, table: u64, buffers: &[Buffer]) -> u16 {
        for (i, &buffer) in buffers.iter().enumerate() {
            let flags = if i + 1 < buffers.len() { VRING_DESC_F_NEXT } else { 0 };
            self.descriptor(table, i as u16, buffer, flags, i as u16 + 1);
        }
        let (desc, size) = (self.queues[index].desc, self.queues[index].size);
        let head = self.queues[index].next_desc;
        self.descriptor(desc, head, readable(table, 16 * buffers.len() as u32), VRING_DESC_F_INDIRECT, 0);
        self.queues[index].next_desc = (head + 1) % size;
        self.offer(index, head);
        head
    }

    /// Whether the device asks for a kick for what was added since the last one.
    pub fn wants_kick(&self, index: usize) -> bool {
        let queue = &self.queues[index];
        if self.event_idx() {
            let event = self.load(queue.used + 4 + 8 * u64::from(queue.size));
            let new = queue.next_avail.wrapping_sub(event).wrapping_sub(1);
            new < queue.next_avail.wrapping_sub(queue.kicked)
        } else {
            u32::from(self.load(queue.used)) & VRING_USED_F_NO_NOTIFY == 0
        }
    }

    /// Kicks queue `index` if the device wants it; says whether it did.
    pub fn kick(&mut self, index: usize) -> bool {
        let wanted = self.wants_kick(index);
        self.queues[index].kicked = self.queues[index].next_avail;
        if wanted {
            self.write(VIRTIO_MMIO_QUEUE_NOTIFY, index as u32);
        }
        wanted
    }

    /// The next chain given back: its head and the bytes written. Asks for an
    /// interrupt for the one after it.
    pub fn take_used(&mut self, index: usize) -> Option<(u16, u32)> {
        let queue = &mut self.queues[index];
        let (used, seen) = (queue.used, queue.seen_used);
        let idx: u16 = self.mem.load(GuestAddress(used + 2), SeqCst).expect("the ring is RAM");
        if u16::from_le(idx) == seen {
            return None;
        }
        queue.seen_used = seen.wrapping_add(1);
        let (next, avail, size) = (queue.seen_used, queue.avail, u64::from(queue.size));
        let element = used + 4 + 8 * u64::from(seen % queue.size);
        let mut bytes = [0; 8];
        self.mem.read_slice(&mut bytes, GuestAddress(element)).expect("the ring is RAM");
        self.store(avail + 4 + 2 * size, next);
        let [h0, h1, _, _, len @ ..] = bytes;
        Some((u16::from_le_bytes([h0, h1]), u32::from_le_bytes(len)))
    }

    /// Tells the device whether interrupts are wanted, without EVENT_IDX.
    pub fn refuse_interrupts(&self, index: usize, refuse: bool) {
        let flags = if refuse { VRING_AVAIL_F_NO_INTERRUPT } else { 0 };
        self.store(self.queues[index].avail, flags as u16);
    }

    fn event_idx(&self) -> bool {
        self.features & 1 << VIRTIO_RING_F_EVENT_IDX != 0
    }

    fn store(&self, gpa: u64, value: u16) {
        self.mem.store(value.to_le(), GuestAddress(gpa), SeqCst).expect("the ring is RAM");
    }

    fn load(&self, gpa: u64) -> u16 {
        let value: u16 = self.mem.load(GuestAddress(gpa), SeqCst).expect("the ring is RAM");
        u16::from_le(value)
    }
}
