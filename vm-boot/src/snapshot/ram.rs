//! The files of pages, each page at its own offset: `ram` is guest memory, its zeros left out as holes;
//! `disk0` and so on are what was written to disks that leave their images alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use vm_devices::virtio::Disk;
use vm_devices::virtio::block::SECTOR;
use vm_devices::virtio::block::overlay::CLUSTER;
use vm_mmu::{AddressSpace, PAGE};

use super::chunks::each_chunk;
use super::error::{Reason, SaveError};
use super::layers::{Layers, PageFile};
use super::pages::{CHUNK, CHUNK_PAGES, Chunk, PageMap, PageSet};

const _: () = assert!(CLUSTER == PAGE, "a cluster of a disk is a page of its file");
static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// Writes memory to `file`: all that is not zeros, or, on top of `below`, all that differs from it. Pages that
/// certainly do not are those for which `may_differ` says no. What changes meanwhile has to be written again.
pub fn write(
    memory: &AddressSpace,
    may_differ: impl Fn(usize) -> bool + Sync,
    below: &Layers,
    file: &File,
) -> Result<PageMap, SaveError> {
    let range = memory.range();
    let size = range.end - range.start;
    let failed = |source| SaveError::Host { action: "write", path: "ram".into(), source };
    file.set_len(size).map_err(failed)?;
    let chunks = each_chunk::<_, SaveError>("saving", size, |index, buf| {
        let first = index * CHUNK_PAGES;
        let mut listed = PageSet::default();
        (0..buf.len() / PAGE as usize)
            .filter(|&page| may_differ(first + page))
            .for_each(|page| listed.insert(page));
        for page in listed.iter() {
            memory.peek(range.start + (first + page) as u64 * PAGE, page_of(buf, page))?;
        }
        let held = differing(index, &listed, buf, below).map_err(failed)?;
        put(index, &held, buf, file).map_err(failed)
    })?;
    Ok(PageMap { size, chunks })
}

/// What a page is that no file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Zeros, in memory.
    Zeros,
    /// The image's, of a disk: unknown here.
    Image,
}

/// Writes some pages again, by number and ascending; `read` gives the bytes of the one at a place in that list. Gives
/// the map of the file from now on.
pub fn rewrite(
    map: &PageMap,
    file: &File,
    (below, otherwise): (&Layers, Otherwise),
    pages: &[u64],
    read: impl Fn(usize, &mut [u8]) -> Result<(), SaveError> + Sync,
) -> Result<PageMap, SaveError> {
    let failed = |source| SaveError::Host { action: "write", path: "ram".into(), source };
    let first_of = |index: usize| pages.partition_point(|&page| page < (index * CHUNK_PAGES) as u64);
    let chunks = each_chunk::<_, SaveError>("saving", map.size, |index, buf| {
        let before = map.chunk(index as u64);
        let listed = first_of(index)..first_of(index + 1);
        if listed.is_empty() {
            return Ok(before.cloned());
        }
        let kept = before.map_or(PageSet::default(), |chunk| chunk.pages);
        for (page, count) in kept.runs() {
            let bytes = &mut buf[page * PAGE as usize..][..count * PAGE as usize];
            file.read_exact_at(bytes, (index * CHUNK_PAGES + page) as u64 * PAGE).map_err(failed)?;
        }
        let mut again = PageSet::default();
        for at in listed {
            let page = (pages[at] % CHUNK_PAGES as u64) as usize;
            read(at, page_of(buf, page))?;
            again.insert(page);
        }
        let known = match otherwise {
            Otherwise::Zeros => again,
            Otherwise::Image => again.and(&below.pages(index)),
        };
        let differ = differing(index, &known, buf, below).map_err(failed)?.or(&again.without(&known));
        let held = kept.without(&again).or(&differ);
        for page in again.iter().filter(|&page| kept.contains(page) || held.contains(page)) {
            let bytes = if held.contains(page) { page_of(buf, page) } else { &ZEROS[..] };
            file.write_all_at(bytes, (index * CHUNK_PAGES + page) as u64 * PAGE).map_err(failed)?;
        }
        let chunk = Chunk { index: index as u32, pages: held, digest: digest(&held, buf) };
        Ok((!held.is_empty()).then_some(chunk))
    })?;
    Ok(PageMap { size: map.size, chunks })
}

