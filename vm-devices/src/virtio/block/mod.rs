//! virtio block device (virtio 1.2, section 5.2).
//!
//! A request is served where it arrives, on the vCPU thread: data moves by one
//! system call between the image and guest memory, mostly from and to the page
//! cache. Only what waits for the medium (a flush, or a store by a driver that
//! has not accepted FLUSH and so expects write-through) goes to the helper thread.
//!
//! A chain without header or status byte breaks the device; any other bad request
//! is answered with IOERR or UNSUPP before anything is read or stored.

mod disk;
pub mod overlay;
mod request;
#[cfg(test)]
mod tests;

pub use disk::{Access, Disk, DiskError, SECTOR};

use super::chain::{self, Chain, Malformed};
use super::{Deferred, Outcome, VirtioDevice, bit};
use crate::metrics::Counter;
use crate::snapshot::RestoreError;
use request::{Kind, Range, Request, Status};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};

const QUEUE_SIZE: u16 = 256;
/// Data segments of a request: a queue's worth less header and status.
const MAX_SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;
/// Ranges of one discard or write-zeroes request.
const MAX_RANGES: u32 = 32;
/// Longest range to discard, in sectors.
const MAX_DISCARD: u32 = 1 << 22;
/// Longest range to zero, in sectors: the host may have to store that much.
const MAX_ZEROES: u32 = 1 << 16;
/// Bytes of `struct virtio_blk_config` up to the end of the write-zeroes fields.
const CONFIG: usize = 60;
/// Disk errors reported as warnings; a guest can cause as many as it likes.
const WARNINGS: u64 = 16;

/// What a block device did.
#[derive(Debug, Default)]
pub struct BlockCounters {
    /// Requests to read.
    pub reads: Counter,
    /// Requests to write.
    pub writes: Counter,
    /// Bytes read.
    pub bytes_read: Counter,
    /// Bytes written.
    pub bytes_written: Counter,
    /// Flushes, asked for or implied by write-through.
    pub flushes: Counter,
    /// Requests the host's disk failed.
    pub errors: Counter,
}

/// What a snapshot keeps; the disk itself is wiring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockState {
    /// Capacity the guest has seen.
    pub sectors: u64,
}

/// A block device.
pub struct Block {
    disk: Arc<Disk>,
    serial: [u8; VIRTIO_BLK_ID_BYTES as usize],
    config: [u8; CONFIG],
    /// The driver does not flush, so each store is made durable.
    write_through: bool,
    counters: Arc<BlockCounters>,
}

impl Block {
    /// A device for `disk` that calls itself `serial`, cut to 20 bytes.
    pub fn new(disk: Disk, serial: &str) -> Block {
        let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
        let len = serial.len().min(id.len());
        id[..len].copy_from_slice(&serial.as_bytes()[..len]);
        let config = config(disk.sectors());
        let counters = Arc::default();
        Block { disk: Arc::new(disk), serial: id, config, write_through: true, counters }
    }

    /// The disk; shared, because the device itself goes into its transport.
    pub fn disk(&self) -> Arc<Disk> {
        self.disk.clone()
    }

    /// What the device did; shared, because the device itself goes into its
    /// transport.
    pub fn counters(&self) -> Arc<BlockCounters> {
        self.counters.clone()
    }

    fn run<M: GuestMemory>(&self, request: &Request, chain: &Chain, mem: &M) -> Status {
        let result = match request.kind {
            Kind::Read => self.read(request, chain, mem),
            Kind::Write => self.write(request, chain, mem),
            Kind::Flush => Ok(()),
            Kind::Id => chain::copy_to(chain.writable(), 0, self.serial_for(request), mem)
                .map(drop)
                .map_err(io::Error::other),
            Kind::Discard => self.each_range(request, chain, mem, MAX_DISCARD, |range| {
                self.disk.discard(range.sector, range.sectors.into())
            }),
            Kind::WriteZeroes => self.each_range(request, chain, mem, MAX_ZEROES, |range| {
                self.disk.write_zeroes(range.sector, range.sectors.into(), range.unmap)
            }),
            Kind::Unknown => return Status::Unsupported,
        };
        match result {
            Ok(()) => Status::Ok,
            Err(error) => self.report(request.kind, &error),
        }
    }

    fn report(&self, kind: Kind, error: &io::Error) -> Status {
        report(&self.counters, kind, error)
    }

    fn read<M: GuestMemory>(&self, request: &Request, chain: &Chain, mem: &M) -> io::Result<()> {
        self.check(request.sector, request.data)?;
        let data = chain::part(chain.writable(), 0, request.data);
        let slices = chain::slices(data, Permissions::Write, mem).map_err(io::Error::other)?;
        self.disk.read(request.sector, &slices)?;
        self.counters.reads.add(1);
        self.counters.bytes_read.add(request.data);
        Ok(())
    }

