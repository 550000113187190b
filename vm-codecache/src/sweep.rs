//! The sweep: makes room in a zone by emptying the segment in which least is hot.
//!
//! ```text
//!  choose ─► rank by heat ─► hottest half of what was entered of late: copied, cells switched
//!                        └─► the rest: killed
//! ```
//!
//! Survivors of the short-lived zone are promoted to the long-lived one, survivors of that stay in it;
//! both are laid out in the order of their heat, in segments of their own. At most half a segment
//! survives, so each sweep gains room even if everything is hot: then the least hot goes.
//!
//! **Invariant.** Code is only ever copied, never overwritten: harts inside the old piece run on in
//! it, and its segment dies when the epoch has passed.

use std::time::Instant;

use crate::config::Config;
use crate::core::Core;
use crate::death::Cause;
use crate::slab::NONE;
use crate::sync::Ordering;
use crate::translation::{links, state};
use crate::zone::{Piece, Purpose, Zone};

/// See the module.
pub struct Sweeper {
    threshold: usize,
    sweep: Option<Sweep>,
    /// Translations of the segment with their heat, hottest first.
    ranked: Vec<(u32, u32)>,
    code: Vec<u8>,
}

/// A sweep that is under way.
struct Sweep {
    zone: Zone,
    segment: u32,
    started: Instant,
    /// Ranked translations that were dealt with.
    done: usize,
    /// Bytes that may still survive.
    room: usize,
    /// Translations that may still survive.
    places: usize,
}

impl Sweeper {
    pub fn new(config: &Config) -> Self {
        Self { threshold: config.threshold.into(), sweep: None, ranked: Vec::new(), code: Vec::new() }
    }

    /// Sweeps what has to be until `end`. Old places of survivors are added to `left`. `settled` says
    /// that nothing dead waits for the epoch. Whether there is more to do.
    pub fn step(&mut self, core: &Core, end: Instant, settled: bool, left: &mut Vec<Piece>) -> bool {
        loop {
            let Some(sweep) = &mut self.sweep else {
                let crowded = self.is_crowded(core, settled);
                let Some((zone, segment)) = self.choose(core, crowded) else { return false };
                self.start(core, zone, segment, crowded);
                if Instant::now() >= end {
                    return true;
                }
                continue;
            };
            let Some(&(_, number)) = self.ranked.get(sweep.done) else {
                core.tally.swept(sweep.zone, sweep.started.elapsed());
                self.sweep = None;
                continue;
            };
            sweep.done += 1;
            if let Some(old) = survive(core, sweep, number, &mut self.code) {
                left.push(old);
            }
            if Instant::now() >= end {
                return true;
            }
        }
    }

    /// The segment to sweep, if one has to be: of the short-lived zone first, unless what it would
    /// promote has no room. Then that is made, or waited for if the epoch will bring it.
    fn choose(&self, core: &Core, crowded: bool) -> Option<(Zone, u32)> {
        let promotes = core.zones.free_segments(Zone::Long) > 0;
        let zones: &[Zone] = if promotes { &Zone::SWEPT } else { &Zone::SWEPT[1..] };
        let due = |zone: &&Zone| crowded || self.is_full(core, **zone);
        let found = zones.iter().filter(due).find_map(|&zone| Some((zone, coldest(core, zone)?)));
        if crowded && found.is_none() {
            // All there is lies in segments that are still being filled.
            Zone::SWEPT.into_iter().for_each(|zone| core.zones.close(zone, |s| core.report_emptied(s)));
        }
        found
    }

    /// Whether numbers or cells run out. They come back with the epoch, so nothing is killed for them
    /// while something dead waits for it.
    fn is_crowded(&self, core: &Core, settled: bool) -> bool {
        let share = |used: u32, capacity: u32| used as usize * 100 >= capacity as usize * self.threshold;
        settled
            && (share(core.translations.used(), core.translations.capacity())
                || share(core.cells.used(), core.cells.capacity()))
    }

    /// Whether a zone has fewer segments than it should that are free or soon will be.
    fn is_full(&self, core: &Core, zone: Zone) -> bool {
        let segments = core.zones.segments(zone);
        let wanted = (segments.len() * (100 - self.threshold)).div_ceil(100);
        let wanted = wanted.max(1 + core.zones.reserve(zone));
        let drained = |&s: &u32| {
            core.zones.segment(s).live.load(Ordering::Relaxed) == 0 && core.zones.is_closed(zone, s)
        };
        let free = core.zones.free_segments(zone);
        free < wanted && free + segments.filter(drained).count() < wanted
    }

