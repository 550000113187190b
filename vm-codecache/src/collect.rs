//! The collector: frees what is dead once its grace has passed.
//!
//! ```text
//!  limbo ─► waiting for grace n ─► numbers, cells, pieces ─► emptied segments ─► host
//! ```
//!
//! One grace at a time: what dies meanwhile waits for the next one.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::core::Core;
use crate::heat::Windows;
use crate::huge::Huge;
use crate::slab::NONE;
use crate::sweep::Sweeper;
use crate::sync::Ordering;
use crate::translation::state;
use crate::zone::Piece;

/// Items freed between two looks at the clock.
const BATCH: usize = 64;
/// Cells retired in one grace at most.
const CELLS: usize = 1 << 14;

/// See the module.
pub struct Collector {
    slice: Duration,
    windows: Windows,
    sweeper: Sweeper,
    huge: Huge,
    grace: u64,
    started: Option<Instant>,
    /// First dead translation and first unused cell of the grace that runs, or has passed.
    translations: u32,
    cells: u32,
    /// First cell that was taken from the unused and is still to be retired.
    unused: u32,
    /// Old places of translations that were moved: since the grace started, and before.
    left: Vec<Piece>,
    waiting: Vec<Piece>,
}

impl Collector {
    pub fn new(config: &Config, core: &Core) -> Self {
        Self {
            slice: config.slice,
            windows: Windows::new(config.window, core.zones.count()),
            sweeper: Sweeper::new(config),
            huge: Huge::new(if config.huge { core.zones.size() } else { 0 }),
            grace: 0,
            started: None,
            translations: NONE,
            cells: NONE,
            unused: NONE,
            left: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// One call of `CodeCache::poll`.
    pub fn poll(&mut self, core: &Core, free_meta: impl Fn(u32), kick: impl Fn()) -> bool {
        let end = Instant::now() + self.slice;
        core.cells.settle();
        core.granules.settle();
        let more = self.collect(core, end, &free_meta)
            || self.windows.step(core, end)
            || self.sweeper.step(core, end, self.is_settled(core), &mut self.left);
        self.start_grace(core);
        if !more {
            self.huge.step(core);
        }
        if self.started.is_some() && !self.has_passed(core) {
            kick();
            return more;
        }
        more || !self.is_settled(core)
    }

    /// Frees what has had its grace, until `end`. Whether there is more.
    fn collect(&mut self, core: &Core, end: Instant, free_meta: &impl Fn(u32)) -> bool {
        if self.started.is_some() && !self.has_passed(core) {
            return false;
        }
        core.kill_orphans();
        while self.free_some(core, free_meta) {
            if Instant::now() >= end {
                return true;
            }
        }
        self.free_segments(core, end)
    }

    /// Whether the grace that was started has passed.
    fn has_passed(&mut self, core: &Core) -> bool {
        if core.epoch.advance() < self.grace {
            return false;
        }
        if let Some(started) = self.started.take() {
            core.tally.graces.add(1);
            core.tally.grace_time.record(started.elapsed());
        }
        true
    }

    /// Whether nothing waits for a grace or for being freed.
    fn is_settled(&self, core: &Core) -> bool {
        self.is_drained()
            && core.dead.is_empty()
            && self.left.is_empty()
            && self.unused == NONE
            && !core.has_cells_to_retire()
    }

    /// Whether nothing is left of the last grace.
    fn is_drained(&self) -> bool {
        self.translations == NONE && self.cells == NONE && self.waiting.is_empty()
    }

    /// Frees some of what waited. Whether there may be more.
    fn free_some(&mut self, core: &Core, free_meta: &impl Fn(u32)) -> bool {
        for _ in 0..BATCH {
            if self.translations != NONE {
                let number = self.translations;
                let translation = core.translations.get(number);
                self.translations = translation.next.load(Ordering::Relaxed);
                core.zones.drop_piece(translation.piece(), |s| core.report_emptied(s));
                free_meta(number);
                translation.state.store(state::FREE, Ordering::Relaxed);
                core.translations.give(number);
            } else if self.cells != NONE {
                let number = self.cells;
                self.cells = core.cells.get(number).next.load(Ordering::Relaxed);
                core.cells.free(number);
            } else if let Some(piece) = self.waiting.pop() {
                core.zones.drop_piece(piece, |s| core.report_emptied(s));
            } else {
                return false;
            }
        }
        true
    }

    /// Gives the memory of segments without pieces back, until `end`. They were closed, and the last
    /// piece waited for its grace: nobody can run there.
    fn free_segments(&mut self, core: &Core, end: Instant) -> bool {
        while let Some(segment) = { core.emptied.lock().pop() } {
            let len = core.zones.segment_size() as u64;
            // A host that refuses keeps the memory; the segment is as good as new.
            let _ = core.arena.punch(core.zones.offset(segment), len);
            core.zones.free(segment);
            core.tally.segments_freed.add(1);
            if Instant::now() >= end {
                return true;
            }
        }
        false
    }

    /// Starts a grace for what died, if the one before is done with.
    fn start_grace(&mut self, core: &Core) {
        if self.started.is_some() || !self.is_drained() || self.is_settled(core) {
            return;
        }
        self.translations = core.dead.take();
        self.retire_cells(core);
        std::mem::swap(&mut self.left, &mut self.waiting);
        if self.is_drained() {
            return;
        }
        self.grace += 1;
        self.started = Some(Instant::now());
        core.epoch.start(self.grace);
    }

    /// Takes cells that nothing refers to out of the index.
    fn retire_cells(&mut self, core: &Core) {
        if self.unused == NONE && core.has_cells_to_retire() {
            self.unused = core.unused.take();
        }
        for _ in 0..CELLS {
            let (number, cell) = (self.unused, core.cells.get(self.unused));
            if number == NONE {
                break;
            }
            self.unused = cell.next.load(Ordering::Relaxed);
            core.unused_count.fetch_sub(1, Ordering::Relaxed);
            if core.cells.retire(number) {
                cell.next.store(self.cells, Ordering::Relaxed);
                self.cells = number;
            }
        }
        if self.cells != NONE {
            core.cells_retired.fetch_add(1, Ordering::Release);
        }
    }
}
