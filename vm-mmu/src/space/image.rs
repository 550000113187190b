//! Guest memory as an image of it sees it: which pages can hold anything, and their bytes.
//!
//! Looking here is no touch of a lazy page, and takes no host memory for pages that nobody has touched.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::region::RegionKind;
use super::{AccessError, AddressSpace};
use crate::PAGE;

/// What the kernel says of each host page: eight bytes, of which these bits.
const PAGEMAP: &str = "/proc/self/pagemap";
const ENTRY: u64 = 8;
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// A page of a file, or of memory that is shared.
const OF_FILE: u64 = 1 << 61;

impl AddressSpace {
    /// Whether the bytes of each page of `range` may differ from what it was mapped with: one flag a page. Of
    /// memory that began as zeros, a page without the flag is zeros still; of a file mapped copy-on-write, it is
    /// the file's, also of one that was laid over. Where the host does not tell, all may differ.
    pub fn changed_pages(&self, range: &Range<u64>) -> Result<Vec<bool>, AccessError> {
        let len = range.end.saturating_sub(range.start);
        self.page_span(range.start, len).ok_or(AccessError::Absent { gpa: range.start })?;
        let mut changed = vec![true; len.div_ceil(PAGE) as usize];
        let regions = self.regions.read();
        for region in regions.within(range) {
            let part = range.start.max(region.range.start)..range.end.min(region.range.end);
            let first = ((part.start - range.start) / PAGE) as usize;
            let flags = &mut changed[first..first + ((part.end - part.start) / PAGE) as usize];
            let own = match region.kind {
                RegionKind::FileShared => continue,
                RegionKind::FilePrivate => {
                    |entry: u64| entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0
                }
                _ => |entry: u64| entry & (PRESENT | SWAPPED) != 0,
            };
            if let Err(error) = self.each_entry(&part, |at, entry| flags[at] = own(entry)) {
                tracing::debug!(%error, "{PAGEMAP} does not tell which pages were touched");
                flags.fill(true);
            }
        }
        Ok(changed)
    }

    /// Copies guest memory out, whatever the guest itself may do there.
    pub fn peek(&self, gpa: u64, buf: &mut [u8]) -> Result<(), AccessError> {
        let (first, last) = self.page_span(gpa, buf.len() as u64).ok_or(AccessError::Absent { gpa })?;
        if let Some(page) = (first..=last).find(|&page| !self.pages.mapped(page)) {
            return Err(AccessError::Absent { gpa: self.range().start + page as u64 * PAGE });
        }
        self.reservation.copy_out(gpa, buf);
        Ok(())
    }

    /// Calls `act` with each page of `range`, counted from its start, and the kernel's entry for it.
    fn each_entry(&self, range: &Range<u64>, mut act: impl FnMut(usize, u64)) -> io::Result<()> {
        const CHUNK: u64 = 1 << 16;
        let file = File::open(PAGEMAP)?;
        let mut entries = vec![0; CHUNK as usize];
        let mut page = 0;
        let count = (range.end - range.start) / PAGE;
        let host = range.start.wrapping_add(self.host_offset()) / PAGE;
        while page < count {
            let bytes = &mut entries[..((count - page) * ENTRY).min(CHUNK) as usize];
            file.read_exact_at(bytes, (host + page) * ENTRY)?;
            for entry in bytes.chunks_exact(ENTRY as usize) {
                act(page as usize, entry.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
                page += 1;
            }
        }
        Ok(())
    }
}
