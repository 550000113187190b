//! Host system calls that the standard library does not offer: positioned
//! vectored I/O straight to and from guest memory, holes in files, random bytes.
//!
//! One `preadv` moves a whole request, however many segments it has; the loop of
//! seek and read that safe code could do costs two calls a segment.
#![allow(
    unsafe_code,
    reason = "system calls on guest memory: iovecs are made from VolatileSlices, which outlive the call"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// Most iovecs a system call takes.
const IOV_MAX: usize = 1024;

/// Reads from `file` at `offset` into `slices`, in order. Fewer bytes than they
/// hold mean the end of the file. Bytes read are marked dirty after they arrived.
pub(super) fn read_at<B: BitmapSlice>(
    file: &File,
    slices: &[VolatileSlice<B>],
    offset: u64,
) -> io::Result<u64> {
    transfer(slices, offset, |rest, offset| {
        let guards: Vec<_> = rest.iter().map(|slice| slice.ptr_guard_mut()).collect();
        let iovecs: Vec<libc::iovec> = guards
            .iter()
            .map(|guard| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: guard.len() })
            .collect();
        // SAFETY: `iovecs` has the length given. Each entry is a VolatileSlice,
        // which is valid for writes of its length while its guard lives, which is
        // until after the call. The kernel writes as another hart would, and
        // nobody holds references to guest memory.
        let count =
            unsafe { libc::preadv(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as libc::c_int, offset) };
        let result = u64::try_from(count).map_err(|_| io::Error::last_os_error());
        // After an error, any of the bytes may have changed.
        mark_dirty(rest, *result.as_ref().unwrap_or(&u64::MAX));
        result
    })
}

/// Writes `slices` to `file` at `offset`, in order and whole.
pub(super) fn write_at<B: BitmapSlice>(
    file: &File,
    slices: &[VolatileSlice<B>],
    offset: u64,
) -> io::Result<()> {
    let written = transfer(slices, offset, |rest, offset| {
        let guards: Vec<_> = rest.iter().map(|slice| slice.ptr_guard()).collect();
        let iovecs: Vec<libc::iovec> = guards
            .iter()
            .map(|guard| libc::iovec { iov_base: guard.as_ptr().cast_mut().cast(), iov_len: guard.len() })
            .collect();
        // SAFETY: as in `read_at`; the kernel only reads through the iovecs.
        let count =
            unsafe { libc::pwritev(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as libc::c_int, offset) };
        u64::try_from(count).map_err(|_| io::Error::last_os_error())
    })?;
    let asked: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
    if written == asked { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Repeats `call` on what is left of `slices` until all is moved, a call moves
/// nothing, or one fails; says how much was moved.
fn transfer<B: BitmapSlice>(
    slices: &[VolatileSlice<B>],
    offset: u64,
    mut call: impl FnMut(&[VolatileSlice<B>], libc::off_t) -> io::Result<u64>,
) -> io::Result<u64> {
    let mut rest = slices.to_vec();
    let mut moved = 0;
    while !rest.is_empty() {
        let at = offset
            .checked_add(moved)
            .and_then(|at| libc::off_t::try_from(at).ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        match call(&rest[..rest.len().min(IOV_MAX)], at) {
            Ok(0) => break,
            Ok(count) => {
                moved += count;
                drop_front(&mut rest, count as usize);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

fn drop_front<B: BitmapSlice>(slices: &mut Vec<VolatileSlice<B>>, count: usize) {
    let mut left = count;
    let whole = slices.iter().take_while(|slice| {
        let fits = slice.len() <= left;
        left -= if fits { slice.len() } else { 0 };
        fits
    });
    let whole = whole.count();
    slices.drain(..whole);
    if let Some(first) = slices.first_mut()
        && let Ok(cut) = first.offset(left)
    {
        *first = cut;
    }
}

fn mark_dirty<B: BitmapSlice>(slices: &[VolatileSlice<B>], count: u64) {
    let mut left = count;
    for slice in slices {
        let len = left.min(slice.len() as u64);
        if len != 0 {
            slice.bitmap().mark_dirty(0, len as usize);
        }
        left -= len;
    }
}

/// Frees the blocks of a range of `file`, which then reads as zeroes.
pub(super) fn punch_hole(file: &File, offset: u64, len: u64) -> io::Result<()> {
    fallocate(file, libc::FALLOC_FL_PUNCH_HOLE, offset, len)
}

/// Makes a range of `file` read as zeroes, keeping its blocks.
pub(super) fn zero_range(file: &File, offset: u64, len: u64) -> io::Result<()> {
    fallocate(file, libc::FALLOC_FL_ZERO_RANGE, offset, len)
}

fn fallocate(file: &File, mode: libc::c_int, offset: u64, len: u64) -> io::Result<()> {
    let too_big = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let (offset, len) =
        (libc::off_t::try_from(offset).map_err(too_big)?, libc::off_t::try_from(len).map_err(too_big)?);
    // SAFETY: no pointers.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), mode | libc::FALLOC_FL_KEEP_SIZE, offset, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fills `buf` with bytes from the host's random number generator.
pub(super) fn random(buf: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        let rest = &mut buf[done..];
        // SAFETY: `rest` is valid for writes of its length.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => done += count,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use vm_memory::bitmap::Bitmap;
    use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

    type Memory = GuestMemoryMmap<vm_memory::bitmap::AtomicBitmap>;

    fn memory() -> Memory {
        Memory::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap()
    }

    #[test]
    fn vectored_transfer_moves_every_byte_past_the_iovec_limit() {
        let mem = memory();
        let data: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        // 2500 one-byte slices, every other byte of guest memory.
        let slices: Vec<_> = (0..2500)
            .map(|i| {
                mem.get_slices(GuestAddress(2 * i), 1, Permissions::Write).unwrap().next().unwrap().unwrap()
            })
            .collect();
        assert_eq!(read_at(&file, &slices, 1000).unwrap(), 2500);
        for i in 0..2500 {
            let pair: [u8; 2] = mem.read_obj(GuestAddress(2 * i)).unwrap();
            assert_eq!(pair, [data[1000 + i as usize], 0]);
        }
        let mut copy = tempfile::tempfile().unwrap();
        write_at(&copy, &slices, 0).unwrap();
        let mut written = Vec::new();
        copy.read_to_end(&mut written).unwrap();
        assert_eq!(written, data[1000..3500]);
        assert_eq!(read_at(&file, &slices, 4900).unwrap(), 100, "the file ends");
    }

    #[test]
    fn only_what_was_read_is_dirty() {
        let mem = memory();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 0x1800]).unwrap();
        let slices: Vec<_> = [0x2000, 0x8000, 0xa000]
            .map(|gpa| {
                mem.get_slices(GuestAddress(gpa), 0x1000, Permissions::Write)
                    .unwrap()
                    .next()
                    .unwrap()
                    .unwrap()
            })
            .to_vec();
        assert_eq!(read_at(&file, &slices, 0).unwrap(), 0x1800);
        let dirty: Vec<bool> = slices.iter().map(|slice| slice.bitmap().dirty_at(0)).collect();
        assert_eq!(dirty, [true, true, false]);
        assert!(read_at(&file, &slices, u64::MAX).is_err());
    }
}