    /// Ranks what lives in a segment, and starts to sweep it. If more than half is hot it is passed
    /// over, as long as there may be a better one.
    fn start(&mut self, core: &Core, zone: Zone, number: u32, crowded: bool) {
        self.rank(core, number);
        let segment = core.zones.segment(number);
        let recent = |&&(_, n): &&(u32, u32)| core.heat.is_recent(core.translations.get(n));
        let bytes = |&(_, n): &(u32, u32)| core.translations.get(n).piece().bytes;
        let hot = self.ranked.iter().filter(recent).map(bytes).sum();
        let room = core.zones.segment_size() / 2;
        let window = core.heat.window();
        if hot as usize > room && segment.passed.swap(window, Ordering::Relaxed) != window {
            segment.hot.store(hot, Ordering::Relaxed);
            return;
        }
        let places = if crowded { self.ranked.len() / 2 } else { self.ranked.len() };
        self.sweep = Some(Sweep { zone, segment: number, started: Instant::now(), done: 0, room, places });
    }

    fn rank(&mut self, core: &Core, segment: u32) {
        let mut last = NONE;
        let firsts = core.zones.owners(segment).filter(|&number| {
            let other = number != last && number != NONE;
            last = number;
            other
        });
        let live = |&number: &u32| {
            let translation = core.translations.get(number);
            translation.is(state::LIVE) && core.zones.segment_of(translation.piece()) == segment
        };
        self.ranked.clear();
        self.ranked.extend(firsts.filter(live).map(|number| (0, number)));
        // What was entered since the window began counts too.
        core.heat.refresh(core, self.ranked.iter().map(|&(_, number)| number));
        for (heat, number) in &mut self.ranked {
            *heat = core.heat.of(core.translations.get(*number));
        }
        self.ranked.sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// The segment of a zone in which least is hot, the oldest among equals; one that was passed over in
/// this window only if all were.
fn coldest(core: &Core, zone: Zone) -> Option<u32> {
    let (zones, window) = (&core.zones, core.heat.window());
    let live = |&s: &u32| zones.segment(s).live.load(Ordering::Relaxed) > 0 && zones.is_closed(zone, s);
    let heat = |&s: &u32| {
        let segment = zones.segment(s);
        let [passed, hot, opened] =
            [&segment.passed, &segment.hot, &segment.opened].map(|n| n.load(Ordering::Relaxed));
        (passed == window, hot, opened)
    };
    zones.segments(zone).filter(live).min_by_key(heat)
}

/// Moves a translation out of the segment that is swept, or kills it. Returns its old place if it was
/// moved.
fn survive(core: &Core, sweep: &mut Sweep, number: u32, code: &mut Vec<u8>) -> Option<Piece> {
    let translation = core.translations.get(number);
    let piece = translation.piece();
    if core.zones.segment_of(piece) != sweep.segment || !translation.is(state::LIVE) {
        // Dead, or only being published: then it stays, and with it the segment.
        return None;
    }
    let fits = piece.bytes as usize <= sweep.room && sweep.places > 0;
    if core.heat.is_recent(translation) && fits && copy(core, number, piece, code) {
        sweep.room -= piece.bytes as usize;
        sweep.places -= 1;
        core.tally.moved(sweep.zone, piece.bytes);
        return Some(piece);
    }
    drop_cold(core, number, piece);
    None
}

fn drop_cold(core: &Core, number: u32, piece: Piece) {
    let killed = core.kill_if(number, Cause::Swept, |translation| {
        for (_, link) in links(&core.links, translation.entries.load(Ordering::Relaxed)) {
            core.heat.sweep(core.cells.get(link.cell.load(Ordering::Relaxed)).gpa());
        }
        true
    });
    if killed {
        core.tally.swept_bytes.add(piece.bytes.into());
    }
}

/// Copies a translation to the long-lived zone and leads its cells there. Fails if there is no room,
/// or it died meanwhile.
fn copy(core: &Core, number: u32, old: Piece, code: &mut Vec<u8>) -> bool {
    let emptied = |s| core.report_emptied(s);
    let Some(new) = core.zones.allot(Zone::Long, Purpose::Survivor, old.bytes as usize, emptied) else {
        return false;
    };
    code.resize(old.bytes as usize, 0);
    let copied = core.arena.read(old.offset(), code).and_then(|()| core.arena.write(new.offset(), code));
    core.zones.own(new, number);
    let moved = copied.is_ok() && switch(core, number, old, new);
    if !moved {
        // Nobody ever ran it.
        core.zones.drop_piece(new, emptied);
    }
    moved
}

/// Leads the cells of a translation from its old piece to its new one, if it still is alive.
fn switch(core: &Core, number: u32, old: Piece, new: Piece) -> bool {
    let translation = core.translations.get(number);
    let _stripe = core.stripe(number);
    if !translation.is(state::LIVE) || translation.piece() != old {
        return false;
    }
    translation.place(new);
    for (_, link) in links(&core.links, translation.entries.load(Ordering::Relaxed)) {
        let target = core.address(new) + u64::from(link.offset.load(Ordering::Relaxed));
        core.cells.redirect(link.cell.load(Ordering::Relaxed), number, target);
    }
    let [from, to] = [old, new].map(|piece| core.zones.segment(core.zones.segment_of(piece)));
    from.live.fetch_sub(old.bytes, Ordering::Relaxed);
    to.live.fetch_add(new.bytes, Ordering::Relaxed);
    to.hot.fetch_add(new.bytes, Ordering::Relaxed);
    true
}
