//! Zones and the segments they consist of.
//!
//! ```text
//!  arena   │ short: seg seg seg … │ long: seg seg seg … │ stable: seg seg seg … │
//!  segment │ piece │ piece │   piece   │ (never used) │      64-byte lines
//!  lines   │ 7 7 7 │ 9 9   │ 4 4 4 4 4 │ 0 0 0        │      who owns the line
//! ```
//!
//! A *piece* is the code of one translation; while it is being moved, a translation has two. Pieces
//! are allotted by advancing a mark and never freed one by one: a segment is free again when its last
//! piece is gone.
//!
//! **Invariant.** `Segment::pieces` counts the pieces that were allotted and not yet given up, and
//! one more while the segment is open for allotting. Who brings it to zero hands the segment to the
//! collector, which gives its memory back and makes it free.

use serde::Serialize;

use crate::sync::{AtomicU32, Mutex, OnceLock, Ordering};

/// Granularity of allotting, in bytes: a cache line.
pub const LINE: usize = 64;
const PAGE: usize = 4096;
const SEGMENTS_MIN: usize = 4;

/// Kinds of code by how long it is expected to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// Quickly made code. Swept first; what stays hot is promoted.
    Short,
    /// Optimised code, and what was promoted.
    Long,
    /// Code translated ahead of time: dies by writes or by its owner, never by a sweep.
    Stable,
}

impl Zone {
    /// All, in the order of the arena.
    pub const ALL: [Zone; 3] = [Zone::Short, Zone::Long, Zone::Stable];
    /// Those that are swept, in this order.
    pub const SWEPT: [Zone; 2] = [Zone::Short, Zone::Long];
}

/// Which of a zone's open segments to allot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// New code. Leaves the last free segments to survivors.
    Fresh,
    /// Code that is moved or promoted, in the order of its heat.
    Survivor,
}

/// A range of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First line, counted from the start of the arena.
    pub line: u32,
    /// Length of the code.
    pub bytes: u32,
}

impl Piece {
    /// Offset in the arena in bytes.
    pub fn offset(self) -> u64 {
        u64::from(self.line) * LINE as u64
    }

    fn lines(self) -> usize {
        (self.bytes as usize).div_ceil(LINE)
    }
}

/// See the module.
#[derive(Default)]
pub struct Segment {
    pieces: AtomicU32,
    /// Bytes of translations that are live.
    pub live: AtomicU32,
    /// Bytes of translations that were entered in the last whole window.
    pub hot: AtomicU32,
    /// Window in which the sweeper found too much of it hot.
    pub passed: AtomicU32,
    /// Order in which segments were opened.
    pub opened: AtomicU32,
    owners: OnceLock<Box<[AtomicU32]>>,
}

struct Open {
    segment: u32,
    /// Lines allotted.
    mark: u32,
}

#[derive(Default)]
struct Room {
    free: Vec<u32>,
    open: [Option<Open>; 2],
    max_used: usize,
}

struct Area {
    /// Segments of the zone.
    first: u32,
    end: u32,
    room: Mutex<Room>,
}

/// What is known of a zone's memory.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Bytes of the zone.
    pub size: usize,
    /// Bytes in segments that hold code or wait for the epoch.
    pub used: usize,
    /// The most `used` ever was.
    pub max_used: usize,
    /// Bytes in free segments.
    pub free: usize,
    /// Bytes of live translations.
    pub live: usize,
}

/// All zones of an arena.
pub struct Zones {
    areas: [Area; 3],
    segments: Box<[Segment]>,
    /// Bytes of a segment.
    segment: usize,
    opened: AtomicU32,
}

impl Zones {
    /// Zones of about `sizes` bytes, each at least four segments of at most `segment` bytes.
    pub fn new(sizes: [usize; 3], segment: usize) -> Self {
        let segment = segment.max(PAGE).next_multiple_of(PAGE);
        let mut first = 0;
        let areas = sizes.map(|size| {
            let count = size.div_ceil(segment).max(SEGMENTS_MIN) as u32;
            let (start, end) = (first, first + count);
            first = end;
            // Lowest first: the last of the list is taken first.
            let room = Room { free: (start..end).rev().collect(), ..Room::default() };
            Area { first: start, end, room: Mutex::new(room) }
        });
        let segments = (0..first).map(|_| Segment::default()).collect();
        Self { areas, segments, segment, opened: AtomicU32::new(0) }
    }

    /// Bytes of all zones.
    pub fn size(&self) -> usize {
        self.segments.len() * self.segment
    }

    /// Segments of all zones.
    pub fn count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of a segment: the longest code there can be.
    pub fn segment_size(&self) -> usize {
        self.segment
    }

    /// A segment and its range in the arena.
    pub fn segment(&self, number: u32) -> &Segment {
        &self.segments[number as usize]
    }

    /// Offset of a segment in the arena.
    pub fn offset(&self, segment: u32) -> u64 {
        u64::from(segment) * self.segment as u64
    }

