//! A file opened for loading: its first bytes to tell the format by, and all of it as a stream.

use std::fs::File;
use std::io::{Chain, Cursor, Read};
use std::path::Path;

use super::compression::{self, Compression};
use super::error::Problem;

/// As much as every format needs to be recognised, with the section table of an EFI image.
const HEAD: u64 = 4096;

/// A file's bytes from the start: those already read, then the rest.
pub(super) type Stream = Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

/// A file opened for loading.
pub(super) struct Source {
    /// The first bytes, up to 4 KiB.
    pub head: Vec<u8>,
    /// All bytes, from the first.
    pub stream: Stream,
    /// Length in bytes, if it is known before the end is reached.
    pub len: Option<u64>,
}

impl Source {
    /// Opens a file as it is.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let file = File::open(path).map_err(Problem::Open)?;
        let facts = file.metadata().map_err(Problem::Open)?;
        if facts.is_dir() {
            return Err(Problem::NotAFile);
        }
        Self::new(Box::new(file), facts.is_file().then_some(facts.len()))
    }

    /// Opens a file and, if it is compressed, what is inside.
    pub fn open_unpacked(path: &Path) -> Result<Self, Problem> {
        let packed = Self::open(path)?;
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
