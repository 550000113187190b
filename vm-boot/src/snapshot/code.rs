//! The part `code`: the file with an image of the optimised code that the machine had.
//!
//! The image is verified by who runs it, like any other; here it is only seen to that it is the one that was
//! written.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CODE;
use super::error::Reason;

/// More than is compiled for a snapshot in its time.
const MOST: u64 = 256 << 20;

/// Which bytes the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// How many.
    pub length: u64,
    /// Their BLAKE3.
    pub digest: [u8; 32],
}

impl CodeRecord {
    /// The record of an image.
    pub fn of(image: &[u8]) -> CodeRecord {
        CodeRecord { length: image.len() as u64, digest: *blake3::hash(image).as_bytes() }
    }

    /// The image in `dir`, if it is the one.
    pub fn read(&self, dir: &Path) -> Result<Vec<u8>, Reason> {
        if self.length > MOST {
            return Err(Reason::Invalid(format!("expected at most {MOST} bytes")));
        }
        let file = File::open(dir.join(CODE.0)).map_err(Reason::of_file)?;
        let found = file.metadata().map_err(Reason::of_file)?.len();
        if found != self.length {
            return Err(Reason::Length { expected: self.length, found });
        }
        let mut image = Vec::new();
        file.take(self.length).read_to_end(&mut image).map_err(Reason::of_file)?;
        match CodeRecord::of(&image) == *self {
            true => Ok(image),
            false => Err(Reason::Digest),
        }
    }
}
