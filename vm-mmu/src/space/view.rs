//! Guest memory as `vm-memory` sees it, for virtio queues and other DMA.
//!
//! The view's dirty bitmap is our [`Tracker`], so a device's write takes the same door as ours:
//! `vm-memory` calls [`Bitmap::mark_dirty`] after each copy. Only regions that are both readable and
//! writable are in it (`vm-memory` does not ask), and adjoining ones are one. A device's touch of a lazy
//! page is not counted as a fault.

#![allow(unsafe_code, reason = "vm-memory takes a raw pointer for memory that it does not own")]

use std::ops::Range;
use std::sync::Arc;

use vm_memory::bitmap::{Bitmap, BitmapSlice, WithBitmapSlice};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::region::Regions;
use super::reservation::Reservation;
use super::{MapError, error};
use crate::Tracker;

/// `vm-memory`'s guest memory over ours.
pub type GuestMemory = GuestMemoryMmap<Door>;

/// The door as a region's bitmap. It also keeps the host mapping alive under the region.
#[derive(Clone, Debug)]
pub struct Door {
    tracker: Arc<Tracker>,
    gpa: u64,
    _memory: Arc<Reservation>,
}

/// The door from an offset of a region on.
#[derive(Clone, Debug)]
pub struct DoorSlice<'a> {
    tracker: &'a Tracker,
    gpa: u64,
}

impl<'a> WithBitmapSlice<'a> for Door {
    type S = DoorSlice<'a>;
}

impl Bitmap for Door {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.slice_at(offset).mark_dirty(0, len);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.slice_at(offset).dirty_at(0)
    }

    fn slice_at(&self, offset: usize) -> DoorSlice<'_> {
        DoorSlice { tracker: &self.tracker, gpa: self.gpa + offset as u64 }
    }
}

impl<'a> WithBitmapSlice<'a> for DoorSlice<'_> {
    type S = Self;
}

impl BitmapSlice for DoorSlice<'_> {}

impl Bitmap for DoorSlice<'_> {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.tracker.wrote(self.gpa + offset as u64, len as u64);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.tracker.is_dirty(self.gpa + offset as u64)
    }

    fn slice_at(&self, offset: usize) -> Self {
        DoorSlice { tracker: self.tracker, gpa: self.gpa + offset as u64 }
    }
}

/// The view of what `regions` say.
pub(super) fn build(
    memory: &Arc<Reservation>,
    tracker: &Arc<Tracker>,
    regions: &Regions,
) -> Result<GuestMemory, MapError> {
    let seen =
        runs(regions).into_iter().map(|run| region(memory, tracker, run)).collect::<Result<Vec<_>, _>>()?;
    if seen.is_empty() {
        return Ok(GuestMemory::new());
    }
    GuestMemory::from_regions(seen).map_err(error::host_other("show"))
}

/// Readable and writable ranges, joined where they adjoin.
fn runs(regions: &Regions) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for region in regions.iter().filter(|region| region.perm.read && region.perm.write) {
        match runs.last_mut() {
            Some(last) if last.end == region.range.start => last.end = region.range.end,
            _ => runs.push(region.range.clone()),
        }
    }
    runs
}

fn region(
    memory: &Arc<Reservation>,
    tracker: &Arc<Tracker>,
    range: Range<u64>,
) -> Result<GuestRegionMmap<Door>, MapError> {
    let host = memory.host(&range);
    let door = Door { tracker: tracker.clone(), gpa: range.start, _memory: memory.clone() };
    let builder = MmapRegionBuilder::new_with_bitmap((range.end - range.start) as usize, door)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE);
    // SAFETY: `host` points to the whole range inside the reservation (`host` checked it), in pages
    // that are mapped readable and writable and stay so for as long as the reservation lives, which
    // the region's own `Door` keeps alive.
    let builder = unsafe { builder.with_raw_mmap_pointer(host) };
    let mapping = builder.build().map_err(error::host_other("show"))?;
    // The sum was checked when the address space was made; vm-memory asks again.
    GuestRegionMmap::new(mapping, GuestAddress(range.start)).ok_or(MapError::OutOfRange {
        start: range.start,
        end: range.end,
        within: memory.range(),
    })
}
