//! The memory that code runs from: one memfd, mapped once, read and execute only.
//!
//! ```text
//!   pwrite ──► memfd ◄── mmap(PROT_READ | PROT_EXEC, MAP_SHARED) ◄── harts fetch
//! ```
//!
//! x86-64 fetches what was stored last, whichever mapping it was stored through. Code is written where
//! nobody has been since the hole was punched, and punching interrupts every core that had the pages
//! mapped, so none has stale instructions of the place in flight. A host with caches that are not
//! coherent would have to say more here.
//!
//! Over a part of it may lie the pages of an image, which other processes have mapped too, and behind them the
//! words of this process that its code reads: those are pages of their own, writable and not executable.
//!
//! **Invariant.** No mapping of the memory is writable, ever: code is written through the file. The
//! file's size is sealed; who frees a range punches a hole in it. Pages of an image nobody can write to at all.
#![allow(unsafe_code, reason = "maps the code, and unmaps it when nobody can run it any more")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::huge::HUGE;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::{Errno, pread, pwrite};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

const PAGE: usize = 4096;
/// A place in the address space, and no memory.
const NOWHERE: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// See the module.
pub struct Arena {
    file: OwnedFd,
    /// The addresses that were taken: so many more that a huge page of the file can be one of the mapping.
    whole: usize,
    base: usize,
    len: usize,
}

impl Arena {
    /// `len` bytes, a multiple of the page size, none of them resident.
    pub fn new(len: usize) -> io::Result<Self> {
        let file = create()?;
        ftruncate(&file, len as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        // SAFETY: a new mapping at a place of the kernel's choice, and one over it that lies inside; they alias no
        // Rust object, and nothing here makes references into them.
        let (whole, base) = unsafe {
            let whole = mmap_anonymous(ptr::null_mut(), len + HUGE, ProtFlags::empty(), NOWHERE)?;
            let base = ptr::with_exposed_provenance_mut(whole.expose_provenance().next_multiple_of(HUGE));
            (
                whole,
                mmap(
                    base,
                    len,
                    ProtFlags::READ | ProtFlags::EXEC,
                    MapFlags::SHARED | MapFlags::FIXED,
                    &file,
                    0,
                )?,
            )
        };
        Ok(Self { file, whole: whole.addr(), base: base.addr(), len })
    }

    /// Host address of byte `offset`.
    pub fn address(&self, offset: u64) -> u64 {
        self.base as u64 + offset
    }

    /// Offset of a host address, if it lies inside.
    pub fn offset(&self, address: u64) -> Option<u64> {
        let offset = address.wrapping_sub(self.base as u64);
        (offset < self.len as u64).then_some(offset)
    }

    /// Writes code. The caller owns the range.
    pub fn write(&self, offset: u64, code: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < code.len() {
            match pwrite(&self.file, &code[done..], offset + done as u64) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Reads code back.
    pub fn read(&self, offset: u64, code: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < code.len() {
            match pread(&self.file, &mut code[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Bytes the host holds for it, mapped or not.
    pub fn resident(&self) -> u64 {
        const BLOCK: u64 = 512;
        fstat(&self.file).map_or(0, |stat| stat.st_blocks.cast_unsigned() * BLOCK)
    }

    /// Has the host gather a range, which holds code that runs, into huge pages.
    pub fn collapse(&self, offset: u64, len: usize) -> io::Result<()> {
        let at = ptr::with_exposed_provenance_mut(self.base + offset as usize);
        // SAFETY: the range is inside the mapping, whose bytes stay what they are.
        match unsafe { libc::madvise(at, len, libc::MADV_COLLAPSE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Gives the memory of a range back to the host; it reads as zeroes.
    pub fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)?)
    }
}

/// Words of a process that adopted code reads, in the arena's range: readable and writable, not executable.
#[derive(Clone, Copy)]
pub struct Words {
    base: usize,
    count: usize,
}

impl Words {
    /// Sets a word; code that is published later sees it.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn set(self, index: usize, value: u64) {
        assert!(index < self.count, "word {index} of {}", self.count);
        // SAFETY: within the mapping made by `Arena::words`, which is aligned, lives as long as the arena, and
        // is reached as atomic words by everybody in Rust; generated code only loads from it.
        unsafe {
            (*ptr::with_exposed_provenance::<AtomicU64>(self.base + index * 8))
                .store(value, Ordering::Release)
        }
    }
}

impl Arena {
    /// Turns the range from `offset` on into `count` words, all 0. Nothing else uses the range.
    pub fn words(&self, offset: u64, count: usize) -> io::Result<Words> {
        let len = (count * 8).next_multiple_of(PAGE);
        if !offset.is_multiple_of(PAGE as u64) || offset + len as u64 > self.len as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let at = self.base + offset as usize;
        // SAFETY: replaces pages of the arena's own mapping, of which no code has been given out.
        let base = unsafe {
            mmap_anonymous(
                ptr::with_exposed_provenance_mut(at),
                len.max(PAGE),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED,
            )?
        };
        Ok(Words { base: base.expose_provenance(), count })
    }
}

impl Arena {
    /// Lays `len` bytes from an offset of `file` over the range from `offset` on: they can be read and executed.
    /// Nothing else uses the range. All are multiples of the page size; the file is open for reading alone.
    pub fn overlay(&self, offset: u64, (file, from): (BorrowedFd<'_>, u64), len: usize) -> io::Result<()> {
        let page = PAGE as u64;
        let inside = offset.checked_add(len as u64).is_some_and(|end| end <= self.len as u64);
        if !offset.is_multiple_of(page) || !from.is_multiple_of(page) || !inside {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let at = ptr::with_exposed_provenance_mut(self.base + offset as usize);
        let (protection, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: replaces pages of the arena's own mapping, of which no code has been given out.
        unsafe { mmap(at, len, protection, flags, file, from)? };
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: `whole` and `len` are those of the mappings made in `new`, unmapped only here. Whoever
        // runs code in it holds a `Reader`, and with it the cache that owns this.
        // A refusal would leave the mapping in place, which harms nobody.
        let _ = unsafe { munmap(ptr::with_exposed_provenance_mut(self.whole), self.len + HUGE) };
    }
}

fn create() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // A file that cannot be executed as a program (mapping it is another matter); kernels before 6.3
    // do not know the flag.
    memfd_create("translations", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|e| if e == Errno::INVAL { memfd_create("translations", flags) } else { Err(e) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn what_is_written_is_read_and_punched_out() {
        let arena = Arena::new(1 << 20).unwrap();
        arena.write(4096, &[0xb8; 100]).unwrap();
        let mut code = [0; 100];
        arena.read(4096, &mut code).unwrap();
        assert_eq!((code, arena.resident()), ([0xb8; 100], 4096));
        arena.punch(4096, 4096).unwrap();
        arena.read(4096, &mut code).unwrap();
        assert_eq!((code, arena.resident()), ([0; 100], 0));
        assert!(arena.write(1 << 20, &[0]).is_err(), "the size is sealed");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn the_mapping_is_not_writable() {
        let arena = Arena::new(1 << 20).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let start = format!("{:x}-", arena.address(0));
        let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
        assert_eq!(line.split(' ').nth(1), Some("r-xs"), "{line}");
        let executable =
            |line: &str| line.split(' ').nth(1).is_some_and(|p| p.contains('w') && p.contains('x'));
        assert!(!maps.lines().any(executable));
    }
}
