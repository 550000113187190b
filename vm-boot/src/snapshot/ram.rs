//! The files of pages, each page at its own offset: `ram` is guest memory, its zeros left out as holes;
//! `disk0` and so on are what was written to disks that leave their images alone.
//!
//! Writing and checking share the work out by chunks to a few threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use parking_lot::Mutex;
use rustix::fs::{SeekFrom, seek};
use vm_devices::virtio::Disk;
use vm_devices::virtio::block::SECTOR;
use vm_devices::virtio::block::overlay::{CLUSTER, Clusters};
use vm_mmu::{AddressSpace, PAGE};

use super::error::{Reason, SaveError};
use super::pages::{CHUNK, CHUNK_PAGES, Chunk, PageMap, PageSet};

/// More threads than this do not make a disk faster.
const MOST_THREADS: usize = 4;
const _: () = assert!(CLUSTER == PAGE, "a cluster of a disk is a page of its file");
static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// Writes all memory that is not zeros to `file`. `base` is the map of the file that memory was restored
/// from, if it was. What changes meanwhile has to be written again.
pub fn write(memory: &AddressSpace, base: Option<&PageMap>, file: &File) -> Result<PageMap, SaveError> {
    let range = memory.range();
    let size = range.end - range.start;
    let failed = |source| SaveError::Host { action: "write", path: "ram".into(), source };
    file.set_len(size).map_err(failed)?;
    let changed = memory.changed_pages(&range)?;
    let may_hold = |page: usize| changed[page] || base.is_some_and(|base| base.holds(page as u64 * PAGE));
    let chunks = each_chunk::<_, SaveError>(size, |index, buf| {
        let first = index * CHUNK_PAGES;
        let pages = buf.len() / PAGE as usize;
        let mut held = PageSet::default();
        for page in (0..pages).filter(|&page| may_hold(first + page)) {
            let bytes = &mut buf[page * PAGE as usize..][..PAGE as usize];
            memory.peek(range.start + (first + page) as u64 * PAGE, bytes)?;
            if *bytes != ZEROS {
                held.insert(page);
            }
        }
        put(index, &held, buf, file).map_err(failed)
    })?;
    Ok(PageMap { size, chunks })
}

/// Writes some pages of memory again, by number and ascending; `read` gives the bytes of the one at a place in
/// that list. Gives the map of the file from now on.
pub fn rewrite(
    map: &PageMap,
    file: &File,
    pages: &[u64],
    read: impl Fn(usize, &mut [u8]) -> Result<(), SaveError> + Sync,
) -> Result<PageMap, SaveError> {
    let failed = |source| SaveError::Host { action: "write", path: "ram".into(), source };
    let first_of = |index: usize| pages.partition_point(|&page| page < (index * CHUNK_PAGES) as u64);
    let chunks = each_chunk::<_, SaveError>(map.size, |index, buf| {
        let before = map.chunk(index as u64);
        let listed = first_of(index)..first_of(index + 1);
        if listed.is_empty() {
            return Ok(before.cloned());
        }
        let mut held = before.map_or(PageSet::default(), |chunk| chunk.pages);
        for (page, count) in held.runs() {
            let bytes = &mut buf[page * PAGE as usize..][..count * PAGE as usize];
            file.read_exact_at(bytes, (index * CHUNK_PAGES + page) as u64 * PAGE).map_err(failed)?;
        }
        for at in listed {
            let page = (pages[at] % CHUNK_PAGES as u64) as usize;
            let bytes = &mut buf[page * PAGE as usize..][..PAGE as usize];
            read(at, bytes)?;
            match *bytes == ZEROS {
                true if !held.contains(page) => continue,
                true => held.remove(page),
                false => held.insert(page),
            }
            file.write_all_at(bytes, pages[at] * PAGE).map_err(failed)?;
        }
        let chunk = Chunk { index: index as u32, pages: held, digest: digest(&held, buf) };
        Ok((held.count() > 0).then_some(chunk))
    })?;
    Ok(PageMap { size: map.size, chunks })
}

