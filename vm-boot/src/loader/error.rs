//! Why something could not be loaded: which file, what was expected, what was found, what to do.

use std::fmt::Display;
use std::io;
use std::ops::Range;

use thiserror::Error;
use vm_mmu::{AccessError, FillError};

/// What a file was to be loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `--kernel`.
    Kernel,
    /// `--initrd`.
    Initrd,
    /// `--firmware`.
    Firmware,
    /// `--dtb`.
    DeviceTree,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Firmware => "firmware",
            Self::DeviceTree => "device tree",
        }
    }
}

/// Why the payload could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// One file is not usable.
    #[error("{} {name}: {problem}", role.name())]
    File {
        /// What it was to be.
        role: Role,
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The machine itself has no room.
    #[error("{0}")]
    Layout(Problem),
}

impl LoadError {
    /// Neither kernel nor firmware.
    pub(super) fn nothing() -> Self {
        Self::Layout(Problem::Nothing)
    }
}

/// Runs one step of loading and names the file in its failure.
pub fn about<T>(
    role: Role,
    name: impl Display,
    step: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, LoadError> {
    step().map_err(|problem| LoadError::File { role, name: name.to_string(), problem })
}

/// What is wrong with a file or its place.
#[derive(Debug, Error)]
pub enum Problem {
    /// There is nothing to run.
    #[error("expected a kernel or firmware, found neither")]
    Nothing,
    /// The host does not give it.
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    /// The host stopped giving it.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// A directory or another thing without a length.
    #[error("expected a regular file, found a directory, pipe or device")]
    NotAFile,
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// It ends too early.
    #[error("expected {expected} bytes, found {found}: the file is truncated; fetch or build it again")]
    Truncated {
        /// Bytes that its own headers promise.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A format that this machine does not run.
    #[error("expected {expected}, found {found}")]
    Format {
        /// What would do.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Compressed in a way that is not read here.
    #[error("expected it raw, gzip or zstd, found {0}: decompress it first")]
    Compression(&'static str),
    /// A field of a header makes no sense.
    #[error("{what}: expected {expected}, found {found:#x}: the file is damaged")]
    Header {
        /// The field.
        what: &'static str,
        /// What would do.
        expected: &'static str,
        /// What is there.
        found: u64,
    },
    /// An ELF that cannot be parsed.
    #[error("not a well-formed ELF: {0}")]
    Elf(String),
    /// Does not fit.
    #[error(
        "needs {needed} bytes at {at:#x}, but RAM is {:#x}..{:#x} and {room} bytes are free there; \
         give the machine more --memory", ram.start, ram.end
    )]
    NoRoom {
        /// Bytes needed.
        needed: u64,
        /// Where.
        at: u64,
        /// Bytes free there.
        room: u64,
        /// All of RAM.
        ram: Range<u64>,
    },
    /// Could never fit.
    #[error("is {size} bytes, more than all of RAM ({ram} bytes); give the machine more --memory")]
    LargerThanRam {
        /// Bytes of the file.
        size: u64,
        /// Bytes of RAM.
        ram: u64,
    },
    /// Linked or destined for an address that is not RAM.
    #[error("is to lie at {:#x}..{:#x}, outside RAM {:#x}..{:#x}; link it for RAM or give more --memory",
        range.start, range.end, ram.start, ram.end)]
    Outside {
        /// Where it is to lie.
        range: Range<u64>,
        /// All of RAM.
        ram: Range<u64>,
    },
    /// Two things at one address.
    #[error("is to lie at {:#x}..{:#x}, where the {other} already lies", range.start, range.end)]
    Overlap {
        /// Where it is to lie.
        range: Range<u64>,
        /// What is there.
        other: &'static str,
    },
    /// Guest memory could not be written.
    #[error(transparent)]
    Memory(#[from] AccessError),
}

impl From<FillError> for Problem {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Access(error) => Self::Memory(error),
            FillError::Read { source, .. } => Self::Read(source),
        }
    }
}
