//! The life of translations, as the engine sees it.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{STUB, cache, call, code, publish, retire_cells, target};
use vm_codecache::{Cause, CodeCache, Full, New, Zone};

const GPA: u64 = 0x8020_0000;

/// Counts how many are alive.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn settle<M: Send + Sync>(cache: &CodeCache<M>) {
    (0..20).for_each(|_| _ = cache.poll());
}

#[test]
fn a_link_leads_to_the_stub_then_to_the_code_then_back() {
    let cache = cache::<()>(8);
    let mut ticket = cache.reserve().unwrap();
    let cell = cache.link(&mut ticket, GPA);
    assert_eq!((call(cell), cache.lookup(GPA), cache.cell_of(GPA)), (STUB, None, Some(cell)));
    let number = publish(&cache, GPA, 42, ()).unwrap();
    assert_eq!((call(cell), cache.lookup(GPA)), (42, Some(cell)));
    assert!(cache.kill(number, Cause::Engine));
    assert_eq!((call(cell), cache.lookup(GPA), cache.cell_of(GPA)), (STUB, None, Some(cell)));
    drop(ticket);
    settle(&cache);
    assert_eq!(cache.cell_of(GPA), Some(cell), "it waits for more of its kind");
    retire_cells(&cache);
    settle(&cache);
    assert_eq!((cache.cell_of(GPA), cache.counters().cells), (None, 0));
}

#[test]
fn every_entry_leads_to_its_offset() {
    let cache = cache::<()>(8);
    let mut two = code(1, 16);
    two.extend(code(2, 16));
    let entries = [(GPA, 0), (GPA + 8, 16)];
    let new = New { zone: Zone::Long, code: &two, entries: &entries, pages: &[(GPA, 1)], meta: (), heat: 0 };
    let number = cache.publish(cache.reserve().unwrap(), new).unwrap();
    let cells = entries.map(|(gpa, _)| cache.lookup(gpa).unwrap());
    assert_eq!(cells.map(call), [1, 2]);
    assert_eq!(cache.invalidate(GPA, 1, Cause::Store), 1);
    assert_eq!(cells.map(call), [STUB, STUB]);
    assert!(!cache.kill(number, Cause::Store), "dead already");
}

#[test]
fn a_write_kills_what_was_made_from_its_granules_and_nothing_else() {
    let cache = cache::<()>(8);
    for granule in 0..64 {
        publish(&cache, GPA + granule * 64, granule as u32, ()).unwrap();
    }
    publish(&cache, GPA + 0x1000, 64, ()).unwrap();
    assert_eq!(cache.invalidate(GPA, 0b101 << 7, Cause::Dma), 2);
    let live = |i: &u64| cache.lookup(GPA + i * 64).is_some();
    assert_eq!((0..65).filter(|i| !live(i)).collect::<Vec<_>>(), [7, 9]);
    let both = [(GPA, u64::MAX), (GPA + 0x1000, 1)];
    assert_eq!(cache.invalidate_many(both.into_iter(), Cause::Store), 63);
    assert_eq!(cache.counters().killed[&Cause::Dma], 2);
}

#[test]
fn a_later_translation_replaces_an_older_one() {
    let cache = cache::<u32>(8);
    let first = publish(&cache, GPA, 1, 1).unwrap();
    let second = publish(&cache, GPA, 2, 2).unwrap();
    assert_eq!(call(cache.lookup(GPA).unwrap()), 2);
    settle(&cache);
    assert_eq!((cache.meta(first, |&m| m), cache.meta(second, |&m| m)), (None, Some(2)));
    assert_eq!(cache.counters().killed[&Cause::Replaced], 1);
}

#[test]
fn a_translation_with_an_entry_left_is_not_replaced() {
    let cache = cache::<()>(8);
    let entries = [(GPA, 0), (GPA + 8, 0)];
    let new =
        New { zone: Zone::Long, code: &code(1, 6), entries: &entries, pages: &[(GPA, 1)], meta: (), heat: 0 };
    cache.publish(cache.reserve().unwrap(), new).unwrap();
    publish(&cache, GPA, 2, ()).unwrap();
    assert_eq!(entries.map(|(gpa, _)| call(cache.lookup(gpa).unwrap())), [2, 1]);
    publish(&cache, GPA + 8, 3, ()).unwrap();
    assert_eq!(entries.map(|(gpa, _)| call(cache.lookup(gpa).unwrap())), [2, 3]);
    settle(&cache);
    assert_eq!(cache.counters().killed[&Cause::Replaced], 1);
}

