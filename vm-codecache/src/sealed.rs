//! Bytes that nobody can change any more: a memfd with every seal, mapped for reading.
//!
//! ```text
//!  file ──copied──► memfd ──sealed──► mapped: read  ─► checked ─┐ the same pages
//!                     │                                         ▼
//!                     └─ opened by other processes      mapped: read, execute
//!
//!  0                    2 MiB
//!  │ hole    │ page 0 │ page 1, page 2, …      in huge pages of the host, as far as they go
//! ```
//! What an image has behind its first page is code, megabytes of it: more small pages than the host's TLB has
//! entries.
//!
//! **Invariant.** From the seals on the bytes and their number are what they are, whoever else has the file:
//! what was checked is what is used, also if somebody else made it. The file is open for reading alone, so no
//! mapping of it can be made writable.
#![allow(unsafe_code, reason = "maps a file that nobody can change, as bytes")]

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::fs::{
    FileType, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate,
    memfd_create, open,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::huge::HUGE;

/// What makes a file one that cannot change.
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// See the module.
#[derive(Debug)]
pub struct Sealed {
    file: OwnedFd,
    base: usize,
    len: usize,
}

impl Sealed {
    /// A copy of what `from` gives, of at most `most` bytes.
    pub fn copy(from: File, most: u64) -> io::Result<Sealed> {
        let len = usize::try_from(from.metadata()?.len().min(most)).map_err(io::Error::other)?;
        Sealed::filled(len, from.take(most))
    }

    /// A copy of bytes.
    pub fn of(bytes: &[u8]) -> io::Result<Sealed> {
        Sealed::filled(bytes.len(), bytes)
    }

    /// As many bytes of what `from` gives as there are, `len` at most.
    fn filled(len: usize, from: impl Read) -> io::Result<Sealed> {
        let file = File::from(create()?);
        ftruncate(&file, (FRONT + len) as u64)?;
        let filled = Filling::new(&file, len)?.fill(from)?;
        ftruncate(&file, (FRONT + filled) as u64)?;
        Sealed::seal(file)
    }

    fn seal(file: File) -> io::Result<Sealed> {
        fcntl_add_seals(&file, SEALS)?;
        Sealed::map(open(of_this_process(file.as_fd()), READ, Mode::empty())?)
    }

    /// The file at a path, of this process or another, if it cannot change any more. What is at the path is
    /// looked at before it is opened.
    pub fn open(path: &Path) -> io::Result<Sealed> {
        let there = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if !FileType::from_raw_mode(fstat(&there)?.st_mode).is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        Sealed::map(open(of_this_process(there.as_fd()), READ, Mode::empty())?)
    }

    fn map(file: OwnedFd) -> io::Result<Sealed> {
        if !fcntl_get_seals(&file)?.contains(SEALS) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let len = usize::try_from(fstat(&file)?.st_size).map_err(io::Error::other)?;
        let len = len.checked_sub(FRONT).filter(|&len| len > 0).ok_or(ErrorKind::UnexpectedEof)?;
        let (read, front) = (ProtFlags::READ, FRONT as u64);
        // SAFETY: a new mapping at a place of the kernel's choice, which aliases no Rust object.
        let base = unsafe { mmap(ptr::null_mut(), len, read, MapFlags::SHARED, &file, front)? };
        Ok(Sealed { file, base: base.expose_provenance(), len })
    }

    /// Where processes of the same user can open it, for as long as this is there.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// The pages of a range that begins at one, for `map` to map. `None` if they are not all of the file.
    pub(crate) fn pages(&self, range: &Range<usize>) -> Option<(BorrowedFd<'_>, u64, usize)> {
        let len = range.len().next_multiple_of(PAGE);
        let inside = range.start.is_multiple_of(PAGE) && range.start.checked_add(len)? <= self.len;
        (inside && len > 0).then(|| (self.file.as_fd(), (FRONT + range.start) as u64, len))
    }
}

const PAGE: usize = 4096;
/// Where in the file the bytes begin: their second page begins a huge one.
const FRONT: usize = HUGE - PAGE;
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

fn of_this_process(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes were mapped at `base` for as long as this is there. Nobody can store to them nor
        // cut them off, by this mapping or any other: the seals of the file forbid it and cannot be taken off.
        unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(self.base), self.len) }
    }
}

/// A file's memory before it is sealed, mapped for writing.
struct Filling {
    /// The addresses that were taken: so many more that a huge page of the file can be one of the mapping.
    whole: usize,
    taken: usize,
    /// Where the bytes begin.
    base: usize,
    len: usize,
}

