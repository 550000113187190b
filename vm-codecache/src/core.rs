//! The part of a cache that does not know the engine's metadata: what is where, and how translations
//! come and go.
//!
//! Order of locks: page of granules, stripe of translations, shard of cells; the zones' and the
//! emptied segments' locks are held alone, last.

use crate::arena::Arena;
use crate::cells::Cells;
use crate::config::Config;
use crate::epoch::Epoch;
use crate::error::CacheError;
use crate::granules::Granules;
use crate::heat::Heat;
use crate::limbo::Limbo;
use crate::slab::Slab;
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::tally::Tally;
use crate::translation::{Link, Translation};
use crate::zone::{Piece, Zones};

const STRIPES: usize = 64;
const SEGMENTS_OF_A_SMALL_ZONE: usize = 8;
const SEGMENT_MIN: usize = 64 << 10;
const TRANSLATIONS_MAX: usize = 1 << 24;
const ARENA_MAX: usize = 64 << 30;
/// Places for cells, links and granules for each translation. They take no memory until used.
const CELLS_EACH: usize = 4;
const LINKS_EACH: usize = 32;
const GRANULES_EACH: usize = 32;
/// Cells that nothing refers to wait until they are this part of all there can be, but not more than so
/// many: when some are retired, each reader forgets all addresses of cells that it keeps.
const UNUSED_PART: u32 = 8;
const UNUSED_MOST: u32 = 1 << 14;
/// They wait no longer once so many percent of all are taken.
const CELLS_SCARCE: u64 = 75;

/// See the module.
pub struct Core {
    pub arena: Arena,
    pub zones: Zones,
    pub cells: Cells,
    pub translations: Slab<Translation>,
    pub links: Slab<Link>,
    pub granules: Granules,
    pub epoch: Epoch,
    pub heat: Heat,
    pub tally: Tally,
    /// Translations that died.
    pub dead: Limbo,
    /// Translations whose last cell leads to a later one.
    pub orphans: Limbo,
    /// Cells nothing refers to, or did not for a while.
    pub unused: Limbo,
    /// How many these are.
    pub unused_count: AtomicU32,
    /// Grows when cells leave the index.
    pub cells_retired: AtomicU64,
    /// Segments without a piece, not yet free.
    pub emptied: Mutex<Vec<u32>>,
    stripes: [Mutex<()>; STRIPES],
}

impl Core {
    pub fn new(config: &Config, stub: u64) -> Result<Self, CacheError> {
        check("number of translations", config.translations, 1, TRANSLATIONS_MAX, "1 to 2^24")?;
        check("threshold", config.threshold.into(), 1, 100, "1 to 100 percent")?;
        let sizes = [config.short, config.long, config.stable];
        for size in sizes {
            check("zone size", size, 0, ARENA_MAX, "at most 64 GiB")?;
        }
        let small = (config.short.min(config.long) / SEGMENTS_OF_A_SMALL_ZONE).max(SEGMENT_MIN);
        let zones = Zones::new(sizes, config.segment.min(small));
        let size = zones.size();
        let arena = Arena::new(size).map_err(|source| CacheError::Arena { size, source })?;
        Ok(Self {
            arena,
            emptied: Mutex::new(Vec::with_capacity(zones.count())),
            zones,
            cells: Cells::new(config.translations * CELLS_EACH, stub),
            translations: Slab::new(config.translations),
            links: Slab::new(config.translations * LINKS_EACH),
            granules: Granules::new(config.translations * GRANULES_EACH),
            epoch: Epoch::new(),
            heat: Heat::new(config.translations),
            tally: Tally::default(),
            dead: Limbo::default(),
            orphans: Limbo::default(),
            unused: Limbo::default(),
            unused_count: AtomicU32::new(0),
            cells_retired: AtomicU64::new(0),
            stripes: [const { Mutex::new(()) }; STRIPES],
        })
    }

    /// The lock of a translation's state and place.
    pub fn stripe(&self, number: u32) -> MutexGuard<'_, ()> {
        self.stripes[number as usize % STRIPES].lock()
    }

    /// Hears of a segment whose last piece is gone.
    pub fn report_emptied(&self, segment: u32) {
        self.emptied.lock().push(segment);
    }

    /// Takes one reference from a cell.
    pub fn release_cell(&self, cell: u32) {
        if self.cells.release(cell) {
            self.unused_count.fetch_add(1, Ordering::Relaxed);
            self.unused.push(cell, &self.cells.get(cell).next);
        }
    }

    /// Whether cells that nothing refers to had better be retired now.
    pub fn has_cells_to_retire(&self) -> bool {
        let (unused, capacity) = (self.unused_count.load(Ordering::Relaxed), self.cells.capacity());
        let scarce = u64::from(self.cells.used()) * 100 >= u64::from(capacity) * CELLS_SCARCE;
        unused > 0 && (scarce || unused >= (capacity / UNUSED_PART).min(UNUSED_MOST))
    }

    /// Releases the cells of a list of links, and the links.
    pub fn drop_links(&self, first: u32) {
        for (number, link) in crate::translation::links(&self.links, first) {
            self.release_cell(link.cell.load(Ordering::Relaxed));
            self.links.give(number);
        }
    }

    /// Host address of the first byte of a piece.
    pub fn address(&self, piece: Piece) -> u64 {
        self.arena.address(piece.offset())
    }

    /// The translation whose code is at a host address.
    pub fn resolve(&self, host_pc: u64) -> Option<u32> {
        let owner = self.zones.owner(self.arena.offset(host_pc)?);
        (owner != 0).then_some(owner)
    }
}

fn check(
    what: &'static str,
    found: usize,
    min: usize,
    max: usize,
    expected: &'static str,
) -> Result<(), CacheError> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(CacheError::Range { what, found, expected }) }
}
