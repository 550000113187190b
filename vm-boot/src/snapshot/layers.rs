//! Files of pages on top of one another: what a differential snapshot does not hold, the one below it does.
//!
//! ```text
//!  newest   ░░▓░░░░▓░░░     a page is that of the newest file which holds it,
//!           ░▓▓░░░░░░░░     or zeros (memory), or the image's (a disk)
//!  oldest   ▓▓▓▓▓░▓▓░░░
//! ```

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vm_devices::virtio::block::overlay::{Clusters, Layer};
use vm_mmu::PAGE;

use super::chunks::each_chunk;
use super::packed::{self, Frame};
use super::pages::{CHUNK, CHUNK_PAGES, PageMap, PageSet};

/// A file of pages, each at its own offset, or packed.
#[derive(Debug)]
pub struct PageFile {
    /// What it is called.
    pub(super) name: String,
    pub(super) file: File,
    pub(super) map: PageMap,
    /// Where its first page is, for people.
    pub(super) start: u64,
    /// Where the pages of each chunk are if they are packed.
    pub(super) frames: Option<Vec<Frame>>,
}

impl PageFile {
    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What it holds.
    pub fn map(&self) -> &PageMap {
        &self.map
    }

    /// Whether its bytes have to be unpacked.
    pub fn is_packed(&self) -> bool {
        self.frames.is_some()
    }

    /// Puts some pages of a chunk at their places in `buf`, all of which it holds.
    pub(super) fn read_chunk(&self, index: usize, pages: &PageSet, buf: &mut [u8]) -> io::Result<()> {
        let at = self.map.chunks.binary_search_by_key(&index, |chunk| chunk.index as usize);
        match (&self.frames, at) {
            (Some(frames), Ok(at)) => {
                let (frame, chunk) = (frames[at], &self.map.chunks[at]);
                return packed::unpack_some(&self.file, frame, chunk, pages, buf);
            }
            (Some(_), Err(_)) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {}
        }
        for (page, count) in pages.runs() {
            let bytes = &mut buf[page * PAGE as usize..][..count * PAGE as usize];
            self.file.read_exact_at(bytes, (index * CHUNK_PAGES + page) as u64 * PAGE)?;
        }
        Ok(())
    }

    /// The same as a layer of a disk.
    fn layer(&self) -> io::Result<Layer> {
        let mut clusters = Clusters::default();
        self.map.iter().for_each(|page| clusters.insert(page));
        Ok(Layer { file: self.file.try_clone()?, clusters })
    }

    fn pages(&self, chunk: usize) -> PageSet {
        self.map.chunk(chunk as u64).map_or(PageSet::default(), |chunk| chunk.pages)
    }
}

/// A run of pages that one file holds: bytes, from the first page of memory on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of the file, from the oldest.
    pub layer: usize,
    /// Where its bytes are, in the file as in memory.
    pub bytes: Range<u64>,
}

/// Files of pages, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Layers(Vec<Arc<PageFile>>);

impl Layers {
    /// These files, the oldest first.
    pub fn new(files: Vec<Arc<PageFile>>) -> Layers {
        Layers(files)
    }

    /// The files, the oldest first.
    pub fn files(&self) -> &[Arc<PageFile>] {
        &self.0
    }

    /// Bytes that they hold, all together.
    pub fn held(&self) -> u64 {
        self.0.iter().map(|file| file.map.held()).sum()
    }

    /// Whether any of them holds the page of this number.
    pub fn holds(&self, page: u64) -> bool {
        self.0.iter().any(|file| file.map.holds(page * PAGE))
    }

    /// Which pages of a chunk any of them holds.
    pub fn pages(&self, chunk: usize) -> PageSet {
        self.0.iter().fold(PageSet::default(), |all, file| all.or(&file.pages(chunk)))
    }

