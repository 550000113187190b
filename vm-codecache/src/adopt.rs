//! Code from an image: mapped once, published unit by unit.
//!
//! ```text
//!  stable zone │ text: pages of the image, shared │ words of this process │ (free)
//! ```
//! **Invariant.** Its segments are never given back: a unit that dies leaves its code where it is, and may be
//! published again when nobody can run it any more.

use std::io::ErrorKind;
use std::ops::Range;

use crate::arena::Words;
use crate::core::Core;
use crate::error::CacheError;
use crate::sealed::Sealed;
use crate::zone::Zone;

const PAGE: usize = 4096;

/// Where the text of an image lies.
pub struct Adopted {
    /// Offset in the arena.
    pub(crate) start: u64,
    words: Words,
}

impl Adopted {
    /// Sets a word behind the text.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn set(&self, index: u32, value: u64) {
        self.words.set(index as usize, value);
    }
}

impl Core {
    pub fn adopt(&self, image: &Sealed, text: &Range<usize>, words: usize) -> Result<Adopted, CacheError> {
        let len = text.len().next_multiple_of(PAGE);
        let size = len + (words * 8).next_multiple_of(PAGE);
        let start = self
            .zones
            .take_front(Zone::Stable, size)
            .ok_or(CacheError::Adopt { wanted: size, size: self.zones.usage(Zone::Stable).free })?;
        let failed = |source| CacheError::Arena { size, source };
        if !text.is_empty() {
            let (file, at, len) = image.pages(text).ok_or_else(|| failed(ErrorKind::InvalidInput.into()))?;
            self.arena.overlay(start, (file, at), len).map_err(failed)?;
        }
        let words = self.arena.words(start + len as u64, words).map_err(failed)?;
        Ok(Adopted { start, words })
    }
}