impl Filling {
    /// The `len` bytes of `file` behind its front, with memory for all of them.
    fn new(file: &File, len: usize) -> io::Result<Filling> {
        let (both, taken) = (ProtFlags::READ | ProtFlags::WRITE, FRONT + len + HUGE);
        // SAFETY: a new mapping at a place of the kernel's choice, and one over it that lies inside; they alias no
        // Rust object.
        let (whole, base) = unsafe {
            let nowhere = MapFlags::PRIVATE | MapFlags::NORESERVE;
            let whole = mmap_anonymous(ptr::null_mut(), taken, ProtFlags::empty(), nowhere)?;
            let start = ptr::with_exposed_provenance_mut(whole.expose_provenance().next_multiple_of(HUGE));
            (whole, mmap(start, FRONT + len, both, MapFlags::SHARED | MapFlags::FIXED, file, 0)?)
        };
        let base = base.expose_provenance() + FRONT;
        let filling = Filling { whole: whole.addr(), taken, base, len };
        filling.gather();
        // Or a lack of memory would show when they are written, and as a signal.
        match filling.advise(0..len, libc::MADV_POPULATE_WRITE) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            _ => Ok(filling),
        }
    }

    /// Has huge pages for what is behind the first page, as far as the host gives them. Before there is anything
    /// in them, or it would have to be copied; but the host collapses no range without any page.
    fn gather(&self) {
        for huge in (PAGE..self.len).step_by(HUGE).filter(|huge| huge + HUGE <= self.len) {
            let _ = self
                .advise(huge..huge + PAGE, libc::MADV_POPULATE_WRITE)
                .and_then(|()| self.advise(huge..huge + HUGE, libc::MADV_COLLAPSE));
        }
    }

    /// Tells the host what is wanted of a range of the bytes.
    fn advise(&self, range: Range<usize>, advice: i32) -> io::Result<()> {
        debug_assert!(range.end <= self.len);
        // SAFETY: the range is inside the mapping, whose bytes stay what they are with all that is asked for here.
        match unsafe {
            libc::madvise(ptr::with_exposed_provenance_mut(self.base + range.start), range.len(), advice)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Reads until there is no more, or it is full; how many bytes that were.
    fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        // SAFETY: `len` bytes are mapped at `base`, for writing, of a file that nobody else knows yet.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut::<u8>(self.base), self.len)
        };
        let mut filled = 0;
        while filled < bytes.len() {
            match from.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        // SAFETY: `whole` and `taken` are those of the mappings made in `new`, which nobody borrows any more.
        // A refusal would leave them in place: the file cannot be sealed then, and is not used.
        let _ = unsafe { munmap(ptr::with_exposed_provenance_mut(self.whole), self.taken) };
    }
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are those of the mapping made in `map`, which nobody borrows any more.
        // A refusal would leave the mapping in place, which harms nobody.
        let _ = unsafe { munmap(ptr::with_exposed_provenance_mut(self.base), self.len) };
    }
}

fn create() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    memfd_create("image", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|e| if e == Errno::INVAL { memfd_create("image", flags) } else { Err(e) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn what_is_sealed_is_the_same_for_all_and_for_good() {
        let bytes: Vec<u8> = (0..2 * PAGE + 5).map(|at| at as u8).collect();
        let sealed = Sealed::of(&bytes).unwrap();
        let other = Sealed::open(&sealed.path()).unwrap();
        assert_eq!((&sealed[..], &other[..]), (&bytes[..], &bytes[..]));
        assert_eq!(rustix::io::pwrite(&other.file, &[1], 0).unwrap_err(), Errno::BADF);
        let writable = File::options().write(true).open(sealed.path()).unwrap();
        assert_eq!(rustix::io::pwrite(&writable, &[1], 0).unwrap_err(), Errno::PERM);
        assert_eq!(ftruncate(&writable, 1).unwrap_err(), Errno::PERM);
        assert!(sealed.pages(&(0..2 * PAGE)).is_some());
        assert!(sealed.pages(&(1..PAGE)).is_none(), "not at a page");
        assert!(sealed.pages(&(0..3 * PAGE)).is_none(), "more than there is");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn what_may_change_is_refused() {
        let file = create().unwrap();
        rustix::io::write(&file, b"something").unwrap();
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        assert_eq!(Sealed::open(Path::new(&path)).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert!(Sealed::open(Path::new("/dev/null")).is_err());
        assert!(Sealed::open(Path::new("/proc/self/exe")).is_err(), "a file, but none that can be sealed");
        assert!(Sealed::open(Path::new("/nowhere")).is_err());
    }
}
