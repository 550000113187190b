//! Units of an earlier image, for a build that would make them anew.
//!
//! **Invariant.** What is taken is what compiling would give: the image is signed by the key that signs the new one,
//! and made by this program for this host, and the unit's digest is that of the job.

use std::collections::HashMap;

use ed25519_dalek::VerifyingKey;
use thiserror::Error;

use super::build::{Job, Made, SHARED_WORDS};
use super::error::ImageError;
use super::index::OWN_WORDS;
use super::keys::KeyId;
use super::level::CpuLevel;
use super::origin::Digest;
use super::unit::{AheadUnit, Contents};
use super::{Image, PAGE, layout_hash};
use crate::jit::compile::Name;
use crate::jit::lift::space;

/// Why nothing of an image is taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReuseError {
    /// It is none, or not what was signed, or not of this program or host.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Somebody else vouches for it.
    #[error("is signed by key {found}: expected {expected}, which signs the new one")]
    Key {
        /// Who signs the new image.
        expected: KeyId,
        /// Who has signed this one.
        found: KeyId,
    },
}

/// The units of an image.
#[derive(Debug)]
pub struct Reuse {
    contents: Contents,
    /// Places among the origins.
    known: HashMap<Digest, usize>,
}

impl Reuse {
    /// Of a file, if it is an image that `key` has signed, made by this program for hosts of `level`.
    pub fn of(file: Vec<u8>, key: &VerifyingKey, level: &CpuLevel) -> Result<Reuse, ReuseError> {
        let image = Image::open(file)?;
        if image.header().key != key.to_bytes() {
            let (expected, found) = (KeyId::of(key.as_bytes()), image.key());
            return Err(ReuseError::Key { expected, found });
        }
        let layout = image.header().layout;
        if layout != layout_hash() {
            return Err(ImageError::Layout { expected: layout_hash(), found: layout }.into());
        }
        if image.level() != level {
            let (expected, found) = (level.clone(), image.level().clone());
            return Err(ImageError::Level { expected, found }.into());
        }
        let contents = image.contents()?;
        let known = contents.origins.iter().enumerate().map(|(at, origin)| (origin.digest, at)).collect();
        Ok(Reuse { contents, known })
    }

    /// What was made from the same as `job` before. `None` if nothing was.
    pub fn find(&self, job: &Job, digest: &Digest) -> Option<Made> {
        let origin = &self.contents.origins[*self.known.get(digest)?];
        let unit = self.contents.units.get(origin.unit as usize)?;
        let code = self.contents.text.get(unit.text as usize..)?.get(..unit.len as usize)?;
        let names = origin.places().map(|(at, addend)| self.name(unit, code, at as u32, addend));
        let names: Option<Vec<Name>> = names.collect();
        job.again(unit.clone(), code, names?, *digest)
    }

    /// The word whose distance is at a place of a unit's code.
    fn name(&self, unit: &AheadUnit, code: &[u8], at: u32, addend: i32) -> Option<Name> {
        let distance = i32::from_le_bytes(*code.get(at as usize..)?.first_chunk()?);
        let words = self.contents.text.len().next_multiple_of(PAGE) as i64;
        let from = i64::from(distance) - i64::from(addend) + i64::from(unit.text) + i64::from(at) - words;
        let word = u32::try_from(from).ok().filter(|from| from.is_multiple_of(8))? / 8;
        let own = OWN_WORDS + unit.links.len() as u32;
        let (space, index) = match word.checked_sub(unit.words) {
            _ if word < SHARED_WORDS => (space::HELPERS, word),
            Some(index) if index < own => (space::OWN, index),
            _ => return None,
        };
        Some(Name { at, addend: addend.into(), space, index })
    }
}
