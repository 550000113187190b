//! Descriptor chains, checked whole before a device sees them.
//!
//! The descriptors are copied out of guest memory once. What a device works on
//! is therefore stable under a guest that rewrites its table, and well formed:
//! every segment lies in guest memory, device-readable segments come before
//! device-writable ones, and the chain ended by itself. A loop, a bad index, a
//! bad indirect table or a range outside RAM is [`Malformed`], and nothing has
//! been read or written.

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, VolatileSlice};
use vm_memory::{GuestAddress, GuestMemory, GuestMemoryError, Permissions, bitmap::BS};

/// Longest chain, indirect tables included, as QEMU's.
pub const LONGEST_CHAIN: usize = 1024;

/// A range of guest memory that a descriptor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest-physical address.
    pub gpa: u64,
    /// Length in bytes, not 0.
    pub len: u32,
}

/// What is wrong with what the driver put into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A ring cannot be read or written, or its index jumped.
    #[error("a ring of the queue is not usable")]
    Ring,
    /// The chain does not end: a loop, an index outside the table, an unreadable
    /// or ill-formed table, or more than 2³² bytes.
    #[error("the descriptor chain has no end")]
    Endless,
    /// More descriptors than a chain may have.
    #[error("the descriptor chain has more than {LONGEST_CHAIN} descriptors")]
    TooLong,
    /// A descriptor of no byte.
    #[error("a descriptor has length 0")]
    Empty,
    /// A device-readable descriptor follows a device-writable one.
    #[error("a device-readable descriptor follows a device-writable one")]
    Order,
    /// A descriptor's range is not guest memory.
    #[error("the descriptor's range {gpa:#x}+{len:#x} is not guest memory")]
    Range {
        /// Start of the range.
        gpa: u64,
        /// Length of the range.
        len: u32,
    },
    /// The device needs more bytes than the chain has.
    #[error("the request is shorter than its header and status")]
    Short,
}

/// A checked chain.
#[derive(Debug, Default)]
pub struct Chain {
    head: u16,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

impl Chain {
    /// The index the chain is completed by.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// What the device may read, in order.
    pub fn readable(&self) -> &[Segment] {
        &self.readable
    }

    /// What the device may write, in order.
    pub fn writable(&self) -> &[Segment] {
        &self.writable
    }

    /// Copies and checks the chain `descriptors`, in place of the one held.
    pub(crate) fn gather<M: GuestMemory>(
        &mut self,
        descriptors: DescriptorChain<&M>,
        mem: &M,
    ) -> Result<(), Malformed> {
        self.head = descriptors.head_index();
        self.readable.clear();
        self.writable.clear();
        let mut ended = false;
        for descriptor in descriptors {
            let segment = Segment { gpa: descriptor.addr().0, len: descriptor.len() };
            self.push(segment, descriptor.is_write_only(), mem)?;
            ended = !descriptor.has_next();
        }
        if ended { Ok(()) } else { Err(Malformed::Endless) }
    }

    fn push<M: GuestMemory>(&mut self, segment: Segment, writable: bool, mem: &M) -> Result<(), Malformed> {
        let access = if writable { Permissions::Write } else { Permissions::Read };
        if self.readable.len() + self.writable.len() == LONGEST_CHAIN {
            return Err(Malformed::TooLong);
        }
        if segment.len == 0 {
            return Err(Malformed::Empty);
        }
        if !writable && !self.writable.is_empty() {
            return Err(Malformed::Order);
        }
        if !mem.check_range(GuestAddress(segment.gpa), segment.len as usize, access) {
            return Err(Malformed::Range { gpa: segment.gpa, len: segment.len });
        }
        if writable {
            self.writable.push(segment)
        } else {
            self.readable.push(segment)
        }
        Ok(())
    }
}

/// The bytes in `segments`.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// The part of `segments` that starts `skip` bytes in and is `take` bytes long,
/// or as long as there are bytes.
pub fn part(segments: &[Segment], skip: u64, take: u64) -> impl Iterator<Item = Segment> + '_ {
    let (mut skip, mut take) = (skip, take);
    segments.iter().filter_map(move |segment| {
        let whole = u64::from(segment.len);
        let skipped = skip.min(whole);
        let len = (whole - skipped).min(take);
        skip -= skipped;
        take -= len;
        (len != 0).then_some(Segment { gpa: segment.gpa + skipped, len: len as u32 })
    })
}

/// Copies the bytes `skip..skip + buf.len()` of `segments` to `buf`; `None` if
/// there are fewer or guest memory refuses.
pub fn copy_from<M: GuestMemory>(segments: &[Segment], skip: u64, buf: &mut [u8], mem: &M) -> Option<()> {
    let mut rest = buf;
    for segment in part(segments, skip, rest.len() as u64) {
        let (now, later) = rest.split_at_mut(segment.len as usize);
        mem.read_slice(now, GuestAddress(segment.gpa)).ok()?;
        rest = later;
    }
    rest.is_empty().then_some(())
}

/// Copies `bytes` over the start of `segments`; says how many had room.
pub fn copy_to<M: GuestMemory>(
    segments: &[Segment],
    skip: u64,
    bytes: &[u8],
    mem: &M,
) -> Result<usize, GuestMemoryError> {
    let mut done = 0;
    for segment in part(segments, skip, bytes.len() as u64) {
        let end = done + segment.len as usize;
        mem.write_slice(&bytes[done..end], GuestAddress(segment.gpa))?;
        done = end;
    }
    Ok(done)
}

/// The host's view of `segments`, for I/O straight to and from guest memory.
pub fn slices<M: GuestMemory>(
    segments: impl Iterator<Item = Segment>,
    access: Permissions,
    mem: &M,
) -> Result<Vec<VolatileSlice<'_, BS<'_, M::Bitmap>>>, GuestMemoryError> {
    let mut slices = Vec::new();
    for segment in segments {
        for slice in mem.get_slices(GuestAddress(segment.gpa), segment.len as usize, access)? {
            slices.push(slice?);
        }
    }
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: [Segment; 3] =
        [Segment { gpa: 100, len: 10 }, Segment { gpa: 200, len: 1 }, Segment { gpa: 300, len: 5 }];

    fn parts(skip: u64, take: u64) -> Vec<(u64, u32)> {
        part(&SEGMENTS, skip, take).map(|segment| (segment.gpa, segment.len)).collect()
    }

    #[test]
    fn part_cuts_at_both_ends() {
        assert_eq!(total(&SEGMENTS), 16);
        assert_eq!(parts(0, 16), [(100, 10), (200, 1), (300, 5)]);
        assert_eq!(parts(4, 7), [(104, 6), (200, 1)]);
        assert_eq!(parts(10, 2), [(200, 1), (300, 1)]);
        assert_eq!(parts(15, 100), [(304, 1)]);
        assert_eq!(parts(16, 1), []);
        assert_eq!(parts(3, 0), []);
    }
}
