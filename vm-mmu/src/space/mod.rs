//! The guest-physical address space: one host reservation, regions in it, and access by address.
//!
//! ```text
//!  gpa   start                                                          end
//!        ├── RAM (linear) ──┼── image (file) ──┼ hole ┼── RAM (lazy) ───┤
//!  host  base ───────────────────────────────────────────────────────────► = gpa + (base - start)
//! ```
//!
//! **Invariants.** The reservation lives as long as anyone holds it, so a host address made from it is
//! never somebody else's memory. A page that was ever mapped stays readable and writable *on the
//! host*: after `unmap` a stale host address hits fresh zeros, not a signal. What the guest may do is
//! said by the page states alone, one byte a page, read without a lock.

mod door;
mod error;
mod image;
mod layer;
mod map;
mod pages;
mod policy;
mod region;
mod reservation;
mod view;

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{Access, PAGE, Perm, Tracker, host};
use pages::Pages;
use region::Regions;
use reservation::Reservation;

pub use error::{AccessError, FillError, MapError};
pub use policy::Populate;
pub use region::{Backend, RegionInfo, RegionKind};
pub use view::{Door, DoorSlice, GuestMemory};

/// A guest-physical address space, shared among harts, devices and loaders.
pub struct AddressSpace {
    reservation: Arc<Reservation>,
    pages: Pages,
    tracker: Arc<Tracker>,
    /// Held for writing while the map changes; page states and host mappings change only under it.
    regions: RwLock<Regions>,
    view: RwLock<Arc<GuestMemory>>,
}

/// A piece of RAM on the host, as of the moment it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRef {
    /// Host address; valid while the address space lives.
    pub host: u64,
    /// What is permitted on all of it.
    pub perm: Perm,
    /// Whether a page of it holds code, so that stores must take the door.
    pub code: bool,
}

impl AddressSpace {
    /// Reserves host addresses for the page-aligned `range`. Nothing is mapped yet.
    pub fn new(range: Range<u64>) -> Result<AddressSpace, MapError> {
        if !host::has_cas_pair() {
            return Err(MapError::HostCpu { missing: "cmpxchg16b" });
        }
        error::check_shape(&range)?;
        let pages = Pages::new(((range.end - range.start) / PAGE) as usize);
        let tracker = Arc::new(Tracker::new(range.clone()));
        let reservation = Arc::new(Reservation::new(range).map_err(MapError::host("reserve"))?);
        let regions = RwLock::new(Regions::default());
        let view = RwLock::new(Arc::new(GuestMemory::new()));
        Ok(AddressSpace { reservation, pages, tracker, regions, view })
    }

    /// The range given to [`AddressSpace::new`].
    #[inline]
    pub fn range(&self) -> Range<u64> {
        self.reservation.range()
    }

    /// Host address minus guest-physical address: one constant for the life of the address space.
    #[inline]
    pub fn host_offset(&self) -> u64 {
        self.reservation.offset()
    }

    /// Dirty and code pages.
    #[inline]
    pub fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// The `vm-memory` view for DMA: all regions that are readable and writable. Writes through it
    /// take the same door as [`AddressSpace::write`]. A view made before a change of the map shows the
    /// map as it was.
    pub fn memory(&self) -> Arc<GuestMemory> {
        self.view.read().clone()
    }

    /// Where `len` bytes of RAM at `gpa` lie on the host and what is permitted there. `None` if any of
    /// it is not RAM. Counts as the first touch of lazy pages.
    #[inline(always)]
    pub fn host_ptr(&self, gpa: u64, len: u64) -> Option<RamRef> {
        self.require(gpa, len, 0).ok()?;
        let (first, last) = self.page_span(gpa, len)?;
        if first == last {
            let code = self.tracker.code(gpa & !(PAGE - 1)) != 0;
            return Some(RamRef {
                host: gpa.wrapping_add(self.host_offset()),
                perm: self.pages.perm(first),
                code,
            });
        }
        let bits = (first..=last).fold(Perm::RWX.bits(), |all, page| all & self.pages.perm(page).bits());
        let page_gpa = |page: usize| self.range().start + page as u64 * PAGE;
        let code = (first..=last).any(|page| self.tracker.code(page_gpa(page)) != 0);
        Some(RamRef { host: gpa.wrapping_add(self.host_offset()), perm: Perm::from_bits(bits), code })
    }

    /// Answers a fault of `access` at `gpa`: whether the access may now be tried again.
    pub fn fault(&self, gpa: u64, access: Access) -> bool {
        self.require(gpa, 1, need(access)).is_ok()
    }

    /// Checks that all of the range is mapped and permits `need`; commits lazy pages.
    #[inline(always)]
    fn require(&self, gpa: u64, len: u64, need: u8) -> Result<(), AccessError> {
        let (first, last) = self.page_span(gpa, len).ok_or(AccessError::Absent { gpa })?;
        if first == last && self.pages.ready(first, need) {
            return Ok(());
        }
        for page in first..=last {
            if !self.pages.ready(page, need) {
                self.settle(page, need)?;
            }
        }
        Ok(())
    }

    /// Checks the same, and touches nothing.
    fn check(&self, gpa: u64, len: u64, need: u8) -> Result<(), AccessError> {
        let (first, last) = self.page_span(gpa, len).ok_or(AccessError::Absent { gpa })?;
        (first..=last).try_for_each(|page| self.permits(page, need))
    }

    /// The page is absent, denied or lazy: says which, or commits it.
    #[cold]
    fn settle(&self, page: usize, need: u8) -> Result<(), AccessError> {
        let gpa = self.range().start + page as u64 * PAGE;
        self.permits(page, need)?;
        if self.pages.commit(page)
            && let Some(region) = self.regions.read().find(gpa)
        {
            region.count_fault();
        }
        Ok(())
    }

    /// Says whether a page is absent or denied.
    fn permits(&self, page: usize, need: u8) -> Result<(), AccessError> {
        let gpa = self.range().start + page as u64 * PAGE;
        if !self.pages.mapped(page) {
            return Err(AccessError::Absent { gpa });
        }
        match self.pages.perm(page).bits() & need == need {
            true => Ok(()),
            false => Err(AccessError::Denied { gpa, wanted: Perm::from_bits(need) }),
        }
    }

    /// First and last page of a range that lies inside; an empty range has the page it points to.
    #[inline(always)]
    fn page_span(&self, gpa: u64, len: u64) -> Option<(usize, usize)> {
        let range = self.reservation.range();
        let first = gpa.checked_sub(range.start)?;
        let last = first.checked_add(len.max(1) - 1)?;
        (last < range.end - range.start).then_some(((first / PAGE) as usize, (last / PAGE) as usize))
    }
}

/// Permission bits that an access needs.
fn need(access: Access) -> u8 {
    match access {
        Access::Fetch => Perm { read: false, write: false, exec: true }.bits(),
        Access::Load => Perm::R.bits(),
        Access::Store => Perm { read: false, write: true, exec: false }.bits(),
    }
}
