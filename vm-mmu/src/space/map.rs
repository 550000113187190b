//! Changing the map: all checks first, then the host, then what accesses look at. A failure leaves
//! everything as it was.
//!
//! Who changes the map or permissions while harts run must flush their TLBs afterwards; until then a
//! stale entry reads and writes memory that the guest may no longer have, never that of the host.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::region::{Region, Regions};
use super::{AddressSpace, Backend, MapError, RegionInfo, RegionKind, error, view};
use crate::{PAGE, Perm};

impl AddressSpace {
    /// Puts a region at `range`. An unaligned, overlapping or outside range is an error.
    pub fn map(&self, range: Range<u64>, backend: Backend, perm: Perm) -> Result<(), MapError> {
        self.check_inside(&range)?;
        let mut regions = self.regions.write();
        if let Some(taken) = regions.within(&range).next() {
            let at = taken.range.start.max(range.start);
            return Err(MapError::Overlap { start: range.start, end: range.end, at });
        }
        if let Backend::File { file, offset, .. } = &backend {
            check_file(file, *offset, range.end - range.start)?;
        }
        let region =
            Region::new(range.clone(), &backend, perm).map_err(MapError::host("look at the file of"))?;
        if region.read_only && perm.write {
            return Err(MapError::FileReadOnly { at: range.start });
        }
        let mut next = regions.clone();
        next.insert(region.clone());
        let view = view::build(&self.reservation, &self.tracker, &next)?;
        if let Err(failure) = self.place(&region, &backend) {
            self.retire(&range);
            return Err(failure);
        }
        self.each_page(&range, |page| self.pages.map(page, perm, region.counts()));
        *regions = next;
        *self.view.write() = Arc::new(view);
        Ok(())
    }

    /// Takes away whatever is mapped in `range`; all of it must be. Kills the code in it.
    pub fn unmap(&self, range: Range<u64>) -> Result<(), MapError> {
        let mut regions = self.regions.write();
        self.check_mapped(&regions, &range)?;
        let mut next = regions.clone();
        next.retain_within(&range, |_| false);
        let view = view::build(&self.reservation, &self.tracker, &next)?;
        self.reservation.put_zeros(&range).map_err(MapError::host("unmap"))?;
        self.each_page(&range, |page| self.pages.unmap(page));
        *regions = next;
        *self.view.write() = Arc::new(view);
        drop(regions);
        self.tracker.wrote(range.start, range.end - range.start);
        Ok(())
    }

    /// Changes what the guest may do in `range`; all of it must be mapped.
    pub fn protect(&self, range: Range<u64>, perm: Perm) -> Result<(), MapError> {
        let mut regions = self.regions.write();
        self.check_mapped(&regions, &range)?;
        if perm.write
            && let Some(region) = regions.within(&range).find(|region| region.read_only)
        {
            return Err(MapError::FileReadOnly { at: region.range.start.max(range.start) });
        }
        let mut next = regions.clone();
        next.retain_within(&range, |region| {
            region.perm = perm;
            true
        });
        let view = view::build(&self.reservation, &self.tracker, &next)?;
        self.each_page(&range, |page| self.pages.protect(page, perm));
        *regions = next;
        *self.view.write() = Arc::new(view);
        Ok(())
    }

    /// Brings `range` back to how it was when mapped and gives host memory back: zeros, or the bytes
    /// of a copy-on-write file. A shared file is zeroed. All of `range` must be mapped.
    pub fn clear(&self, range: Range<u64>) -> Result<(), MapError> {
        let regions = self.regions.write();
        self.check_mapped(&regions, &range)?;
        if let Some(region) = regions.within(&range).find(|region| region.read_only) {
            return Err(MapError::FileReadOnly { at: region.range.start.max(range.start) });
        }
        for region in regions.within(&range) {
            let part = range.start.max(region.range.start)..range.end.min(region.range.end);
            if region.counts() {
                self.each_page(&part, |page| self.pages.forget(page));
            }
            self.empty(&part, region.kind)?;
        }
        drop(regions);
        self.tracker.wrote(range.start, range.end - range.start);
        Ok(())
    }

    /// The regions, ascending, with their statistics.
    pub fn regions(&self) -> Vec<RegionInfo> {
        let info = |region: &Region| RegionInfo {
            range: region.range.clone(),
            kind: region.kind,
            perm: region.perm,
            faults: region.faults(),
            touched: self.touched(region),
            // A statistic only: a host that cannot tell says 0.
            resident: self.reservation.resident(&region.range).unwrap_or(0),
        };
        self.regions.read().iter().map(info).collect()
    }

