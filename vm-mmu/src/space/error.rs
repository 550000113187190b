//! What can go wrong with the map, and with an access.

use std::io;
use std::ops::Range;

use thiserror::Error;

use crate::{PAGE, Perm};

/// Why the map could not be changed. Nothing has changed.
#[derive(Debug, Error)]
pub enum MapError {
    /// A bound is not a multiple of the page size, or the range is empty or reversed.
    #[error("expected a non-empty range of whole {PAGE:#x}-byte pages, found {start:#x}..{end:#x}")]
    Unaligned {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
    },
    /// Part of it is not in the address space.
    #[error("expected a range within {:#x}..{:#x}, found {start:#x}..{end:#x}", within.start, within.end)]
    OutOfRange {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
        /// The address space.
        within: Range<u64>,
    },
    /// Part of it is already mapped.
    #[error("expected a free range, found {start:#x}..{end:#x} mapped at {at:#x}")]
    Overlap {
        /// First address.
        start: u64,
        /// Address after the last.
        end: u64,
        /// First address that is taken.
        at: u64,
    },
    /// Part of it is not mapped.
    #[error("expected a mapped range, found nothing at {at:#x}")]
    NotMapped {
        /// First address that is free.
        at: u64,
    },
    /// The file does not reach to the end of the range: touching it would be a host signal.
    #[error("expected a file of at least {need:#x} bytes, found {have:#x}")]
    FileTooShort {
        /// Bytes up to the end of the range.
        need: u64,
        /// Bytes of the file.
        have: u64,
    },
    /// The file offset is not a multiple of the page size.
    #[error("expected a file offset of whole {PAGE:#x}-byte pages, found {offset:#x}")]
    FileOffset {
        /// Offset given.
        offset: u64,
    },
    /// Stores were asked for in a shared file that is open for reading only.
    #[error("expected a file open for writing at {at:#x}, found one open for reading only")]
    FileReadOnly {
        /// Where it is mapped.
        at: u64,
    },
    /// Bytes to be laid over would go to a file.
    #[error("expected memory of this machine alone at {at:#x}, found memory shared with a file")]
    Shared {
        /// Where it is mapped.
        at: u64,
    },
    /// The host lacks an instruction that guest memory needs.
    #[error("expected a host CPU with {missing}")]
    HostCpu {
        /// Name of the feature.
        missing: &'static str,
    },
    /// The host refused.
    #[error("host could not {action} guest memory: {source}")]
    Host {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl MapError {
    pub(super) fn host(action: &'static str) -> impl Fn(io::Error) -> MapError {
        move |source| MapError::Host { action, source }
    }
}

/// Why guest memory could not be accessed. Nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccessError {
    /// No memory there.
    #[error("expected guest memory at {gpa:#x}, found none")]
    Absent {
        /// First page or address without memory.
        gpa: u64,
    },
    /// The region does not permit it.
    #[error("expected memory that permits {wanted:?} at {gpa:#x}")]
    Denied {
        /// Page that refuses.
        gpa: u64,
        /// What was asked for.
        wanted: Perm,
    },
    /// An atomic access across its natural alignment.
    #[error("expected an address aligned to {size} bytes, found {gpa:#x}")]
    Misaligned {
        /// Address.
        gpa: u64,
        /// Bytes of the access.
        size: u64,
    },
}

/// Why a stream could not be read into guest memory. What came before the failure is in memory.
#[derive(Debug, Error)]
pub enum FillError {
    /// The range is not writable memory; nothing was read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The stream failed.
    #[error("could not read the data for guest memory at {gpa:#x}: {source}")]
    Read {
        /// Where the bytes would have gone.
        gpa: u64,
        /// Why not.
        source: io::Error,
    },
}

/// An error of a library about host memory.
pub(super) fn host_other<E>(action: &'static str) -> impl Fn(E) -> MapError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |failure| MapError::Host { action, source: io::Error::other(failure) }
}

/// Checks that a range is whole pages, and not empty.
pub(super) fn check_shape(range: &Range<u64>) -> Result<(), MapError> {
    let whole = range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE);
    match whole && range.start < range.end {
        true => Ok(()),
        false => Err(MapError::Unaligned { start: range.start, end: range.end }),
    }
}
