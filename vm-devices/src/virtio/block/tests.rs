//! Block requests as drivers make them, through both register layouts.

use super::*;
use crate::bus::MmioDevice;
use crate::snapshot::Snapshot;
use crate::testing::driver::*;
use crate::testing::wires::RecordedLine;
use crate::virtio::{Version, VirtioMmio};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use virtio_bindings::virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET;
use virtio_bindings::virtio_mmio::*;
use vm_memory::GuestMemoryMmap;

type Memory = GuestMemoryMmap<()>;

const RAM: u64 = 0x8000_0000;
const RAM_SIZE: usize = 0x40_0000;
const HEADER: u64 = RAM + 0x1_0000;
const STATUS: u64 = RAM + 0x1_1000;
const DATA: u64 = RAM + 0x2_0000;
const TABLE: u64 = RAM + 0x1_2000;
const SECTORS: u64 = 64;
const NO_STATUS: u8 = 0xee;
const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;
const VERSIONS: [Version; 2] = [Version::Legacy, Version::Modern];

struct Rig {
    mem: Arc<Memory>,
    line: Arc<RecordedLine>,
    transport: Arc<VirtioMmio<Memory, Block>>,
    counters: Arc<BlockCounters>,
    version: Version,
    path: PathBuf,
    _dir: TempDir,
}

/// A disk on which every byte of a sector is the sector's number.
fn image() -> Vec<u8> {
    (0..SECTORS as usize * 512).map(|i| (i / 512) as u8).collect()
}

impl Rig {
    fn with(version: Version, image: &[u8], read_only: bool) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, image).unwrap();
        let mem = Arc::new(Memory::from_ranges(&[(GuestAddress(RAM), RAM_SIZE)]).unwrap());
        let line = Arc::new(RecordedLine::default());
        let block = Block::new(
            Disk::open(&path, if read_only { Access::Read } else { Access::Write }).unwrap(),
            "serial-number-that-is-long",
        );
        let counters = block.counters();
        let transport = VirtioMmio::new(version, block, mem.clone(), line.clone());
        Rig { mem, line, transport, counters, version, path, _dir: dir }
    }

    fn new(version: Version) -> Rig {
        Rig::with(version, &image(), false)
    }

    fn driver(&self, features: u64) -> Driver<'_, Memory> {
        let queues = [DriverQueue::at(RAM, QUEUE_SIZE)];
        Driver::start(&*self.transport, &*self.mem, self.version, features, &queues)
    }

    fn header(&self, kind: u32, sector: u64) -> Buffer {
        let mut header = [0; 16];
        header[0..4].copy_from_slice(&kind.to_le_bytes());
        header[8..16].copy_from_slice(&sector.to_le_bytes());
        self.mem.write_slice(&header, GuestAddress(HEADER)).unwrap();
        self.mem.write_obj(NO_STATUS, GuestAddress(STATUS)).unwrap();
        readable(HEADER, 16)
    }

    /// Makes a request of header, `data` and status and gives its status.
    fn request(&self, driver: &mut Driver<Memory>, kind: u32, sector: u64, data: &[Buffer]) -> u8 {
        let mut buffers = vec![self.header(kind, sector)];
        buffers.extend(data);
        buffers.push(writable(STATUS, 1));
        let writable: u32 = buffers.iter().filter(|b| b.writable).map(|b| b.len).sum();
        let head = driver.add(0, &buffers);
        driver.kick(0);
        self.transport.quiesce();
        assert_eq!(driver.take_used(0), Some((head, writable)));
        self.status()
    }

    fn status(&self) -> u8 {
        self.mem.read_obj(GuestAddress(STATUS)).unwrap()
    }

    fn bytes(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.mem.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
        bytes
    }

    fn on_disk(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    fn ranges(&self, ranges: &[(u64, u32, u32)]) -> Buffer {
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|(sector, sectors, flags)| {
                [sector.to_le_bytes().as_slice(), &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
            })
            .collect();
        self.mem.write_slice(&bytes, GuestAddress(DATA)).unwrap();
        readable(DATA, bytes.len() as u32)
    }
}