    fn write<M: GuestMemory>(&self, request: &Request, chain: &Chain, mem: &M) -> io::Result<()> {
        self.check_writable()?;
        self.check(request.sector, request.data)?;
        let data = chain::part(chain.readable(), Request::HEADER, request.data);
        let slices = chain::slices(data, Permissions::Read, mem).map_err(io::Error::other)?;
        self.disk.write(request.sector, &slices)?;
        self.counters.writes.add(1);
        self.counters.bytes_written.add(request.data);
        Ok(())
    }

    /// Checks all ranges of a request, then does them.
    fn each_range<M: GuestMemory>(
        &self,
        request: &Request,
        chain: &Chain,
        mem: &M,
        longest: u32,
        act: impl Fn(&Range) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check_writable()?;
        let ranges = request.ranges(chain, mem, MAX_RANGES).ok_or(io::ErrorKind::InvalidInput)?;
        for range in &ranges {
            if range.sectors > longest {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            self.check(range.sector, u64::from(range.sectors) * SECTOR)?;
        }
        ranges.iter().filter(|range| range.sectors != 0).try_for_each(act)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.disk.read_only() { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// Whether `bytes` from `sector` on are whole sectors of the disk.
    fn check(&self, sector: u64, bytes: u64) -> io::Result<()> {
        let end = sector.checked_add(bytes / SECTOR);
        let inside = end.is_some_and(|end| end <= self.disk.sectors());
        if inside && bytes.is_multiple_of(SECTOR) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn serial_for(&self, request: &Request) -> &[u8] {
        &self.serial[..self.serial.len().min(request.data as usize)]
    }

    /// A flush on the helper thread, whose result answers the request.
    fn flush_later(&self, request: &Request) -> Outcome {
        let (disk, counters) = (self.disk.clone(), self.counters.clone());
        counters.flushes.add(1);
        let work = move || match disk.flush() {
            Ok(()) => Status::Ok as u8,
            Err(error) => report(&counters, Kind::Flush, &error) as u8,
        };
        Outcome::Later(Deferred {
            work: Box::new(work),
            answer_at: request.status_at,
            written: request.written,
        })
    }
}

/// Says what went wrong: loudly if it is the host's fault.
fn report(counters: &BlockCounters, kind: Kind, error: &io::Error) -> Status {
    use io::ErrorKind::{InvalidInput, ReadOnlyFilesystem};
    if matches!(error.kind(), InvalidInput | ReadOnlyFilesystem) {
        tracing::debug!(?kind, %error, "a disk request is not valid");
    } else {
        counters.errors.add(1);
        if counters.errors.get() <= WARNINGS {
            tracing::warn!(?kind, %error, "a disk request failed");
        }
    }
    Status::IoError
}

impl<M: GuestMemory> VirtioDevice<M> for Block {
    type State = BlockState;
    const VERSION: u16 = 1;

    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        let always = bit(VIRTIO_BLK_F_SEG_MAX) | bit(VIRTIO_BLK_F_BLK_SIZE) | bit(VIRTIO_BLK_F_FLUSH);
        always
            | match self.disk.read_only() {
                true => bit(VIRTIO_BLK_F_RO),
                false => bit(VIRTIO_BLK_F_DISCARD) | bit(VIRTIO_BLK_F_WRITE_ZEROES),
            }
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn negotiated(&mut self, features: u64) {
        self.write_through = features & bit(VIRTIO_BLK_F_FLUSH) == 0;
    }

    fn serve(&mut self, _queue: usize, chain: &Chain, mem: &M) -> Outcome {
        let Some(request) = Request::parse(chain, mem) else {
            return Outcome::Malformed(Malformed::Short);
        };
        let status = self.run(&request, chain, mem);
        let flush = request.kind == Kind::Flush || self.write_through && request.kind.stores();
        if status == Status::Ok && flush {
            return self.flush_later(&request);
        }
        match mem.write_obj(status as u8, GuestAddress(request.status_at)) {
            Ok(()) => Outcome::Done(request.written),
            Err(_) => Outcome::Malformed(Malformed::Range { gpa: request.status_at, len: 1 }),
        }
    }

    fn save(&self) -> BlockState {
        BlockState { sectors: self.disk.sectors() }
    }

    fn restore(&mut self, state: BlockState) -> Result<(), RestoreError> {
        if state.sectors == self.disk.sectors() {
            Ok(())
        } else {
            Err(RestoreError::Value { what: "capacity of the disk", found: state.sectors })
        }
    }
}

/// `struct virtio_blk_config`.
fn config(sectors: u64) -> [u8; CONFIG] {
    let mut config = [0; CONFIG];
    let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &sectors.to_le_bytes());
    put(12, &MAX_SEGMENTS.to_le_bytes());
    put(20, &(SECTOR as u32).to_le_bytes());
    put(36, &MAX_DISCARD.to_le_bytes());
    put(40, &MAX_RANGES.to_le_bytes());
    put(44, &1u32.to_le_bytes()); // discard_sector_alignment
    put(48, &MAX_ZEROES.to_le_bytes());
    put(52, &MAX_RANGES.to_le_bytes());
    put(56, &[1]); // write_zeroes_may_unmap
    config
}
