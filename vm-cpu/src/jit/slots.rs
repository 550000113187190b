//! Inline caches of memory accesses: what the soft-TLB said last, kept per access and per hart.
//!
//! ```text
//!  Frame:  Core │ slot 0 │ slot 1 │ …            at constant offsets from r15
//!  unit:   a range of slots:  header (stamp + key, number)  site  site  …
//!  hit:    va - slot.tag <= 4096 - span          ──► host = va + slot.addend
//! ```
//! **Invariant.** While a header is valid, each slot of its range holds what an entry of the soft-TLB says
//! that permits the site's access. There is no empty slot, because no tag is one that no address matches:
//! a slot begins with some page that permits the access, whichever it is. The stamp names an address space, a
//! class and a generation of them, and each unit compares it with its header when it is entered and after
//! whatever may have changed it. A key is given out once, so the header of a range's last owner never
//! passes for that of the next.
//!
//! A site whose page changes often gains nothing from a slot, nor does a unit whose stamp changes at every
//! turn: when that shows, the unit is dropped and the next one goes to the soft-TLB there. A store that finds
//! code in its page again and again misses each time ([`Strays`](super::strays::Strays)): in the next unit its
//! slot takes such pages too, and the site looks for code afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Slots of a hart.
pub const SLOTS: usize = 1 << 16;
/// Misses after which a site is looked at.
pub const MISSES: u16 = 256;
/// A site keeps its slot if the hart executed this many instructions a miss, or more.
pub const PER_MISS: u32 = 400;

/// One inline cache, or the header of a unit's range.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// Virtual address of the page. Header: what the range is valid for.
    pub tag: u64,
    /// Host address minus virtual address. Header: number of the translation.
    pub addend: u64,
    /// Header: length of the range.
    pub len: u64,
    /// Misses since `since`.
    pub misses: u16,
    /// The header of its range.
    pub first: u16,
    /// Low half of the hart's count of instructions when `misses` began.
    pub since: u32,
}

/// Gives out ranges of slots.
#[derive(Debug)]
pub struct SlotPool {
    free: Mutex<Free>,
}

/// Slot 0 is nobody's.
pub const FIRST_SLOT: u32 = 1;
/// No header is of key 0.
pub const FIRST_KEY: u32 = 1;

#[derive(Debug)]
struct Free {
    /// First slot of each free range, and its length. No two of them touch.
    ranges: BTreeMap<u32, u32>,
    next_key: u32,
}

/// A range of slots, and the key of its owner. Given back when dropped.
#[derive(Debug)]
pub struct SlotRange {
    pool: Arc<SlotPool>,
    /// Which.
    pub span: SlotSpan,
}

/// Slots of a unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotSpan {
    /// The header's number.
    pub first: u32,
    /// Slots, the header included.
    pub len: u32,
    /// Added to the stamp in the header.
    pub key: u32,
    /// How many of them, at the end, are of stores.
    pub stores: u32,
}

impl SlotPool {
    /// All slots are free from `first` on, and all keys from `key` on: those before are taken.
    pub fn new(first: u32, key: u32) -> Arc<SlotPool> {
        let ranges = BTreeMap::from([(first, (SLOTS as u32).saturating_sub(first))]);
        Arc::new(SlotPool { free: Mutex::new(Free { ranges, next_key: key }) })
    }

    /// A range of `len` slots. `None` if there is none, or if all keys have been used.
    pub fn take(self: &Arc<Self>, len: u32) -> Option<SlotRange> {
        let mut free = self.free.lock();
        let key = i32::try_from(free.next_key).ok()? as u32;
        let (&first, &room) = free.ranges.iter().find(|&(_, &room)| room >= len)?;
        free.ranges.remove(&first);
        if room > len {
            free.ranges.insert(first + len, room - len);
        }
        free.next_key += 1;
        Some(SlotRange { pool: self.clone(), span: SlotSpan { first, len, key, stores: 0 } })
    }

    fn give(&self, mut first: u32, mut len: u32) {
        let ranges = &mut self.free.lock().ranges;
        if let Some((&before, &room)) = ranges.range(..first).next_back()
            && before + room == first
        {
            ranges.remove(&before);
            (first, len) = (before, len + room);
        }
        if let Some(room) = ranges.remove(&(first + len)) {
            len += room;
        }
        ranges.insert(first, len);
    }
}

impl Drop for SlotRange {
    fn drop(&mut self) {
        self.pool.give(self.span.first, self.span.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_come_back_whole() {
        let pool = SlotPool::new(FIRST_SLOT, FIRST_KEY);
        let mut taken: Vec<SlotRange> = (1..=40).filter_map(|len| pool.take(len)).collect();
        let mut used: Vec<u32> = taken.iter().flat_map(|r| r.span.first..r.span.first + r.span.len).collect();
        used.sort_unstable();
        assert!(used.windows(2).all(|pair| pair[0] < pair[1]), "overlap");
        // In an order that makes holes on both sides.
        while taken.len() > 1 {
            taken.remove(taken.len() / 2);
            taken.remove(0);
        }
        drop(taken);
        let whole = pool.take(SLOTS as u32 - 1);
        assert_eq!(whole.as_ref().map(|range| range.span.first), Some(1));
        assert!(pool.take(1).is_none(), "nothing is left");
    }

    #[test]
    fn keys_are_given_out_once() {
        let pool = SlotPool::new(FIRST_SLOT, FIRST_KEY);
        let keys: Vec<u32> = (0..100).filter_map(|_| pool.take(3)).map(|range| range.span.key).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    }
}
