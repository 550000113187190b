//! Where a payload comes from, and a payload opened for loading: its first bytes to tell the format
//! by, and all of it as a stream.

use std::fmt;
use std::fs::File;
use std::io::{Chain, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use super::compression::{self, Compression};
use super::error::Problem;

/// As much as every format needs to be recognised, with the section table of an EFI image.
const HEAD: u64 = 4096;

/// Where the bytes of a payload come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// A file on the host.
    File(PathBuf),
    /// Part of this program.
    Embedded {
        /// What to call it.
        name: &'static str,
        /// Its bytes.
        bytes: &'static [u8],
    },
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Embedded { name, .. } => name.fmt(f),
        }
    }
}

/// Bytes that can be read from any place.
pub(super) trait Seekable: Read + Seek {}
impl<T: Read + Seek> Seekable for T {}

impl Blob {
    /// Opens it, with its length if that is known.
    pub(super) fn open(&self) -> Result<(Box<dyn Seekable>, Option<u64>), Problem> {
        match self {
            Self::File(path) => {
                let (file, len) = open_file(path)?;
                Ok((Box::new(file), len))
            }
            Self::Embedded { bytes, .. } => Ok((Box::new(Cursor::new(*bytes)), Some(bytes.len() as u64))),
        }
    }
}

/// Pipes and devices have no length; directories are refused.
fn open_file(path: &Path) -> Result<(File, Option<u64>), Problem> {
    let file = File::open(path).map_err(Problem::Open)?;
    let facts = file.metadata().map_err(Problem::Open)?;
    if facts.is_dir() {
        return Err(Problem::NotAFile);
    }
    Ok((file, facts.is_file().then_some(facts.len())))
}

/// All of a file that is small by its nature, at most `limit` bytes of it.
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    let (file, len) = open_file(path)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Problem::Read)?;
    match bytes.len() as u64 {
        0 => Err(Problem::Empty),
        found if found > limit => Err(Problem::LargerThanRam { size: len.unwrap_or(found), ram: limit }),
        _ => Ok(bytes),
    }
}

/// A file's bytes from the start: those already read, then the rest.
pub(super) type Stream = Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

/// A payload opened for loading.
pub(super) struct Source {
    /// The first bytes, up to 4 KiB.
    pub head: Vec<u8>,
    /// All bytes, from the first.
    pub stream: Stream,
    /// Length in bytes, if it is known before the end is reached.
    pub len: Option<u64>,
}

impl Source {
    /// Opens a payload as it is.
    pub fn open(blob: &Blob) -> Result<Self, Problem> {
        let (file, len) = blob.open()?;
        Self::new(Box::new(file), len)
    }

    /// Opens a payload and, if it is compressed, what is inside.
    pub fn open_unpacked(blob: &Blob) -> Result<Self, Problem> {
        let packed = Self::open(blob)?;
        match Compression::of(&packed.head) {
            Some(kind) => Self::new(compression::unpack(kind, packed.stream)?, None),
            None => Ok(packed),
        }
    }

    fn new(mut file: Box<dyn Read>, len: Option<u64>) -> Result<Self, Problem> {
        let mut head = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut head).map_err(Problem::Read)?;
        if head.is_empty() {
            return Err(Problem::Empty);
        }
        let stream = Cursor::new(head.clone()).chain(file);
        Ok(Self { head, stream, len })
    }
}
