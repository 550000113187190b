//! Access by guest-physical address. Every store here is the door: the bytes first, then the
//! [`Tracker`](crate::Tracker).
//!
//! A range is checked as a whole before anything is copied, so an access that fails has done nothing.
//! It may cross from one region into an adjoining one.

use std::io::{self, Read};

use super::{AccessError, AddressSpace, FillError};
use crate::{AtomicWord, Perm, Word};

const READ: u8 = Perm::R.bits();
const READ_WRITE: u8 = Perm::RW.bits();
const WRITE: u8 = READ_WRITE & !READ;
/// Bytes per step of [`AddressSpace::fill_from`].
const STEP: usize = 64 << 10;

impl AddressSpace {
    /// Copies guest memory out.
    #[inline]
    pub fn read(&self, gpa: u64, buf: &mut [u8]) -> Result<(), AccessError> {
        self.require(gpa, buf.len() as u64, READ)?;
        self.reservation.copy_out(gpa, buf);
        Ok(())
    }

    /// Copies into guest memory.
    #[inline]
    pub fn write(&self, gpa: u64, buf: &[u8]) -> Result<(), AccessError> {
        self.require(gpa, buf.len() as u64, WRITE)?;
        self.reservation.copy_in(gpa, buf);
        self.tracker.wrote(gpa, buf.len() as u64);
        Ok(())
    }

    /// Loads a little-endian word, at any alignment; single-copy atomic if aligned.
    #[inline(always)]
    pub fn load<T: Word>(&self, gpa: u64) -> Result<T, AccessError> {
        self.require(gpa, T::SIZE, READ)?;
        Ok(self.reservation.load(gpa))
    }

    /// Stores a little-endian word, likewise.
    #[inline]
    pub fn store<T: Word>(&self, gpa: u64, value: T) -> Result<(), AccessError> {
        self.require(gpa, T::SIZE, WRITE)?;
        self.reservation.store(gpa, value);
        self.tracker.wrote(gpa, T::SIZE);
        Ok(())
    }

    /// Lets `act` work on the atomic at an aligned address, which must permit loads and stores.
    #[inline]
    pub fn atomic<T: AtomicWord, R>(&self, gpa: u64, act: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        aligned(gpa, T::SIZE)?;
        self.require(gpa, T::SIZE, READ_WRITE)?;
        let result = act(self.reservation.atomic(gpa));
        self.tracker.wrote(gpa, T::SIZE);
        Ok(result)
    }

    /// 128-bit compare-and-swap at an address aligned to 16; returns what was there. Low half at the
    /// lower address.
    pub fn cas_pair(&self, gpa: u64, old: u128, new: u128) -> Result<u128, AccessError> {
        aligned(gpa, 16)?;
        self.require(gpa, 16, READ_WRITE)?;
        let found = self.reservation.cas_pair(gpa, old, new);
        self.tracker.wrote(gpa, 16);
        Ok(found)
    }

    /// Reads `len` bytes of `from` into memory at `gpa`, through one small buffer; fewer if the stream
    /// ends before. Returns how many.
    pub fn fill_from(&self, gpa: u64, len: u64, from: &mut impl Read) -> Result<u64, FillError> {
        // All of it has to be there; what is touched is what the stream has bytes for.
        self.check(gpa, len, WRITE)?;
        let mut buf = vec![0; STEP.min(usize::try_from(len).unwrap_or(STEP))];
        let mut done = 0;
        while done < len {
            let want = (len - done).min(STEP as u64) as usize;
            let got = match from.read(&mut buf[..want]) {
                Ok(0) => break,
                Ok(got) => got,
                Err(failure) if failure.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(FillError::Read { gpa: gpa + done, source }),
            };
            self.write(gpa + done, &buf[..got])?;
            done += got as u64;
        }
        Ok(done)
    }
}

fn aligned(gpa: u64, size: u64) -> Result<(), AccessError> {
    if gpa.is_multiple_of(size) { Ok(()) } else { Err(AccessError::Misaligned { gpa, size }) }
}

macro_rules! words {
    ($($read:ident $write:ident $t:ty),*) => {
        impl AddressSpace {$(
            /// Loads a little-endian word, at any alignment.
            #[inline]
            pub fn $read(&self, gpa: u64) -> Result<$t, AccessError> {
                self.load(gpa)
            }

            /// Stores a little-endian word, at any alignment.
            #[inline]
            pub fn $write(&self, gpa: u64, value: $t) -> Result<(), AccessError> {
                self.store(gpa, value)
            }
        )*}
    };
}

words!(read_u8 write_u8 u8, read_u16 write_u16 u16, read_u32 write_u32 u32, read_u64 write_u64 u64);
