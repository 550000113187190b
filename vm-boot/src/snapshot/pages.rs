//! Which pages a file holds, and what their bytes were: `ram`, or what was written to a disk.
//!
//! It is looked at in chunks of 2 MiB. A chunk that is listed has a bit for each page that the file holds,
//! and the BLAKE3 of the bytes of those pages, one after the other. All other pages are what they are in the
//! snapshot below, if there is one; else zeros in memory, and of a disk what the image has.

use serde::{Deserialize, Serialize};
use vm_mmu::PAGE;

/// Bytes of a chunk.
pub const CHUNK: u64 = 2 << 20;
/// Pages of a chunk.
pub const CHUNK_PAGES: usize = (CHUNK / PAGE) as usize;

/// The pages of a chunk, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSet([u64; CHUNK_PAGES / 64]);

impl PageSet {
    /// Adds a page of the chunk.
    pub fn insert(&mut self, page: usize) {
        self.0[page / 64] |= 1 << (page % 64);
    }

    /// Takes a page of the chunk out.
    pub fn remove(&mut self, page: usize) {
        self.0[page / 64] &= !(1 << (page % 64));
    }

    /// Whether a page of the chunk is in it.
    pub fn contains(&self, page: usize) -> bool {
        self.0[page / 64] >> (page % 64) & 1 == 1
    }

    /// All that are in this set or in the other.
    pub fn or(&self, other: &PageSet) -> PageSet {
        PageSet(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// All that are in both.
    pub fn and(&self, other: &PageSet) -> PageSet {
        PageSet(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// All that are in this set and not in the other.
    pub fn without(&self, other: &PageSet) -> PageSet {
        PageSet(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// One after the other, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs().flat_map(|(first, count)| first..first + count)
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Runs of pages that follow each other: first page and number.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            at = (at..CHUNK_PAGES).find(|&page| self.contains(page))?;
            let first = at;
            at = (first..CHUNK_PAGES).find(|&page| !self.contains(page)).unwrap_or(CHUNK_PAGES);
            Some((first, at - first))
        })
    }
}

/// A chunk of which the file holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number, from the start of memory.
    pub index: u32,
    /// Which pages.
    pub pages: PageSet,
    /// BLAKE3 of their bytes.
    pub digest: [u8; 32],
}

/// The map of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageMap {
    /// Bytes of the file.
    pub size: u64,
    /// By their number, ascending.
    pub chunks: Vec<Chunk>,
}

impl PageMap {
    /// Whether the file holds the page at this offset in memory.
    pub fn holds(&self, offset: u64) -> bool {
        let page = (offset % CHUNK / PAGE) as usize;
        self.chunk(offset / CHUNK).is_some_and(|chunk| chunk.pages.contains(page))
    }

    /// The chunk of this number, if the file holds anything of it.
    pub fn chunk(&self, index: u64) -> Option<&Chunk> {
        let at = self.chunks.binary_search_by_key(&index, |chunk| chunk.index.into()).ok()?;
        self.chunks.get(at)
    }

    /// Bytes that the file holds.
    pub fn held(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.pages.count() * PAGE).sum()
    }

    /// The pages that the file holds, by number, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().flat_map(|chunk| {
            let first = u64::from(chunk.index) * CHUNK_PAGES as u64;
            chunk.pages.iter().map(move |page| first + page as u64)
        })
    }

    /// Checks that this can be the map of `size` bytes.
    pub fn check(&self, size: u64) -> Result<(), String> {
        if self.size != size {
            return Err(format!("expected a map of {size} bytes, found one of {}", self.size));
        }
        let mut next = 0;
        for chunk in &self.chunks {
            if u64::from(chunk.index) < next {
                return Err(format!("expected chunks in order, found {} after {next}", chunk.index));
            }
            next = u64::from(chunk.index) + 1;
            let left = size.saturating_sub(u64::from(chunk.index) * CHUNK) / PAGE;
            let last = chunk.pages.runs().last().map_or(0, |(first, count)| (first + count) as u64);
            if last == 0 || last > left {
                return Err(format!("expected pages within {size} bytes in chunk {}", chunk.index));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pages: &[usize]) -> PageSet {
        let mut set = PageSet::default();
        pages.iter().for_each(|&page| set.insert(page));
        set
    }

    #[test]
    fn runs_are_the_pages_in_order() {
        assert_eq!(set(&[]).runs().count(), 0);
        let some = set(&[0, 1, 5, 63, 64, 65, 511]);
        assert_eq!(some.runs().collect::<Vec<_>>(), [(0, 2), (5, 1), (63, 3), (511, 1)]);
        assert_eq!(some.count(), 7);
        let all: Vec<usize> = (0..CHUNK_PAGES).collect();
        assert_eq!(set(&all).runs().collect::<Vec<_>>(), [(0, 512)]);
    }

    #[test]
    fn a_map_that_no_memory_has_is_refused() {
        let chunk = |index, pages: &[usize]| Chunk { index, pages: set(pages), digest: [0; 32] };
        let map = |chunks| PageMap { size: CHUNK + 2 * PAGE, chunks };
        let good = map(vec![chunk(0, &[511]), chunk(1, &[1])]);
        assert_eq!(good.check(CHUNK + 2 * PAGE), Ok(()));
        assert!(good.check(2 * CHUNK).is_err());
        assert!(good.holds(CHUNK + PAGE) && !good.holds(CHUNK) && !good.holds(5 * CHUNK));
        for bad in [
            vec![chunk(1, &[0]), chunk(0, &[0])],
            vec![chunk(0, &[0]), chunk(0, &[0])],
            vec![chunk(1, &[2])],
            vec![chunk(2, &[0])],
            vec![chunk(u32::MAX, &[0])],
            vec![chunk(0, &[])],
        ] {
            assert!(map(bad.clone()).check(CHUNK + 2 * PAGE).is_err(), "{bad:?}");
        }
    }
}
