//! Host addresses for the whole guest-physical range, taken once and given back when nobody holds
//! them any more.
//!
//! The host base is congruent to the guest base modulo 2 MiB, so that huge host pages line up with
//! the guest's own.

#![allow(unsafe_code, reason = "mmap, madvise and access to the memory they give")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use crate::{AtomicWord, PAGE, Word, host};

/// Alignment shared by host and guest base.
const ALIGN: u64 = 2 << 20;

/// The reserved host range. All offsets into it are checked here.
#[derive(Debug)]
pub(crate) struct Reservation {
    range: Range<u64>,
    /// Host address of `range.start`.
    base: u64,
    /// What `mmap` gave, with room to align.
    raw: (u64, usize),
}

impl Reservation {
    pub fn new(range: Range<u64>) -> io::Result<Reservation> {
        let len = usize::try_from((range.end - range.start).saturating_add(ALIGN))
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice disturbs nothing.
        let raw = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Exposed: accesses are made from integers (gpa + offset, va + addend).
        let raw = raw.expose_provenance() as u64;
        let base = raw + (range.start.wrapping_sub(raw) & (ALIGN - 1));
        Ok(Reservation { range, base, raw: (raw, len) })
    }

    #[inline(always)]
    pub fn range(&self) -> Range<u64> {
        self.range.start..self.range.end
    }

    /// Host address minus guest-physical address.
    #[inline(always)]
    pub fn offset(&self) -> u64 {
        self.base.wrapping_sub(self.range.start)
    }

    /// Host address and length of a piece.
    ///
    /// # Panics
    /// If it is not inside: callers check first, and memory of others must never be touched.
    #[inline(always)]
    fn piece(&self, gpa: u64, len: u64) -> u64 {
        let inside = gpa >= self.range.start && gpa <= self.range.end && len <= self.range.end - gpa;
        assert!(inside, "guest range {gpa:#x}+{len:#x} is outside of the reservation");
        gpa.wrapping_add(self.offset())
    }

    /// Puts zeroed memory at `range`, in place of whatever is there. Readable and writable.
    pub fn put_zeros(&self, range: &Range<u64>) -> io::Result<()> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        self.put(range, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    }

    /// Puts `file` from `offset` at `range`. A shared file that is `read_only` is mapped so.
    pub fn put_file(
        &self,
        range: &Range<u64>,
        file: &File,
        offset: u64,
        shared: bool,
        read_only: bool,
    ) -> io::Result<()> {
        let prot = if read_only { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE };
        let kind = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.put(range, prot, kind | libc::MAP_NORESERVE, file.as_raw_fd(), offset)
    }

    fn put(&self, range: &Range<u64>, prot: i32, flags: i32, fd: i32, offset: i64) -> io::Result<()> {
        let (host, len) = self.host_range(range);
        // SAFETY: MAP_FIXED replaces only addresses inside our own reservation (`piece` checked it).
        // Nothing but atomics, single instructions and copies ever refers to them, for which any new
        // content is as valid as the old. The kernel replaces a mapping in one step as seen by
        // accesses of other threads.
        let got = unsafe { libc::mmap(host, len, prot, flags | libc::MAP_FIXED, fd, offset) };
        if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// `madvise` on `range`.
    pub fn advise(&self, range: &Range<u64>, advice: i32) -> io::Result<()> {
        let (host, len) = self.host_range(range);
        // SAFETY: inside our reservation. No advice used here unmaps; contents may become zeros or
        // the file's, which is valid for every way this memory is accessed.
        let done = unsafe { libc::madvise(host, len, advice) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Bytes of `range` that are in host memory now (for a file: in the host's page cache).
    pub fn resident(&self, range: &Range<u64>) -> io::Result<u64> {
        const CHUNK: u64 = 64 << 20;
        let mut seen = vec![0u8; (CHUNK / PAGE) as usize];
        let (mut at, mut pages) = (range.start, 0);
        while at < range.end {
            let end = range.end.min(at + CHUNK);
            let (host, len) = self.host_range(&(at..end));
            // SAFETY: `seen` has a byte for each page of the chunk.
            if unsafe { libc::mincore(host, len, seen.as_mut_ptr()) } != 0 {
                return Err(io::Error::last_os_error());
            }
            pages +=
                seen[..((end - at) / PAGE) as usize].iter().filter(|&&page| page & 1 != 0).count() as u64;
            at = end;
        }
        Ok(pages * PAGE)
    }

    /// Where a piece begins on the host.
    pub fn host(&self, range: &Range<u64>) -> *mut u8 {
        self.host_range(range).0.cast()
    }

    fn host_range(&self, range: &Range<u64>) -> (*mut libc::c_void, usize) {
        let len = range.end - range.start;
        let host = self.piece(range.start, len);
        (ptr::with_exposed_provenance_mut(host as usize), len as usize)
    }

    /// Copies out. The pages must be mapped; else the host raises a signal.
    #[inline(always)]
    pub fn copy_out(&self, gpa: u64, buf: &mut [u8]) {
        let host = self.piece(gpa, buf.len() as u64);
        // SAFETY: inside the reservation, in pages that are or were mapped (see the parent module).
        unsafe { host::copy_out(host, buf) }
    }

    /// Copies in, likewise.
    #[inline(always)]
    pub fn copy_in(&self, gpa: u64, buf: &[u8]) {
        let host = self.piece(gpa, buf.len() as u64);
        // SAFETY: as for `copy_out`.
        unsafe { host::copy_in(host, buf) }
    }

    /// Loads a word, at any alignment.
    #[inline(always)]
    pub fn load<T: Word>(&self, gpa: u64) -> T {
        let host = self.piece(gpa, T::SIZE);
        // SAFETY: as for `copy_out`.
        unsafe { T::load(host, 0) }
    }

    /// Stores a word, at any alignment.
    #[inline(always)]
    pub fn store<T: Word>(&self, gpa: u64, value: T) {
        let host = self.piece(gpa, T::SIZE);
        // SAFETY: as for `copy_out`.
        unsafe { T::store(host, 0, value) }
    }

    /// The atomic at an aligned address.
    #[inline(always)]
    pub fn atomic<T: AtomicWord>(&self, gpa: u64) -> &T {
        let host = self.piece(gpa, T::SIZE);
        assert!(host.is_multiple_of(T::SIZE), "an atomic at {gpa:#x} is misaligned");
        // SAFETY: as for `copy_out`, aligned, and mapped for as long as `self` lives.
        unsafe { T::at(host) }
    }

    /// 128-bit compare-and-swap at an aligned address.
    pub fn cas_pair(&self, gpa: u64, old: u128, new: u128) -> u128 {
        let host = self.piece(gpa, 16);
        assert!(host.is_multiple_of(16), "a pair at {gpa:#x} is misaligned");
        // SAFETY: as for `copy_out`, and aligned; `AddressSpace::new` checked the CPU.
        unsafe { host::cas_pair(host, old, new) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` got. Whoever uses an address inside holds an `Arc` of this.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(self.raw.0 as usize), self.raw.1) };
    }
}

/// Whether a file is open for writing.
pub(super) fn open_for_writing(file: &File) -> io::Result<bool> {
    // SAFETY: F_GETFL only reads the flags of a descriptor that `file` keeps open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } {
        -1 => Err(io::Error::last_os_error()),
        flags => Ok(flags & libc::O_ACCMODE != libc::O_RDONLY),
    }
}
