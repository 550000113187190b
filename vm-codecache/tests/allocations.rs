//! What the harts' and the compilers' threads do allocates nothing, once the cache has reached its
//! working size.
#![allow(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{code, config, stub};
use vm_codecache::{Cause, CodeCache, New, Reader, Zone};

struct Counting;

thread_local! {
    /// Calls of this thread, of `alloc` and of `dealloc`.
    static CALLS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

fn count(allocs: u64, frees: u64) {
    // The thread may be on its way out.
    let _ = CALLS.try_with(|calls| calls.set((calls.get().0 + allocs, calls.get().1 + frees)));
}

// SAFETY: hands everything to the system's allocator and only counts besides.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, 1);
        // SAFETY: the caller's promise; it came from `alloc` above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of the allocator that `f` makes.
fn calls(f: impl FnOnce()) -> (u64, u64) {
    let before = CALLS.get();
    f();
    let after = CALLS.get();
    (after.0 - before.0, after.1 - before.1)
}

const GPA: u64 = 0x8020_0000;
/// Addresses that take turns.
const ADDRESSES: u64 = 3000;

/// Publishes a translation with eight links and two entries, made from two granules.
fn publish(cache: &CodeCache<u64>, code: &[u8], address: u64) -> Option<u32> {
    let gpa = GPA + address * 64;
    let mut ticket = cache.reserve()?;
    (1..9).for_each(|i| _ = cache.link(&mut ticket, GPA + (address * 7 + i * 5) % ADDRESSES * 64));
    let pages = [(gpa & !0xfff, 1 << (gpa >> 6 & 63)), ((gpa & !0xfff) + 0x1000, 1)];
    let entries = [(gpa, 0), (gpa + 8, 32)];
    let zone = if address.is_multiple_of(3) { Zone::Long } else { Zone::Short };
    cache.publish(ticket, New { zone, code, entries: &entries, pages: &pages, meta: address, heat: 1 }).ok()
}

/// A hart's day: all addresses once.
fn round(cache: &CodeCache<u64>, reader: &mut Reader<u64>, code: &[u8]) -> u64 {
    let mut published = 0;
    for address in 0..ADDRESSES {
        let gpa = GPA + address * 64;
        let number = publish(cache, code, address);
        published += u64::from(number.is_some());
        let found = cache.lookup(gpa).is_some();
        if let Some(number) = number {
            assert!(found, "just published");
            assert_eq!(cache.meta(number, |&meta| meta), Some(address));
        }
        match address % 5 {
            0 => _ = cache.invalidate(gpa & !0xfff, 1 << (gpa >> 6 & 63), Cause::Store),
            1 => _ = number.is_some_and(|number| cache.kill(number, Cause::Engine)),
            2 => _ = cache.retain_page(gpa & !0xfff, |&meta| meta % 3 != 0, Cause::Fence),
            _ => {}
        }
        drop(cache.reserve());
        let _ = reader.repin();
    }
    published
}

/// Brings every list and table to the greatest size it can have here.
fn grow(cache: &CodeCache<u64>, code: &[u8]) {
    let mut ticket = cache.reserve().unwrap();
    for address in 0..ADDRESSES {
        let _ = [0, 8].map(|offset| cache.link(&mut ticket, GPA + address * 64 + offset));
    }
    let pages: Vec<_> = (0..=ADDRESSES / 64 + 1).map(|page| (GPA + page * 4096, u64::MAX)).collect();
    for zone in [Zone::Short, Zone::Long] {
        let mut addresses = (0..ADDRESSES).cycle();
        let full = |address| {
            let gpa = GPA + address * 64;
            let mut ticket = cache.reserve().unwrap();
            (0..10).for_each(|_| _ = cache.link(&mut ticket, gpa));
            let pages = if address == 0 { &pages[..] } else { &[(gpa & !0xfff, 7)] };
            cache.publish(ticket, New { zone, code, entries: &[(gpa, 0)], pages, meta: 0, heat: 1 }).is_err()
        };
        addresses.find(|&address| full(address));
    }
}

#[test]
fn the_life_of_a_translation_allocates_nothing() {
    let cache = Arc::new(CodeCache::<u64>::new(&config(16), stub as *const () as u64).unwrap());
    let code = code(1, 700);
    let stop = AtomicBool::new(false);
    grow(&cache, &code);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                cache.poll();
            }
        });
        let mut reader = cache.reader();
        reader.pin();
        (0..5).for_each(|_| _ = round(&cache, &mut reader, &code));
        // On a busy host the other thread may lag behind, and more than ever is on its way to be freed: then
        // there is room for more from there on.
        let window = |_| {
            let mut published = 0;
            let made = calls(|| published = (0..20).map(|_| round(&cache, &mut reader, &code)).sum());
            (published, made)
        };
        let mut windows = (0..100).map(window);
        let nothing = windows.find(|&(published, made)| published > ADDRESSES && made == (0, 0));
        stop.store(true, Ordering::Relaxed);
        assert!(nothing.is_some(), "each window of {ADDRESSES} translations had calls of the allocator");
    });
    assert!(cache.counters().short.sweeps > 0, "sweeps took part");
}

#[test]
fn collecting_allocates_once_an_epoch_and_not_per_translation() {
    let cache = CodeCache::<u64>::new(&config(16), stub as *const () as u64).unwrap();
    let code = code(1, 700);
    let (mut published, mut made) = (0, (0, 0));
    let mut rounds = |count: u64| {
        let epochs = cache.counters().epochs;
        (published, made) = (0, (0, 0));
        for address in (0..count).flat_map(|_| 0..ADDRESSES) {
            published += u64::from(publish(&cache, &code, address).is_some());
            if address % 50 == 0 {
                let (allocs, frees) = calls(|| while cache.poll() {});
                made = (made.0 + allocs, made.1 + frees);
            }
        }
        (published, made, cache.counters().epochs - epochs)
    };
    rounds(20);
    let (published, made, epochs) = rounds(20);
    assert!(published > 10 * ADDRESSES && epochs > 100, "{published} translations, {epochs} epochs");
    assert!(made.0 <= 8 * epochs && made.0 * 2 < published, "{made:?} in {epochs} epochs");
}