#[test]
fn metadata_and_memory_go_after_the_epoch() {
    let cache = Arc::new(cache::<Counted>(8));
    let alive = Arc::default();
    let mut reader = cache.reader();
    reader.pin();
    let number = publish(&cache, GPA, 7, Counted::new(&alive)).unwrap();
    let cell = cache.lookup(GPA).unwrap();
    let entry = target(cell);
    assert_eq!(cache.resolve(entry + 5), Some(number));
    assert_eq!(cache.kill_all(Cause::Reset), 1);
    settle(&cache);
    assert_eq!(alive.load(Ordering::Relaxed), 1, "a pinned reader may still run it");
    assert_eq!(cache.resolve(entry + 5), Some(number));
    assert!(!reader.repin(), "the cell is there");
    settle(&cache);
    let _ = reader.repin();
    settle(&cache);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    assert_eq!((cache.resolve(entry + 5), cache.counters().translations), (None, 0));
    assert_eq!(cache.counters().cells, 1);
    retire_cells(&cache);
    settle(&cache);
    assert!(reader.repin(), "it was retired");
    settle(&cache);
    let _ = reader.repin();
    settle(&cache);
    assert_eq!(cache.counters().cells, 0);
}

#[test]
fn a_kick_asks_for_the_safepoint_while_a_grace_waits() {
    let cache = Arc::new(cache::<()>(8));
    let kicks = Arc::new(AtomicU32::new(0));
    let counted = kicks.clone();
    cache.set_kick(Box::new(move || _ = counted.fetch_add(1, Ordering::Relaxed)));
    settle(&cache);
    assert_eq!(kicks.load(Ordering::Relaxed), 0, "nothing died");
    let mut reader = cache.reader();
    reader.pin();
    publish(&cache, GPA, 1, ()).unwrap();
    cache.kill_all(Cause::Engine);
    settle(&cache);
    assert!(kicks.load(Ordering::Relaxed) > 0);
}

#[test]
fn dropped_tickets_give_everything_back() {
    let cache = cache::<()>(8);
    for _ in 0..1000 {
        let mut ticket = cache.reserve().unwrap();
        (0..10).for_each(|i| _ = cache.link(&mut ticket, GPA + i * 4));
    }
    retire_cells(&cache);
    settle(&cache);
    let counters = cache.counters();
    assert_eq!((counters.translations, counters.cells), (0, 0));
}

#[test]
fn fence_i_keeps_what_still_is_as_it_was() {
    let cache = cache::<u32>(8);
    for i in 0..10 {
        publish(&cache, GPA + i * 64, i as u32, i as u32).unwrap();
    }
    assert_eq!(cache.retain_page(GPA, |&meta| meta % 2 == 0, Cause::Fence), 5);
    assert!((0..10).all(|i| cache.lookup(GPA + i * 64).is_some() == (i % 2 == 0)));
}

#[test]
fn code_that_fits_no_segment_is_refused() {
    let cache = cache::<()>(8);
    let publish = |len: usize| {
        let code = vec![0xcc; len];
        let new = New { zone: Zone::Short, code: &code, entries: &[(GPA, 0)], pages: &[], meta: (), heat: 0 };
        cache.publish(cache.reserve().unwrap(), new)
    };
    assert_eq!(publish(0), Err(Full::Size(0)));
    assert_eq!(publish((64 << 10) + 1), Err(Full::Size((64 << 10) + 1)));
    assert!(publish(64 << 10).is_ok());
}

#[test]
fn what_does_not_hold_is_never_entered() {
    let cache = cache::<u32>(8);
    let old = publish(&cache, GPA, 1, 1).unwrap();
    let cell = cache.lookup(GPA).unwrap();
    let code = code(2, 64);
    let new =
        || New { zone: Zone::Short, code: &code, entries: &[(GPA, 0)], pages: &[(GPA, 2)], meta: 7, heat: 0 };
    let refused = cache.publish_if(cache.reserve().unwrap(), new(), |&meta| {
        assert_eq!((meta, call(cell)), (7, 1), "it is asked before anybody is led there");
        false
    });
    assert_eq!((refused, call(cell)), (Err(Full::Stale), 1));
    let number = cache.publish_if(cache.reserve().unwrap(), new(), |_| {
        assert_eq!(cache.invalidate(GPA, 2, Cause::Store), 1, "a write finds it already");
        true
    });
    assert_eq!((cache.kill(number.unwrap(), Cause::Store), call(cell)), (false, 1), "and has killed it");
    let number = cache.publish_if(cache.reserve().unwrap(), new(), |_| true).unwrap();
    assert_eq!((call(cell), cache.kill(old, Cause::Store)), (2, true));
    assert!(cache.kill(number, Cause::Store));
}