    /// The segment a piece lies in.
    pub fn segment_of(&self, piece: Piece) -> u32 {
        (piece.offset() / self.segment as u64) as u32
    }

    /// Free segments of a zone that fresh code may not take.
    pub fn reserve(&self, zone: Zone) -> usize {
        // Only the long-lived zone takes survivors.
        usize::from(zone == Zone::Long)
    }

    /// Segments of a zone.
    pub fn segments(&self, zone: Zone) -> std::ops::Range<u32> {
        let area = &self.areas[zone as usize];
        area.first..area.end
    }

    /// Room for `bytes` of code. A segment this closes and leaves without pieces goes to `emptied`.
    pub fn allot(&self, zone: Zone, purpose: Purpose, bytes: usize, emptied: impl Fn(u32)) -> Option<Piece> {
        if bytes == 0 || bytes > self.segment {
            return None;
        }
        let lines = bytes.div_ceil(LINE) as u32;
        let per_segment = (self.segment / LINE) as u32;
        let area = &self.areas[zone as usize];
        let mut room = area.room.lock();
        let fits = |open: &Open| open.mark + lines <= per_segment;
        if !room.open[purpose as usize].as_ref().is_some_and(fits) {
            let reserve = if purpose == Purpose::Fresh { self.reserve(zone) } else { 0 };
            if room.free.len() <= reserve {
                return None;
            }
            let segment = room.free.pop()?;
            self.open(segment);
            let used = (area.end - area.first) as usize - room.free.len();
            room.max_used = room.max_used.max(used);
            if let Some(full) = room.open[purpose as usize].replace(Open { segment, mark: 0 }) {
                self.give_up(full.segment, &emptied);
            }
        }
        let open = room.open[purpose as usize].as_mut()?;
        let line = open.segment * per_segment + open.mark;
        open.mark += lines;
        self.segment(open.segment).pieces.fetch_add(1, Ordering::Relaxed);
        Some(Piece { line, bytes: bytes as u32 })
    }

    /// Takes the first segments of a zone for good, as many as hold `bytes`: their arena offset. `None` if they
    /// are not all free.
    pub fn take_front(&self, zone: Zone, bytes: usize) -> Option<u64> {
        let area = &self.areas[zone as usize];
        let mut room = area.room.lock();
        let count = bytes.div_ceil(self.segment) as u32;
        let wanted = area.first..area.first + count;
        if wanted.end > area.end || !wanted.clone().all(|segment| room.free.contains(&segment)) {
            return None;
        }
        room.free.retain(|segment| !wanted.contains(segment));
        wanted.for_each(|segment| self.open(segment));
        room.max_used = room.max_used.max((area.end - area.first) as usize - room.free.len());
        Some(self.offset(area.first))
    }

    /// A piece at a place of a segment that was taken for good. `None` if it would not lie in one such.
    pub fn claim(&self, offset: u64, bytes: usize) -> Option<Piece> {
        let segment = (offset / self.segment as u64) as usize;
        let inside = offset % self.segment as u64 + bytes as u64 <= self.segment as u64;
        let piece = Piece { line: (offset / LINE as u64) as u32, bytes: bytes as u32 };
        if !offset.is_multiple_of(LINE as u64) || bytes == 0 || !inside {
            return None;
        }
        let segment = self.segments.get(segment)?;
        // Taken, and never given up: there is one more than its pieces.
        if segment.pieces.load(Ordering::Relaxed) == 0 {
            return None;
        }
        segment.pieces.fetch_add(1, Ordering::Relaxed);
        Some(piece)
    }

    fn open(&self, number: u32) {
        let segment = self.segment(number);
        segment.owners.get_or_init(|| (0..self.segment / LINE).map(|_| AtomicU32::new(0)).collect());
        segment.opened.store(self.opened.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        segment.hot.store(0, Ordering::Relaxed);
        segment.passed.store(0, Ordering::Relaxed);
        segment.pieces.store(1, Ordering::Relaxed);
    }

    /// Closes the open segments of a zone, so that they can be swept.
    pub fn close(&self, zone: Zone, emptied: impl Fn(u32)) {
        let open = std::mem::take(&mut self.areas[zone as usize].room.lock().open);
        open.into_iter().flatten().for_each(|open| self.give_up(open.segment, &emptied));
    }

    /// Says who owns the lines of a piece; 0 for nobody.
    pub fn own(&self, piece: Piece, number: u32) {
        let segment = self.segment_of(piece);
        let first = (piece.line as usize) % (self.segment / LINE);
        if let Some(owners) = self.segment(segment).owners.get() {
            owners[first..first + piece.lines()].iter().for_each(|o| o.store(number, Ordering::Release));
        }
    }

    /// Who owns the line at an offset of the arena.
    pub fn owner(&self, offset: u64) -> u32 {
        let segment = self.segment((offset / self.segment as u64) as u32);
        let line = (offset % self.segment as u64) as usize / LINE;
        segment.owners.get().map_or(0, |owners| owners[line].load(Ordering::Acquire))
    }

    /// The owners of a segment's lines, in order of address.
    pub fn owners(&self, segment: u32) -> impl Iterator<Item = u32> + '_ {
        let owners = self.segment(segment).owners.get().map_or(&[][..], |owners| owners);
        owners.iter().map(|o| o.load(Ordering::Acquire))
    }