/// Writes what a disk has that its image has not to `file`. Nothing may write to it meanwhile.
pub fn write_disk(disk: &Disk, kept: &Clusters, file: &File) -> Result<PageMap, SaveError> {
    let failed = |source| SaveError::Host { action: "write", path: "disk".into(), source };
    let size = (disk.sectors() * SECTOR).next_multiple_of(PAGE);
    file.set_len(size).map_err(failed)?;
    let chunks = each_chunk::<_, SaveError>(size, |index, buf| {
        let first = index * CHUNK_PAGES;
        let mut held = PageSet::default();
        let pages = (0..buf.len() / PAGE as usize).filter(|&page| kept.contains((first + page) as u64));
        for page in pages {
            let bytes = &mut buf[page * PAGE as usize..][..PAGE as usize];
            disk.read_cluster((first + page) as u64, bytes).map_err(failed)?;
            held.insert(page);
        }
        put(index, &held, buf, file).map_err(failed)
    })?;
    Ok(PageMap { size, chunks })
}

/// Writes the pages of a chunk to their places; gives the chunk, unless it has none.
fn put(index: usize, held: &PageSet, buf: &[u8], file: &File) -> io::Result<Option<Chunk>> {
    if held.count() == 0 {
        return Ok(None);
    }
    for (page, bytes) in runs(held, buf) {
        file.write_all_at(bytes, (index * CHUNK_PAGES + page) as u64 * PAGE)?;
    }
    Ok(Some(Chunk { index: index as u32, pages: *held, digest: digest(held, buf) }))
}

/// Checks that `file` holds what `map` says, and nothing else. `start` is the address of its first byte.
pub fn verify(file: &File, map: &PageMap, start: u64) -> Result<(), Reason> {
    each_chunk(map.size, |index, buf| {
        let offset = index as u64 * CHUNK;
        let held = map.chunk(index as u64);
        // A file that is all hole here needs no look.
        if held.is_none() && next_data(file, offset)?.is_none_or(|at| at >= offset + buf.len() as u64) {
            return Ok(None::<()>);
        }
        file.read_exact_at(buf, offset)?;
        let pages = held.map_or(PageSet::default(), |chunk| chunk.pages);
        let others = buf.chunks_exact(PAGE as usize).enumerate().filter(|&(page, _)| !pages.contains(page));
        let clean = others.into_iter().all(|(_, bytes)| *bytes == ZEROS);
        if !clean || held.is_some_and(|chunk| chunk.digest != digest(&pages, buf)) {
            return Err(Reason::Pages { at: start + offset });
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

/// Calls `act` for each chunk of `size` bytes with a buffer of its length, on several threads; gives what
/// it gave, in order of the chunks, or the first error.
fn each_chunk<T: Send, E: Send>(
    size: u64,
    act: impl Fn(usize, &mut [u8]) -> Result<Option<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let count = size.div_ceil(CHUNK) as usize;
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Vec::new(), None));
    let work = || {
        let mut buf = vec![0; CHUNK as usize];
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= count || found.lock().1.is_some() {
                return;
            }
            let len = (size - index as u64 * CHUNK).min(CHUNK) as usize;
            let result = act(index, &mut buf[..len]);
            let mut found = found.lock();
            match result {
                Ok(None) => {}
                Ok(Some(value)) => found.0.push((index, value)),
                Err(error) => found.1 = found.1.take().or(Some(error)),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
    thread::scope(|scope| {
        // This thread works too, so one that the host refuses is not missed.
        for _ in 1..threads.min(count) {
            let _ = thread::Builder::new().name("snapshot".into()).spawn_scoped(scope, work);
        }
        work();
    });
    match found.into_inner() {
        (_, Some(error)) => Err(error),
        (mut values, None) => {
            values.sort_by_key(|&(index, _)| index);
            Ok(values.into_iter().map(|(_, value)| value).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use vm_mmu::{Backend, Perm};

    use super::*;

    const BASE: u64 = 0x8000_0000;
    /// Not a whole number of chunks.
    const SIZE: u64 = 3 * CHUNK + 5 * PAGE;

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
        let map = write(&space, None, &file).unwrap();
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
        let second = write(&space, Some(&map), &again).unwrap();
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
        let again = rewrite(&map, &file, &pages, read).unwrap();
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