#[test]
fn data_is_read_and_written_in_any_segments() {
    for version in VERSIONS {
        let rig = Rig::new(version);
        let mut driver = rig.driver(ALL_FEATURES);
        let into = [writable(DATA, 100), writable(DATA + 0x1000, 900), writable(DATA + 0x2001, 24)];
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_IN, 9, &into), OK);
        let read =
            [rig.bytes(DATA, 100), rig.bytes(DATA + 0x1000, 900), rig.bytes(DATA + 0x2001, 24)].concat();
        assert_eq!(read, image()[9 * 512..11 * 512]);

        let new: Vec<u8> = (0..1536u32).map(|i| (i % 253) as u8).collect();
        rig.mem.write_slice(&new, GuestAddress(DATA)).unwrap();
        let from = [readable(DATA, 3), readable(DATA + 3, 1530), readable(DATA + 1533, 3)];
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_OUT, 20, &from), OK);
        let mut expected = image();
        expected[20 * 512..23 * 512].copy_from_slice(&new);
        assert_eq!(rig.on_disk(), expected);
        assert_eq!((rig.counters.reads.get(), rig.counters.bytes_read.get()), (1, 1024));
        assert_eq!((rig.counters.writes.get(), rig.counters.bytes_written.get()), (1, 1536));
        assert_eq!(rig.counters.flushes.get(), 0);
        assert!(rig.line.level());
    }
}

/// Since virtio 1.0 a driver may divide a request as it likes.
#[test]
fn header_and_status_may_share_descriptors_with_data() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    rig.header(VIRTIO_BLK_T_OUT, 5);
    rig.mem.write_slice(&[0x5a; 512], GuestAddress(HEADER + 16)).unwrap();
    driver.add(0, &[readable(HEADER, 10), readable(HEADER + 10, 6 + 512), writable(STATUS, 1)]);
    driver.kick(0);
    assert_eq!(rig.status(), OK);
    assert_eq!(rig.on_disk()[5 * 512..6 * 512], [0x5a; 512]);

    rig.header(VIRTIO_BLK_T_IN, 5);
    driver.add_indirect(0, TABLE, &[readable(HEADER, 16), writable(DATA, 513)]);
    driver.kick(0);
    assert_eq!(rig.bytes(DATA, 513), [vec![0x5a; 512], vec![OK]].concat());
}

#[test]
fn full_indirect_request_is_one_transfer() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    let mut buffers = vec![rig.header(VIRTIO_BLK_T_IN, 0)];
    buffers.extend((0..SECTORS).map(|i| writable(DATA + (SECTORS - i) * 0x400, 512)));
    buffers.push(writable(STATUS, 1));
    driver.add_indirect(0, TABLE, &buffers);
    driver.kick(0);
    assert_eq!(rig.status(), OK);
    for i in 0..SECTORS {
        assert_eq!(rig.bytes(DATA + (SECTORS - i) * 0x400, 512), vec![i as u8; 512]);
    }
}

#[test]
fn request_outside_the_disk_or_of_part_of_a_sector_fails_whole() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    rig.mem.write_slice(&[0x77; 2048], GuestAddress(DATA)).unwrap();
    for (sector, len) in
        [(SECTORS, 512), (SECTORS - 1, 1024), (u64::MAX, 512), (u64::MAX / 512, 1024), (0, 511), (0, 1)]
    {
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_OUT, sector, &[readable(DATA, len)]), IOERR);
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_IN, sector, &[writable(DATA, len)]), IOERR);
        assert_eq!(rig.bytes(DATA, 2048), [0x77; 2048]);
    }
    assert_eq!(rig.on_disk(), image());
    assert_eq!(rig.counters.errors.get(), 0, "the guest's errors are not the disk's");
}

