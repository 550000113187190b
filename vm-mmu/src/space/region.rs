//! The list of regions: what backs which range.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::reservation::open_for_writing;
use crate::Perm;

/// What a region's bytes are kept in.
#[derive(Debug)]
pub enum Backend {
    /// The usual RAM: zeros that take host memory when touched. No step of ours on first touch.
    Linear {
        /// Ask the host for huge pages; it may decline.
        huge: bool,
    },
    /// Host memory for all of it at once, or an error now instead of a killed VM later.
    Eager,
    /// Zeros that take host memory when touched, each first touch counted.
    Lazy,
    /// A file's bytes, read when touched.
    File {
        /// The file. It must not shrink while it is mapped.
        file: File,
        /// Where in the file the region begins; whole pages.
        offset: u64,
        /// Stores go to the file, and the host may page out to it; else copy on write.
        shared: bool,
    },
}

impl Backend {
    fn kind(&self) -> RegionKind {
        match self {
            Backend::Linear { .. } => RegionKind::Linear,
            Backend::Eager => RegionKind::Eager,
            Backend::Lazy => RegionKind::Lazy,
            Backend::File { shared: false, .. } => RegionKind::FilePrivate,
            Backend::File { shared: true, .. } => RegionKind::FileShared,
        }
    }
}

/// A [`Backend`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// [`Backend::Linear`].
    Linear,
    /// [`Backend::Eager`].
    Eager,
    /// [`Backend::Lazy`].
    Lazy,
    /// [`Backend::File`] with copy on write.
    FilePrivate,
    /// [`Backend::File`], shared.
    FileShared,
}

/// One region, with its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Guest-physical range.
    pub range: Range<u64>,
    /// What backs it.
    pub kind: RegionKind,
    /// What the guest may do.
    pub perm: Perm,
    /// First touches that were answered. Always 0 for linear and eager memory.
    pub faults: u64,
    /// Bytes touched, as far as they are counted (lazy and file regions); else the whole.
    pub touched: u64,
    /// Bytes in host memory; of a file: in the host's page cache.
    pub resident: u64,
}

/// A region as the address space keeps it.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub range: Range<u64>,
    pub kind: RegionKind,
    pub perm: Perm,
    /// The host mapping itself refuses stores.
    pub read_only: bool,
    faults: Arc<AtomicU64>,
}

impl Region {
    pub fn new(range: Range<u64>, backend: &Backend, perm: Perm) -> io::Result<Region> {
        let kind = backend.kind();
        let read_only = match backend {
            Backend::File { file, shared: true, .. } => !open_for_writing(file)?,
            _ => false,
        };
        Ok(Region { range, kind, perm, read_only, faults: Arc::default() })
    }

    /// Whether first touches are counted.
    pub fn counts(&self) -> bool {
        !matches!(self.kind, RegionKind::Linear | RegionKind::Eager)
    }

    pub fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The part of the region inside `range`.
    fn part(&self, range: Range<u64>) -> Region {
        // The first part keeps the count; the others begin anew.
        let faults = if range.start == self.range.start { self.faults.clone() } else { Arc::default() };
        Region { range, faults, ..self.clone() }
    }
}

/// Sorted, without overlaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Regions(Vec<Region>);

impl Regions {
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }

    pub fn find(&self, gpa: u64) -> Option<&Region> {
        let at = self.0.partition_point(|region| region.range.end <= gpa);
        self.0.get(at).filter(|region| region.range.contains(&gpa))
    }

    /// Regions that have a part in `range`.
    pub fn within(&self, range: &Range<u64>) -> impl Iterator<Item = &Region> {
        self.0.iter().filter(move |region| region.range.start < range.end && range.start < region.range.end)
    }

    /// First address of `range` that no region has.
    pub fn first_hole(&self, range: &Range<u64>) -> Option<u64> {
        let mut at = range.start;
        for region in self.within(range) {
            if region.range.start > at {
                return Some(at);
            }
            at = region.range.end;
        }
        (at < range.end).then_some(at)
    }

    pub fn insert(&mut self, region: Region) {
        let at = self.0.partition_point(|other| other.range.start < region.range.start);
        self.0.insert(at, region);
    }

    /// Cuts regions so that none crosses a bound of `range`, then lets `keep` change or drop those
    /// inside.
    pub fn retain_within(&mut self, range: &Range<u64>, mut keep: impl FnMut(&mut Region) -> bool) {
        let cut = |region: &Region| {
            let (start, end) = (region.range.start, region.range.end);
            let (low, high) = (range.start.clamp(start, end), range.end.clamp(start, end));
            [start..low, low..high, high..end]
                .into_iter()
                .filter(|part| part.start < part.end)
                .collect::<Vec<_>>()
        };
        let parts = self.0.iter().flat_map(|region| cut(region).into_iter().map(|part| region.part(part)));
        let inside = |region: &Region| range.start <= region.range.start && region.range.end <= range.end;
        self.0 = parts
            .filter_map(|mut region| (!inside(&region) || keep(&mut region)).then_some(region))
            .collect();
    }
}