/// Those of the `listed` pages of a chunk, with their bytes in `buf`, that are not what they are `below`.
fn differing(index: usize, listed: &PageSet, buf: &[u8], below: &Layers) -> io::Result<PageSet> {
    let mut held = PageSet::default();
    if listed.is_empty() {
        return Ok(held);
    }
    let mut lower = Vec::new();
    let known = listed.and(&below.pages(index));
    if !known.is_empty() {
        lower.resize(buf.len(), 0);
        below.fill(index, &known, &mut lower)?;
    }
    for page in listed.iter() {
        let at = page * PAGE as usize..(page + 1) * PAGE as usize;
        let expected = if known.contains(page) { &lower[at.clone()] } else { &ZEROS[..] };
        if buf[at] != *expected {
            held.insert(page);
        }
    }
    Ok(held)
}

fn page_of(buf: &mut [u8], page: usize) -> &mut [u8] {
    &mut buf[page * PAGE as usize..][..PAGE as usize]
}

/// Writes what a disk has that its image has not to `file`, or, on top of `below`, what differs from that.
/// What is stored meanwhile has to be written again.
pub fn write_disk(disk: &Disk, below: &Layers, file: &File) -> Result<PageMap, SaveError> {
    let failed = |source| SaveError::Host { action: "write", path: "disk".into(), source };
    let size = disk_size(disk);
    let kept = disk.kept().unwrap_or_default();
    file.set_len(size).map_err(failed)?;
    let chunks = each_chunk::<_, SaveError>("saving", size, |index, buf| {
        let first = index * CHUNK_PAGES;
        let known = below.pages(index);
        let mut listed = known;
        let pages = (0..buf.len() / PAGE as usize).filter(|&page| kept.contains((first + page) as u64));
        pages.for_each(|page| listed.insert(page));
        for page in listed.iter() {
            disk.read_cluster((first + page) as u64, page_of(buf, page)).map_err(failed)?;
        }
        // What is not known below is there in the image, whose zeros are no default.
        let differ = differing(index, &listed.and(&known), buf, below).map_err(failed)?;
        put(index, &listed.without(&known).or(&differ), buf, file).map_err(failed)
    })?;
    Ok(PageMap { size, chunks })
}

/// Bytes of a file of what was written to a disk.
pub fn disk_size(disk: &Disk) -> u64 {
    (disk.sectors() * SECTOR).next_multiple_of(PAGE)
}

/// Writes the pages of a chunk to their places in a file without any; gives the chunk, unless it has none.
pub fn put(index: usize, held: &PageSet, buf: &[u8], file: &File) -> io::Result<Option<Chunk>> {
    if held.is_empty() {
        return Ok(None);
    }
    let mut stored = *held;
    for page in held.iter() {
        if buf[page * PAGE as usize..][..PAGE as usize] == ZEROS {
            stored.remove(page);
        }
    }
    for (page, bytes) in runs(&stored, buf) {
        file.write_all_at(bytes, (index * CHUNK_PAGES + page) as u64 * PAGE)?;
    }
    Ok(Some(Chunk { index: index as u32, pages: *held, digest: digest(held, buf) }))
}

/// Checks that a file holds what its map says, and nothing else.
pub fn verify(pages: &PageFile) -> Result<(), Reason> {
    let PageFile { file, map, start, frames, .. } = pages;
    each_chunk("checking", map.size, |index, buf| {
        let offset = index as u64 * CHUNK;
        let (held, here) = (map.chunk(index as u64), Reason::Pages { at: start + offset });
        if frames.is_some() {
            let Some(chunk) = held else { return Ok(None) };
            // A frame that cannot be unpacked is as damaged as one of other bytes.
            let same = pages
                .read_chunk(index, &chunk.pages, buf)
                .is_ok_and(|()| chunk.digest == digest(&chunk.pages, buf));
            return if same { Ok(None) } else { Err(here) };
        }
        // A file that is all hole here needs no look.
        if held.is_none() && next_data(file, offset)?.is_none_or(|at| at >= offset + buf.len() as u64) {
            return Ok(None::<()>);
        }
        file.read_exact_at(buf, offset)?;
        let pages = held.map_or(PageSet::default(), |chunk| chunk.pages);
        let others = buf.chunks_exact(PAGE as usize).enumerate().filter(|&(page, _)| !pages.contains(page));
        let clean = others.into_iter().all(|(_, bytes)| *bytes == ZEROS);
        if !clean || held.is_some_and(|chunk| chunk.digest != digest(&pages, buf)) {
            return Err(here);
        }
        Ok(None)
    })
    .map(drop)
}