#[test]
fn read_only_disk_refuses_every_change() {
    let rig = Rig::with(Version::Modern, &image(), true);
    let mut driver = rig.driver(ALL_FEATURES);
    assert_eq!(driver.offered() & bit(VIRTIO_BLK_F_RO), bit(VIRTIO_BLK_F_RO));
    assert_eq!(driver.offered() & bit(VIRTIO_BLK_F_DISCARD), 0);
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[readable(DATA, 512)]), IOERR);
    for kind in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
        let range = rig.ranges(&[(0, 1, 0)]);
        assert_eq!(rig.request(&mut driver, kind, 0, &[range]), IOERR);
    }
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_IN, 3, &[writable(DATA, 512)]), OK);
    assert_eq!(rig.on_disk(), image());
}

#[test]
fn flush_is_answered_by_the_helper() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
    assert_eq!(rig.counters.flushes.get(), 1);
    assert_eq!(rig.transport.counters().deferred.get(), 1);
}

#[test]
fn store_of_a_driver_without_flush_is_made_durable() {
    for version in VERSIONS {
        let rig = Rig::new(version);
        let mut driver = rig.driver(ALL_FEATURES & !bit(VIRTIO_BLK_F_FLUSH));
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[readable(DATA, 512)]), OK);
        assert_eq!(rig.counters.flushes.get(), 1);
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_OUT, 99, &[readable(DATA, 512)]), IOERR);
        assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_IN, 0, &[writable(DATA, 512)]), OK);
        assert_eq!(rig.counters.flushes.get(), 1);
    }
}

#[test]
fn identity_is_cut_to_the_room_there_is() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_GET_ID, 0, &[writable(DATA, 20)]), OK);
    assert_eq!(rig.bytes(DATA, 21), *b"serial-number-that-i\0");
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_GET_ID, 0, &[writable(DATA + 64, 3)]), OK);
    assert_eq!(rig.bytes(DATA + 64, 4), *b"ser\0");
}

#[test]
fn unknown_request_is_unsupported() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    for kind in [VIRTIO_BLK_T_SCSI_CMD, VIRTIO_BLK_T_SECURE_ERASE, 99, u32::MAX] {
        assert_eq!(rig.request(&mut driver, kind, 0, &[readable(DATA, 512)]), UNSUPP);
    }
    assert_eq!(rig.on_disk(), image());
}

#[test]
fn ranges_are_zeroed_and_discarded() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    let ranges = rig.ranges(&[(1, 2, 0), (8, 3, 1)]);
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_WRITE_ZEROES, 0, &[ranges]), OK);
    let mut expected = image();
    expected[512..3 * 512].fill(0);
    expected[8 * 512..11 * 512].fill(0);
    assert_eq!(rig.on_disk(), expected);
    let ranges = rig.ranges(&[(20, 4, 0)]);
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_DISCARD, 0, &[ranges]), OK);
    expected.drain(20 * 512..24 * 512);
    let mut left = rig.on_disk();
    left.drain(20 * 512..24 * 512);
    assert_eq!(left, expected);
}

#[test]
fn one_bad_range_fails_the_request_before_anything_is_done() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    let bad = [(SECTORS, 1, 0), (u64::MAX, 1, 0), (SECTORS - 1, 2, 0), (0, u32::MAX, 0), (0, 1, 2)];
    for kind in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
        for bad in bad {
            let ranges = rig.ranges(&[(2, 2, 0), bad]);
            assert_eq!(rig.request(&mut driver, kind, 0, &[ranges]), IOERR, "{bad:?}");
        }
        let too_many = rig.ranges(&[(0, 1, 0); MAX_RANGES as usize + 1]);
        assert_eq!(rig.request(&mut driver, kind, 0, &[too_many]), IOERR);
        assert_eq!(rig.request(&mut driver, kind, 0, &[readable(DATA, 15)]), IOERR);
        assert_eq!(rig.request(&mut driver, kind, 0, &[]), IOERR);
    }
    let ranges = rig.ranges(&[(2, 2, 1)]);
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_DISCARD, 0, &[ranges]), IOERR, "no unmap flag here");
    assert_eq!(rig.on_disk(), image());
}

