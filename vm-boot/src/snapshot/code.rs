//! The part `code`: the file with an image of the optimised code that the machine had.
//!
//! The image is verified by who runs it, like any other; here it is only seen to that it is the one that was
//! written.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CODE;
use super::error::Reason;

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
        let path = dir.join(CODE.0);
        let found = fs::metadata(&path).map_err(Reason::of_file)?.len();
        if found != self.length {
            return Err(Reason::Length { expected: self.length, found });
        }
        let image = fs::read(&path).map_err(Reason::of_file)?;
        match CodeRecord::of(&image) == *self {
            true => Ok(image),
            false => Err(Reason::Digest),
        }
    }
}
