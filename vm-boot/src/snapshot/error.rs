//! Why a snapshot could not be taken, or is not taken for one: always with the part and the reason.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::codec::CodecError;

/// A snapshot that is refused. Nothing was started.
#[derive(Debug, Error)]
#[error("snapshot {}: {part}: {reason}", dir.display())]
pub struct Refusal {
    /// The snapshot.
    pub dir: PathBuf,
    /// Which part of it.
    pub part: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a part of a snapshot.
#[derive(Debug, Error)]
pub enum Reason {
    /// The host does not give it.
    #[error("cannot be read: {0}")]
    Host(#[from] io::Error),
    /// It has the marks of something else.
    #[error("is no snapshot of vm-boot: expected {expected}, found {found}")]
    Foreign {
        /// The mark.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Of a later program.
    #[error("was written by a newer vm-boot: it has format {found}, this one reads up to {known}")]
    Newer {
        /// Its number.
        found: u32,
        /// The greatest that is known.
        known: u32,
    },
    /// Of an earlier program whose layout is no longer read.
    #[error("was written by an older vm-boot: it has format {found}, this one reads from {known}")]
    Older {
        /// Its number.
        found: u32,
        /// The least that is known.
        known: u32,
    },
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is longer or shorter than it was when written.
    #[error("is damaged: expected {expected} bytes, found {found}")]
    Length {
        /// Bytes written.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Its bytes are not those that were written.
    #[error("is damaged: its BLAKE3 is not the one noted when it was written")]
    Digest,
    /// Pages that differ from what was written.
    #[error("is damaged: the pages from {at:#x} on are not what was written")]
    Pages {
        /// First address of the piece.
        at: u64,
    },
    /// Its bytes mean nothing.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It means something that no machine can be.
    #[error("is not valid: {0}")]
    Invalid(String),
    /// It belongs to another machine than is asked for.
    #[error("does not fit: expected {expected}, found {found} in the snapshot")]
    Mismatch {
        /// What is asked for.
        expected: String,
        /// What was saved.
        found: String,
    },
    /// Another snapshot is where the one was that this one stands on.
    #[error("is another snapshot than the one below: expected BLAKE3 {expected}, found {found}")]
    OtherBase {
        /// Its header's digest, the beginning.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A disk is not the one that the guest has seen.
    #[error("{0}")]
    Disk(String),
}

impl Reason {
    /// Why a file of the snapshot cannot be read.
    pub(super) fn of_file(error: io::Error) -> Reason {
        match error.kind() {
            io::ErrorKind::NotFound => Reason::Missing,
            _ => Reason::Host(error),
        }
    }

    /// The refusal of `part` of the snapshot in `dir` for this reason.
    pub fn of(self, dir: &Path, part: impl Into<String>) -> Refusal {
        Refusal { dir: dir.to_owned(), part: part.into(), reason: self }
    }
}

/// Why a snapshot was not taken. What was there before is there still.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The machine has no state to save.
    #[error("cannot save a machine that {0}")]
    State(&'static str),
    /// A file could not be written.
    #[error("snapshot {}: cannot {action}: {source}", path.display())]
    Host {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The snapshot to stand on is not whole, or of another machine.
    #[error("cannot save on top of it: {0}")]
    Base(#[from] Refusal),
    /// It would replace what it stands on.
    #[error("snapshot {}: expected a place of its own, found what the snapshot would stand on", .0.display())]
    OnItself(PathBuf),
    /// Something else is where the snapshot should go.
    #[error("snapshot {}: expected a snapshot to replace, or nothing; found something else, which is left alone", .0.display())]
    Occupied(PathBuf),
    /// A state that the format cannot hold.
    #[error("snapshot: {part} {error}")]
    Codec {
        /// Which.
        part: String,
        /// Why not.
        error: CodecError,
    },
    /// Guest memory cannot be read.
    #[error("snapshot: {0}")]
    Memory(#[from] vm_mmu::AccessError),
}

impl SaveError {
    /// What makes a host's error one of saving.
    pub(super) fn host(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SaveError {
        move |source| SaveError::Host { action, path: path.to_owned(), source }
    }
}