#[test]
fn request_without_header_or_status_breaks_the_device() {
    for short in 0..3 {
        let rig = Rig::new(Version::Modern);
        let mut driver = rig.driver(ALL_FEATURES);
        let header = rig.header(VIRTIO_BLK_T_OUT, 0);
        match short {
            0 => driver.add(0, &[readable(HEADER, 15), writable(STATUS, 1)]),
            1 => driver.add(0, &[header, readable(DATA, 512)]),
            _ => driver.add(0, &[writable(STATUS, 1)]),
        };
        driver.kick(0);
        assert_eq!(driver.take_used(0), None);
        assert_eq!(rig.status(), NO_STATUS);
        assert_ne!(driver.read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
        assert_eq!(rig.on_disk(), image());
    }
}

#[test]
fn part_of_a_last_sector_reads_as_if_zeroes_followed() {
    let rig = Rig::with(Version::Modern, &[0xaa; 700], false);
    let mut driver = rig.driver(ALL_FEATURES);
    assert_eq!(driver.config(0, 8), 2);
    rig.mem.write_slice(&[0x77; 1024], GuestAddress(DATA)).unwrap();
    let into = [writable(DATA, 600), writable(DATA + 600, 424)];
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_IN, 0, &into), OK);
    assert_eq!(rig.bytes(DATA, 1024), [vec![0xaa; 700], vec![0; 324]].concat());
}

#[test]
fn image_that_shrinks_under_the_machine_reads_as_zeroes() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES);
    fs::File::options().write(true).open(&rig.path).unwrap().set_len(512).unwrap();
    assert_eq!(rig.request(&mut driver, VIRTIO_BLK_T_IN, 5, &[writable(DATA, 512)]), OK);
    assert_eq!(rig.bytes(DATA, 512), [0; 512]);
}

#[test]
fn configuration_is_that_of_the_disk() {
    let rig = Rig::new(Version::Legacy);
    let driver = rig.driver(ALL_FEATURES);
    assert_eq!(driver.config(0, 8), SECTORS);
    assert_eq!((driver.config(0, 4), driver.config(4, 4)), (SECTORS, 0));
    assert_eq!(driver.config(12, 4), u64::from(MAX_SEGMENTS));
    assert_eq!(driver.config(20, 4), 512);
    assert_eq!(driver.read(VIRTIO_MMIO_DEVICE_ID), 2);
    assert_eq!(rig.transport.write(VIRTIO_MMIO_CONFIG.into(), 8, 1), Ok(()));
    assert_eq!(driver.config(0, 8), SECTORS, "the driver cannot change it");
}

#[test]
fn restore_in_mid_use_continues_on_the_same_disk() {
    let rig = Rig::new(Version::Modern);
    let mut driver = rig.driver(ALL_FEATURES & !bit(VIRTIO_BLK_F_FLUSH));
    rig.mem.write_slice(&[0x42; 512], GuestAddress(DATA)).unwrap();
    rig.request(&mut driver, VIRTIO_BLK_T_OUT, 1, &[readable(DATA, 512)]);
    let state = rig.transport.save();

    let copy = rig.path.with_extension("copy");
    fs::copy(&rig.path, &copy).unwrap();
    let block = Block::new(Disk::open(&copy, Access::Write).unwrap(), "");
    let counters = block.counters();
    let line = Arc::new(RecordedLine::default());
    let fresh = VirtioMmio::new(Version::Modern, block, rig.mem.clone(), line.clone());
    fresh.restore(state.clone()).unwrap();
    let mut driver = Driver::adopt(&*fresh, &*rig.mem, &driver);
    driver.add(0, &[rig.header(VIRTIO_BLK_T_IN, 1), writable(DATA + 512, 512), writable(STATUS, 1)]);
    driver.kick(0);
    assert_eq!((rig.status(), rig.bytes(DATA + 512, 512)), (OK, vec![0x42; 512]));
    assert!(line.level());
    driver.add(0, &[rig.header(VIRTIO_BLK_T_OUT, 2), readable(DATA, 512), writable(STATUS, 1)]);
    driver.kick(0);
    fresh.quiesce();
    assert_eq!((rig.status(), counters.flushes.get()), (OK, 1), "still write-through");

    let smaller = Rig::with(Version::Modern, &[0; 512], false);
    assert!(matches!(smaller.transport.restore(state), Err(RestoreError::Value { found: SECTORS, .. })));
}