    /// Puts the `wanted` pages of a chunk at their places in `buf`, zeros for those that no file holds; gives
    /// which are held.
    pub fn fill(&self, chunk: usize, wanted: &PageSet, buf: &mut [u8]) -> io::Result<PageSet> {
        let mut left = *wanted;
        for file in self.0.iter().rev() {
            let here = left.and(&file.pages(chunk));
            if !here.is_empty() {
                file.read_chunk(chunk, &here, buf)?;
            }
            left = left.without(&here);
        }
        for (page, count) in left.runs() {
            buf[page * PAGE as usize..][..count * PAGE as usize].fill(0);
        }
        Ok(wanted.without(&left))
    }

    /// Reads all pages that any of them holds, on several threads: `put` gets the bytes of each run of them and where
    /// they belong, from the start of memory.
    pub fn read_all<E: Send + From<io::Error>>(
        &self,
        put: impl Fn(u64, &[u8]) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let Some(lowest) = self.0.first() else { return Ok(()) };
        let done = each_chunk("unpacking", lowest.map.size, |index, buf| {
            let pages = self.pages(index);
            self.fill(index, &pages, buf)?;
            for (page, count) in pages.runs() {
                let bytes = &buf[page * PAGE as usize..][..count * PAGE as usize];
                put((index * CHUNK_PAGES + page) as u64 * PAGE, bytes)?;
            }
            Ok(None::<()>)
        });
        done.map(drop)
    }

    /// What has to lie over the oldest file, in pieces that one file holds and that belong to one chunk.
    pub fn runs_above(&self) -> Vec<Run> {
        let Some((lowest, above)) = self.0.split_first() else { return Vec::new() };
        let mut runs: Vec<Run> = Vec::new();
        for chunk in 0..lowest.map.size.div_ceil(CHUNK) as usize {
            let mut seen = PageSet::default();
            for (layer, file) in above.iter().enumerate().rev() {
                let own = file.pages(chunk).without(&seen);
                seen = seen.or(&own);
                runs.extend(own.runs().map(|(first, count)| {
                    let start = (chunk * CHUNK_PAGES + first) as u64 * PAGE;
                    Run { layer: layer + 1, bytes: start..start + count as u64 * PAGE }
                }));
            }
        }
        runs
    }

    /// The same as layers of a disk.
    pub fn of_disk(&self) -> io::Result<Vec<Layer>> {
        self.0.iter().map(|file| file.layer()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::Chunk;
    use super::*;

    const SIZE: u64 = 2 * CHUNK;

    /// A file that holds these pages, full of `byte`.
    fn file(byte: u8, pages: &[usize]) -> Arc<PageFile> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        let mut chunks: Vec<Chunk> = Vec::new();
        for &page in pages {
            file.write_all_at(&[byte; PAGE as usize], page as u64 * PAGE).unwrap();
            let index = (page / CHUNK_PAGES) as u32;
            if chunks.last().is_none_or(|chunk| chunk.index != index) {
                chunks.push(Chunk { index, pages: PageSet::default(), digest: [0; 32] });
            }
            chunks.last_mut().unwrap().pages.insert(page % CHUNK_PAGES);
        }
        let map = PageMap { size: SIZE, chunks };
        Arc::new(PageFile { name: "ram".to_owned(), file, map, start: 0, frames: None })
    }

    #[test]
    fn the_newest_file_that_holds_a_page_has_it() {
        let layers = Layers::new(vec![file(1, &[0, 1, 2, 3, 600]), file(2, &[2, 3, 601]), file(3, &[3, 4])]);
        let mut buf = vec![9; CHUNK as usize];
        let mut wanted = PageSet::default();
        (0..6).for_each(|page| wanted.insert(page));
        let held = layers.fill(0, &wanted, &mut buf).unwrap();
        assert_eq!(held.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let first: Vec<u8> = buf.iter().step_by(PAGE as usize).copied().take(7).collect();
        assert_eq!(first, [1, 1, 2, 3, 3, 0, 9], "held, zeros, and what was not asked for");
        assert_eq!(layers.pages(1).iter().collect::<Vec<_>>(), [88, 89]);
        let run = |layer, pages: Range<u64>| Run { layer, bytes: pages.start * PAGE..pages.end * PAGE };
        assert_eq!(layers.runs_above(), [run(2, 3..5), run(1, 2..3), run(1, 601..602)]);
    }
}
