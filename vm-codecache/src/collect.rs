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
use crate::slab::NONE;
use crate::sync::Ordering;
use crate::translation::state;
use crate::zone::Piece;

/// Items freed between two looks at the clock.
const BATCH: usize = 64;

/// See the module.
pub struct Collector {
    slice: Duration,
    grace: u64,
    started: Option<Instant>,
    /// First dead translation and first unused cell of the grace that runs, or has passed.
    translations: u32,
    cells: u32,
    /// Old places of translations that were moved.
    left: Vec<Piece>,
    waiting: Vec<Piece>,
}

impl Collector {
    pub fn new(config: &Config) -> Self {
        Self {
            slice: config.slice,
            grace: 0,
            started: None,
            translations: NONE,
            cells: NONE,
            left: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// One call of `CodeCache::poll`.
    pub fn poll(&mut self, core: &Core, free_meta: impl Fn(u32), kick: impl Fn()) -> bool {
        let end = Instant::now() + self.slice;
        if let Some(started) = self.started {
            if core.epoch.advance() < self.grace {
                kick();
                return false;
            }
            self.started = None;
            core.tally.graces.add(1);
            core.tally.grace_time.record(started.elapsed());
        }
        while self.free_some(core, &free_meta) {
            if Instant::now() >= end {
                return true;
            }
        }
        self.free_segments(core);
        self.start_grace(core)
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

    /// Gives the memory of segments without pieces back. They were closed, and the last piece waited
    /// for its grace: nobody can run there.
    fn free_segments(&mut self, core: &Core) {
        while let Some(segment) = { core.emptied.lock().pop() } {
            let len = core.zones.segment_size() as u64;
            // A host that refuses keeps the memory; the segment is as good as new.
            let _ = core.arena.punch(core.zones.offset(segment), len);
            core.zones.free(segment);
            core.tally.segments_freed.add(1);
        }
    }

    /// Starts a grace if anything waits for one.
    fn start_grace(&mut self, core: &Core) -> bool {
        if core.dead.is_empty() && core.unused.is_empty() && self.left.is_empty() {
            return false;
        }
        self.translations = core.dead.take();
        self.cells = core.unused.take();
        std::mem::swap(&mut self.left, &mut self.waiting);
        self.grace += 1;
        self.started = Some(Instant::now());
        core.epoch.start(self.grace);
        true
    }
}
