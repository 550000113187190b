//! Code from an image: laid out once, published unit by unit.
//!
//! ```text
//!  stable zone │ text, as in the image │ words of this process │ (free)
//! ```
//! **Invariant.** Its segments are never given back: a unit that dies leaves its code where it is, and may be
//! published again when nobody can run it any more.

use crate::arena::Words;
use crate::core::Core;
use crate::error::CacheError;
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
    pub fn adopt(&self, text: &[u8], words: usize) -> Result<Adopted, CacheError> {
        let len = text.len().next_multiple_of(PAGE);
        let size = len + (words * 8).next_multiple_of(PAGE);
        let start = self
            .zones
            .take_front(Zone::Stable, size)
            .ok_or(CacheError::Adopt { wanted: size, size: self.zones.usage(Zone::Stable).free })?;
        let failed = |source| CacheError::Arena { size, source };
        self.arena.write(start, text).map_err(failed)?;
        let words = self.arena.words(start + len as u64, words).map_err(failed)?;
        Ok(Adopted { start, words })
    }
}