    /// Gives up a piece that nobody can run any more.
    pub fn drop_piece(&self, piece: Piece, emptied: impl Fn(u32)) {
        self.own(piece, 0);
        self.give_up(self.segment_of(piece), &emptied);
    }

    fn give_up(&self, segment: u32, emptied: &impl Fn(u32)) {
        if self.segment(segment).pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            emptied(segment);
        }
    }

    /// Makes a segment free that `emptied` reported.
    pub fn free(&self, segment: u32) {
        let of = |area: &&Area| (area.first..area.end).contains(&segment);
        if let Some(area) = self.areas.iter().find(of) {
            area.room.lock().free.push(segment);
        }
    }

    /// Whether code lies in the segment and none is being added.
    pub fn is_closed(&self, zone: Zone, segment: u32) -> bool {
        let room = self.areas[zone as usize].room.lock();
        let open = room.open.iter().flatten().any(|o| o.segment == segment);
        !open && self.segment(segment).pieces.load(Ordering::Relaxed) > 0
    }

    /// Whether fresh code of `bytes` finds room now.
    pub fn has_room(&self, zone: Zone, bytes: usize) -> bool {
        let (lines, per_segment) = (bytes.div_ceil(LINE), self.segment / LINE);
        let room = self.areas[zone as usize].room.lock();
        let open = &room.open[Purpose::Fresh as usize];
        room.free.len() > self.reserve(zone)
            || open.as_ref().is_some_and(|open| open.mark as usize + lines <= per_segment)
    }

    /// Free segments of a zone.
    pub fn free_segments(&self, zone: Zone) -> usize {
        self.areas[zone as usize].room.lock().free.len()
    }

    /// The figures of a zone.
    pub fn usage(&self, zone: Zone) -> Usage {
        let area = &self.areas[zone as usize];
        let (free, max_used) = {
            let room = area.room.lock();
            (room.free.len(), room.max_used)
        };
        let count = (area.end - area.first) as usize;
        let live = self.segments(zone).map(|s| self.segment(s).live.load(Ordering::Relaxed) as usize).sum();
        Usage {
            size: count * self.segment,
            used: (count - free) * self.segment,
            max_used: max_used * self.segment,
            free: free * self.segment,
            live,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn zones() -> Zones {
        Zones::new([4 * 8192, 4 * 8192, 4 * 8192], 8192)
    }

    #[test]
    fn pieces_do_not_overlap_and_know_their_owner() {
        let zones = zones();
        let a = zones.allot(Zone::Short, Purpose::Fresh, 100, |_| ()).unwrap();
        let b = zones.allot(Zone::Short, Purpose::Fresh, 64, |_| ()).unwrap();
        assert_eq!(b.offset() - a.offset(), 128);
        zones.own(a, 7);
        zones.own(b, 9);
        let owner = |at: u64| zones.owner(a.offset() + at);
        assert_eq!([owner(0), owner(127), owner(128), owner(191), owner(192)], [7, 7, 9, 9, 0]);
        assert_eq!(zones.segment_of(b), 0);
    }

    #[test]
    fn a_segment_is_empty_when_closed_and_without_pieces() {
        let (zones, emptied) = (zones(), RefCell::new(Vec::new()));
        let report = |s| emptied.borrow_mut().push(s);
        let pieces: Vec<_> =
            (0..2).map(|_| zones.allot(Zone::Long, Purpose::Fresh, 4096, report).unwrap()).collect();
        pieces.iter().for_each(|&p| zones.drop_piece(p, report));
        assert!(emptied.borrow().is_empty(), "still open");
        zones.allot(Zone::Long, Purpose::Fresh, 64, report).unwrap();
        assert_eq!(*emptied.borrow(), [4]);
        assert_eq!(zones.usage(Zone::Long).used, 2 * 8192);
        zones.free(4);
        assert_eq!(zones.usage(Zone::Long).used, 8192);
        assert_eq!(zones.usage(Zone::Long).max_used, 2 * 8192);
    }

    #[test]
    fn survivors_find_room_when_fresh_code_does_not() {
        let zones = zones();
        let full =
            |zone| (0..).take_while(|_| zones.allot(zone, Purpose::Fresh, 8192, |_| ()).is_some()).count();
        assert!(zones.has_room(Zone::Long, 8192));
        assert_eq!((full(Zone::Short), full(Zone::Long)), (4, 3));
        assert!(!zones.has_room(Zone::Long, 64), "what is left is for survivors");
        assert!(zones.allot(Zone::Long, Purpose::Survivor, 8192, |_| ()).is_some());
        assert!(zones.allot(Zone::Long, Purpose::Fresh, 8193, |_| ()).is_none(), "longer than a segment");
    }
}
