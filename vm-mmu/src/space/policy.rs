//! When host memory comes in, and with whom it is shared: advice on ranges that are mapped.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::{AddressSpace, MapError};
use crate::PAGE;

/// What a thread brings in at a time.
const STEP: u64 = 32 << 20;

/// What pages are brought in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Populate {
    /// To be read: pages of a file come from it, and are shared until they are written to.
    Read,
    /// To be written: each page takes host memory of its own.
    Write,
}

impl AddressSpace {
    /// Brings all of `range` into host memory, on several threads. Is no touch of it. Memory that the host does not
    /// have is an error now.
    pub fn populate(&self, range: &Range<u64>, what: Populate, threads: usize) -> Result<(), MapError> {
        self.check_mapped(&self.regions.read(), range)?;
        let (next, failed) = (AtomicU64::new(range.start), Mutex::new(None));
        let work = || {
            loop {
                let start = next.fetch_add(STEP, Ordering::Relaxed);
                if start >= range.end || failed.lock().is_some() {
                    return;
                }
                if let Err(error) = self.populate_piece(&(start..range.end.min(start + STEP)), what) {
                    *failed.lock() = Some(error);
                }
            }
        };
        thread::scope(|scope| {
            // This thread works too, so one that the host refuses is not missed.
            for _ in 1..threads.min((range.end - range.start).div_ceil(STEP) as usize) {
                let _ = thread::Builder::new().name("populate".into()).spawn_scoped(scope, work);
            }
            work();
        });
        failed.into_inner().map_or(Ok(()), |error| Err(MapError::host("allocate")(error)))
    }

    fn populate_piece(&self, piece: &Range<u64>, what: Populate) -> std::io::Result<()> {
        let advice = match what {
            Populate::Read => libc::MADV_POPULATE_READ,
            Populate::Write => libc::MADV_POPULATE_WRITE,
        };
        match self.reservation.advise(piece, advice) {
            // Hosts before Linux 5.14 know neither. They come in when they are touched, as without this.
            Err(refusal) if refusal.raw_os_error() == Some(libc::EINVAL) => {
                self.reservation.advise(piece, libc::MADV_WILLNEED)
            }
            done => done,
        }
    }

    /// Lets the host keep pages of `range` once that are equal to others (KSM). Whoever shares the host can find out
    /// by timing what another guest's pages hold.
    pub fn merge_equal(&self, range: &Range<u64>) -> Result<(), MapError> {
        self.check_mapped(&self.regions.read(), range)?;
        self.reservation.advise(range, libc::MADV_MERGEABLE).map_err(MapError::host("share equal pages of"))
    }

    /// What of `range` was touched since it was mapped, as far as that is counted (lazy and file regions).
    pub fn touched_in(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let regions = self.regions.read();
        let mut runs: Vec<Range<u64>> = Vec::new();
        for region in regions.within(range).filter(|region| region.counts()) {
            let part = range.start.max(region.range.start)..range.end.min(region.range.end);
            let start = self.range().start;
            for gpa in part.step_by(PAGE as usize) {
                if self.pages.lazy(((gpa - start) / PAGE) as usize) {
                    continue;
                }
                match runs.last_mut() {
                    Some(last) if last.end == gpa => last.end += PAGE,
                    _ => runs.push(gpa..gpa + PAGE),
                }
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::{Backend, Perm};

    const BASE: u64 = 0x8000_0000;
    const SIZE: u64 = 80 << 20;

    fn mapped(backend: Backend) -> AddressSpace {
        let space = AddressSpace::new(BASE..BASE + SIZE).unwrap();
        space.map(BASE..BASE + SIZE, backend, Perm::RWX).unwrap();
        space
    }

    #[test]
    fn what_is_populated_is_resident_and_not_touched() {
        let space = mapped(Backend::Lazy);
        space.write_u8(BASE + 5 * PAGE, 1).unwrap();
        space.populate(&(BASE..BASE + SIZE), Populate::Write, 3).unwrap();
        let info = &space.regions()[0];
        assert_eq!((info.resident, info.touched, info.faults), (SIZE, PAGE, 1));
        let touched = space.touched_in(&(BASE..BASE + SIZE));
        assert_eq!((touched.len(), touched[0].clone()), (1, BASE + 5 * PAGE..BASE + 6 * PAGE));
        assert!(space.populate(&(BASE..BASE + SIZE + PAGE), Populate::Write, 1).is_err());
    }

    #[test]
    fn a_file_that_is_populated_is_shared_until_written_to() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        file.write_all_at(b"text", 7 * PAGE).unwrap();
        let space = mapped(Backend::File { file, offset: 0, shared: false });
        space.populate(&(BASE..BASE + (64 << 10)), Populate::Read, 2).unwrap();
        let changed = space.changed_pages(&(BASE..BASE + SIZE)).unwrap();
        assert!(changed.iter().all(|&own| !own), "copies of pages that nobody wrote to");
        space.write_u8(BASE + 7 * PAGE, b'n').unwrap();
        assert_eq!(space.read_u32(BASE + 7 * PAGE).unwrap().to_le_bytes(), *b"next");
        let changed = space.changed_pages(&(BASE..BASE + SIZE)).unwrap();
        assert_eq!(changed.iter().filter(|&&own| own).count(), 1);
    }

    #[test]
    fn what_is_laid_over_is_read_and_neither_touched_nor_changed() {
        let (lower, upper) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        for (file, byte) in [(&lower, 1), (&upper, 2)] {
            file.write_all_at(&[byte; 40 * PAGE as usize], 0).unwrap();
            file.set_len(SIZE).unwrap();
        }
        let space = mapped(Backend::File { file: lower, offset: 0, shared: false });
        let at = |page: u64| BASE + page * PAGE;
        space.lay_over(at(2)..at(20), &upper, 2 * PAGE).unwrap();
        space.copy_over(at(30)..at(32), &upper, 30 * PAGE).unwrap();
        assert_eq!(space.regions()[0].touched, 0);
        let bytes = [1, 2, 19, 20, 29, 30, 31, 32].map(|page| space.read_u8(at(page) + 9).unwrap());
        assert_eq!(bytes, [1, 2, 2, 1, 1, 2, 2, 1]);
        let changed = space.changed_pages(&(BASE..BASE + SIZE)).unwrap();
        assert!(!changed[2] && !changed[19], "the file's own");
        assert!(space.lay_over(at(0)..BASE + 2 * SIZE, &upper, 0).is_err());
        let short = tempfile::tempfile().unwrap();
        assert!(space.lay_over(at(0)..at(1), &short, 0).is_err());
        assert!(space.copy_over(at(0)..at(1), &short, 0).is_err());
        let shared = mapped(Backend::File { file: upper, offset: 0, shared: true });
        assert!(
            matches!(shared.fill_over(at(1), &[0; 4096]), Err(MapError::Shared { at }) if at == BASE + PAGE)
        );
    }
}
