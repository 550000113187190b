//! The form of a block request, in whatever descriptors it comes.
//!
//! ```text
//! readable: header (type, reserved, sector: 16 bytes) ‖ data to write
//! writable: data to read                              ‖ status (1 byte)
//! ```

use super::super::chain::{self, Chain};
use virtio_bindings::virtio_blk::*;
use vm_memory::GuestMemory;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Flush,
    Id,
    Discard,
    WriteZeroes,
    Unknown,
}

impl Kind {
    fn new(number: u32) -> Kind {
        match number {
            VIRTIO_BLK_T_IN => Kind::Read,
            VIRTIO_BLK_T_OUT => Kind::Write,
            VIRTIO_BLK_T_FLUSH => Kind::Flush,
            VIRTIO_BLK_T_GET_ID => Kind::Id,
            VIRTIO_BLK_T_DISCARD => Kind::Discard,
            VIRTIO_BLK_T_WRITE_ZEROES => Kind::WriteZeroes,
            _ => Kind::Unknown,
        }
    }

    /// Whether it changes the disk.
    pub(super) fn stores(self) -> bool {
        matches!(self, Kind::Write | Kind::Discard | Kind::WriteZeroes)
    }
}

/// The status byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok = VIRTIO_BLK_S_OK as u8,
    IoError = VIRTIO_BLK_S_IOERR as u8,
    Unsupported = VIRTIO_BLK_S_UNSUPP as u8,
}

/// A request, apart from its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) sector: u64,
    /// Bytes of data, in the direction of the request.
    pub(super) data: u64,
    /// Where the status byte goes.
    pub(super) status_at: u64,
    /// Bytes of the writable segments.
    pub(super) written: u32,
}

/// A range to discard or to zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) sector: u64,
    pub(super) sectors: u32,
    pub(super) unmap: bool,
}

impl Request {
    /// Bytes of the header.
    pub(super) const HEADER: u64 = 16;

    /// The request in `chain`; `None` if header or status byte is missing.
    pub(super) fn parse<M: GuestMemory>(chain: &Chain, mem: &M) -> Option<Request> {
        let mut header = [0; Self::HEADER as usize];
        chain::copy_from(chain.readable(), 0, &mut header, mem)?;
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let last = chain.writable().last()?;
        let writable = chain::total(chain.writable());
        let kind = Kind::new(u32::from_le_bytes([k0, k1, k2, k3]));
        let data = match kind {
            Kind::Read | Kind::Id => writable - 1,
            _ => chain::total(chain.readable()) - Self::HEADER,
        };
        Some(Request {
            kind,
            sector: u64::from_le_bytes(sector),
            data,
            status_at: last.gpa + u64::from(last.len) - 1,
            written: u32::try_from(writable).unwrap_or(u32::MAX),
        })
    }

    /// The ranges of a discard or write-zeroes request: `None` if there is none,
    /// more than `most`, part of one, or a flag that does not exist.
    pub(super) fn ranges<M: GuestMemory>(&self, chain: &Chain, mem: &M, most: u32) -> Option<Vec<Range>> {
        const RANGE: u64 = 16;
        let count = self.data / RANGE;
        if !self.data.is_multiple_of(RANGE) || !(1..=u64::from(most)).contains(&count) {
            return None;
        }
        let unmap_allowed = self.kind == Kind::WriteZeroes;
        (0..count)
            .map(|index| {
                let mut bytes = [0; RANGE as usize];
                chain::copy_from(chain.readable(), Self::HEADER + index * RANGE, &mut bytes, mem)?;
                let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
                let flags = u32::from_le_bytes(flags);
                let known = if unmap_allowed { VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP } else { 0 };
                (flags & !known == 0).then_some(Range {
                    sector: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
                    sectors: u32::from_le_bytes([n0, n1, n2, n3]),
                    unmap: flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0,
                })
            })
            .collect()
    }
}