/// Where the file has data next, from `offset` on.
fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        // A file system that cannot tell holes.
        Err(rustix::io::Errno::INVAL) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

fn runs<'a>(held: &'a PageSet, buf: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
    held.runs().map(|(first, count)| (first, &buf[first * PAGE as usize..][..count * PAGE as usize]))
}

fn digest(held: &PageSet, buf: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    runs(held, buf).for_each(|(_, bytes)| _ = hasher.update(bytes));
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use vm_mmu::{Backend, Perm};

    use super::*;

    const BASE: u64 = 0x8000_0000;
    /// Not a whole number of chunks.
    const SIZE: u64 = 3 * CHUNK + 5 * PAGE;

    fn verify(file: &File, map: &PageMap, start: u64) -> Result<(), Reason> {
        let (file, map) = (file.try_clone().unwrap(), map.clone());
        super::verify(&PageFile { name: "ram".to_owned(), file, map, start, frames: None })
    }

    fn mapped(backend: Backend) -> AddressSpace {
        let space = AddressSpace::new(BASE..BASE + SIZE).unwrap();
        space.map(BASE..BASE + SIZE, backend, Perm::RWX).unwrap();
        space
    }

    /// Something in the first and last page, and a page that is touched and zero.
    fn sample() -> (AddressSpace, File, PageMap) {
        let space = mapped(Backend::Linear { huge: false });
        for offset in [0, CHUNK + 7 * PAGE + 5, CHUNK + 8 * PAGE, SIZE - 1] {
            space.write_u8(BASE + offset, offset as u8 | 1).unwrap();
        }
        space.write_u8(BASE + 2 * CHUNK, 0).unwrap();
        let file = tempfile::tempfile().unwrap();
        let map = write(&space, |_| true, &Layers::default(), &file).unwrap();
        (space, file, map)
    }

    #[test]
    fn memory_is_written_without_its_zeros() {
        let (_, file, map) = sample();
        let numbers: Vec<u32> = map.chunks.iter().map(|chunk| chunk.index).collect();
        assert_eq!((numbers, map.held()), (vec![0, 1, 3], 4 * PAGE));
        assert_eq!(map.check(SIZE), Ok(()));
        let facts = file.metadata().unwrap();
        assert_eq!(facts.len(), SIZE);
        assert!(facts.blocks() * 512 < 64 * PAGE, "{} blocks for four pages", facts.blocks());
        verify(&file, &map, BASE).unwrap();
    }

    #[test]
    fn what_is_restored_and_changed_is_written_whole_again() {
        let (_, file, map) = sample();
        let space = mapped(Backend::File { file: file.try_clone().unwrap(), offset: 0, shared: false });
        space.write_u8(BASE + CHUNK, 9).unwrap();
        space.write_u8(BASE, 0).unwrap();
        let again = tempfile::tempfile().unwrap();
        let changed = space.changed_pages(&space.range()).unwrap();
        let may_hold = |page: usize| changed[page] || map.holds(page as u64 * PAGE);
        let second = write(&space, may_hold, &Layers::default(), &again).unwrap();
        assert_eq!(second.held(), 4 * PAGE, "one page more and one zeroed");
        verify(&again, &second, BASE).unwrap();
        let third = mapped(Backend::File { file: again, offset: 0, shared: false });
        for offset in (0..SIZE).step_by(511) {
            assert_eq!(third.read_u8(BASE + offset).unwrap(), space.read_u8(BASE + offset).unwrap());
        }
    }

    #[test]
    fn pages_that_were_dirtied_are_written_again() {
        let (space, file, map) = sample();
        space.write_u8(BASE + CHUNK + 8 * PAGE, 0).unwrap();
        space.write_u8(BASE + 2 * CHUNK + 9 * PAGE, 7).unwrap();
        space.write_u8(BASE + 5, 7).unwrap();
        space.write_u8(BASE + SIZE - 1, 0).unwrap();
        let offsets = [0, CHUNK + 8 * PAGE, CHUNK + 11 * PAGE, 2 * CHUNK + 9 * PAGE, SIZE - PAGE];
        let pages = offsets.map(|offset| offset / PAGE);
        let read = |at: usize, bytes: &mut [u8]| Ok(space.peek(BASE + pages[at] * PAGE, bytes)?);
        let again = rewrite(&map, &file, (&Layers::default(), Otherwise::Zeros), &pages, read).unwrap();
        assert_eq!(again.check(SIZE), Ok(()));
        assert_eq!(again.iter().collect::<Vec<_>>(), [0, 512 + 7, 1024 + 9]);
        verify(&file, &again, BASE).unwrap();
        assert!(verify(&file, &map, BASE).is_err());
        let restored = mapped(Backend::File { file, offset: 0, shared: false });
        for offset in (0..SIZE).step_by(511) {
            assert_eq!(restored.read_u8(BASE + offset).unwrap(), space.read_u8(BASE + offset).unwrap());
        }
    }

    #[test]
    fn on_top_of_another_only_what_differs_is_written() {
        let (space, file, map) = sample();
        let base = PageFile { name: "ram".to_owned(), file, map, start: BASE, frames: None };
        let below = Layers::new(vec![Arc::new(base)]);
        space.write_u8(BASE, 0).unwrap();
        // Written, and what it was before.
        space.write_u8(BASE + CHUNK + 7 * PAGE + 5, (CHUNK + 7 * PAGE + 5) as u8 | 1).unwrap();
        space.write_u8(BASE + 2 * CHUNK + PAGE, 5).unwrap();
        let file = tempfile::tempfile().unwrap();
        let map = write(&space, |_| true, &below, &file).unwrap();
        assert_eq!(map.iter().collect::<Vec<_>>(), [0, 1025], "a page that is zeros now, and a new one");
        verify(&file, &map, BASE).unwrap();
        // Back to what it was, and another.
        space.write_u8(BASE, 1).unwrap();
        space.write_u8(BASE + CHUNK, 7).unwrap();
        let pages = [0, 512];
        let read = |at: usize, bytes: &mut [u8]| Ok(space.peek(BASE + pages[at] * PAGE, bytes)?);
        let map = rewrite(&map, &file, (&below, Otherwise::Zeros), &pages, read).unwrap();
        assert_eq!(map.iter().collect::<Vec<_>>(), [512, 1025]);
        verify(&file, &map, BASE).unwrap();
        let top = PageFile { name: "ram".to_owned(), file, map, start: BASE, frames: None };
        let both = Layers::new(vec![below.files()[0].clone(), Arc::new(top)]);
        let mut all = PageSet::default();
        (0..CHUNK_PAGES).for_each(|page| all.insert(page));
        for chunk in 0..3 {
            let (mut found, mut expected) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
            both.fill(chunk, &all, &mut found).unwrap();
            space.peek(BASE + chunk as u64 * CHUNK, &mut expected).unwrap();
            assert!(found == expected, "chunk {chunk}");
        }
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let (_, file, map) = sample();
        for offset in [0, PAGE, CHUNK - 1, CHUNK + 8 * PAGE + 1, 2 * CHUNK + 77, SIZE - 1] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
            let refused = verify(&file, &map, BASE).unwrap_err();
            let chunk = BASE + offset / CHUNK * CHUNK;
            assert!(matches!(refused, Reason::Pages { at } if at == chunk), "{offset:#x}: {refused}");
            file.write_all_at(&byte, offset).unwrap();
            verify(&file, &map, BASE).unwrap();
        }
        file.set_len(SIZE - PAGE).unwrap();
        assert!(verify(&file, &map, BASE).is_err());
    }
}