    fn touched(&self, region: &Region) -> u64 {
        if !region.counts() {
            return region.range.end - region.range.start;
        }
        let mut bytes = 0;
        self.each_page(&region.range, |page| bytes += if self.pages.lazy(page) { 0 } else { PAGE });
        bytes
    }

    fn place(&self, region: &Region, backend: &Backend) -> Result<(), MapError> {
        let range = &region.range;
        match backend {
            Backend::File { file, offset, shared } => {
                self.reservation.put_file(range, file, *offset, *shared, region.read_only)
            }
            _ => self.reservation.put_zeros(range),
        }
        .map_err(MapError::host("map"))?;
        match backend {
            Backend::Linear { huge: true } => self.hint(range, libc::MADV_HUGEPAGE),
            // What is touched is counted in base pages.
            Backend::Lazy => self.hint(range, libc::MADV_NOHUGEPAGE),
            Backend::Eager => self.allocate(range)?,
            Backend::Linear { huge: false } | Backend::File { .. } => {}
        }
        Ok(())
    }

    /// Advice that the host may not know: then memory works all the same.
    fn hint(&self, range: &Range<u64>, advice: i32) {
        if let Err(refusal) = self.reservation.advise(range, advice) {
            tracing::debug!(%refusal, advice, start = range.start, end = range.end, "host declines advice");
        }
    }

    fn allocate(&self, range: &Range<u64>) -> Result<(), MapError> {
        match self.reservation.advise(range, libc::MADV_POPULATE_WRITE) {
            // Hosts before Linux 5.14: touch each page. Nobody else can see the region yet.
            Err(refusal) if refusal.raw_os_error() == Some(libc::EINVAL) => {
                for page in range.clone().step_by(PAGE as usize) {
                    self.reservation.store(page, 0u8);
                }
                Ok(())
            }
            done => done.map_err(MapError::host("allocate")),
        }
    }

    fn empty(&self, range: &Range<u64>, kind: RegionKind) -> Result<(), MapError> {
        let advised = match kind {
            RegionKind::FilePrivate => {
                return self.reservation.advise(range, libc::MADV_DONTNEED).map_err(MapError::host("clear"));
            }
            RegionKind::Linear | RegionKind::Lazy => self.reservation.advise(range, libc::MADV_DONTNEED),
            // Not every file system can punch holes.
            RegionKind::FileShared => self.reservation.advise(range, libc::MADV_REMOVE),
            // Eager memory stays allocated.
            RegionKind::Eager => Err(std::io::ErrorKind::Unsupported.into()),
        };
        if advised.is_err() {
            let zeros = [0; PAGE as usize];
            range.clone().step_by(PAGE as usize).for_each(|page| self.reservation.copy_in(page, &zeros));
        }
        Ok(())
    }

    /// Undoes a mapping that failed half-way.
    fn retire(&self, range: &Range<u64>) {
        if let Err(failure) = self.reservation.put_zeros(range) {
            // A hole in the reservation could become somebody else's memory under a stale address.
            tracing::error!(%failure, start = range.start, end = range.end, "guest memory is lost");
            std::process::abort();
        }
    }

    fn check_inside(&self, range: &Range<u64>) -> Result<(), MapError> {
        error::check_shape(range)?;
        let within = self.range();
        match within.start <= range.start && range.end <= within.end {
            true => Ok(()),
            false => Err(MapError::OutOfRange { start: range.start, end: range.end, within }),
        }
    }

    pub(super) fn check_mapped(&self, regions: &Regions, range: &Range<u64>) -> Result<(), MapError> {
        self.check_inside(range)?;
        match regions.first_hole(range) {
            Some(at) => Err(MapError::NotMapped { at }),
            None => Ok(()),
        }
    }

    fn each_page(&self, range: &Range<u64>, act: impl FnMut(usize)) {
        let start = self.range().start;
        let index = |gpa: u64| ((gpa - start) / PAGE) as usize;
        (index(range.start)..index(range.end)).for_each(act);
    }
}

/// A file must reach to the end of its region, but for the last page.
pub(super) fn check_file(file: &File, offset: u64, len: u64) -> Result<(), MapError> {
    if !offset.is_multiple_of(PAGE) {
        return Err(MapError::FileOffset { offset });
    }
    let have = file.metadata().map_err(MapError::host("look at the file of"))?.len();
    let need = offset.saturating_add(len);
    match have.div_ceil(PAGE) >= need.div_ceil(PAGE) {
        true => Ok(()),
        false => Err(MapError::FileTooShort { need, have }),
    }
}
