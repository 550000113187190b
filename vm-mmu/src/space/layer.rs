//! Pieces of files laid over memory that is mapped already: a machine's memory made of several files.
//!
//! A piece becomes what its pages were mapped with: no touch of them, and copied on write.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::region::RegionKind;
use super::{AddressSpace, MapError};

impl AddressSpace {
    /// Makes `range` read as `file` from `offset` on, paged in when touched. It must be mapped, not shared with a
    /// file; the file must reach to its end. Takes one or two of the host's mappings, of which a process has some
    /// ten thousands. Kills the code in it.
    pub fn lay_over(&self, range: Range<u64>, file: &File, offset: u64) -> Result<(), MapError> {
        self.check_own(&range)?;
        super::map::check_file(file, offset, range.end - range.start)?;
        let put = self.reservation.put_file(&range, file, offset, false, false);
        put.map_err(MapError::host("map"))?;
        self.tracker.wrote(range.start, range.end - range.start);
        Ok(())
    }

    /// The same by bytes, at once. On an error some of them may be in place.
    pub fn copy_over(&self, range: Range<u64>, file: &File, offset: u64) -> Result<(), MapError> {
        self.check_own(&range)?;
        let mut buf = vec![0; (range.end - range.start).min(1 << 20) as usize];
        let mut at = range.start;
        while at < range.end {
            let bytes = &mut buf[..(range.end - at).min(1 << 20) as usize];
            let read = file.read_exact_at(bytes, offset + (at - range.start));
            read.map_err(MapError::host("read the file of"))?;
            self.fill_over(at, bytes)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// The same with these bytes, whole pages of them.
    pub fn fill_over(&self, gpa: u64, bytes: &[u8]) -> Result<(), MapError> {
        self.check_own(&(gpa..gpa.saturating_add(bytes.len() as u64)))?;
        self.reservation.copy_in(gpa, bytes);
        self.tracker.wrote(gpa, bytes.len() as u64);
        Ok(())
    }

    /// Checks that all of a range is mapped, and that its bytes are nobody else's.
    fn check_own(&self, range: &Range<u64>) -> Result<(), MapError> {
        let regions = self.regions.read();
        self.check_mapped(&regions, range)?;
        match regions.within(range).find(|region| region.kind == RegionKind::FileShared) {
            Some(region) => Err(MapError::Shared { at: region.range.start.max(range.start) }),
            None => Ok(()),
        }
    }
}
