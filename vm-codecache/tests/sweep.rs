//! What sweeps keep, move, drop and free.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{call, code, config, publish, stub, target, touch};
use vm_codecache::{Cause, CodeCache, Config, Full, New, Reader, Zone};

const GPA: u64 = 0x8020_0000;
/// Segments of the zones here have 64 KiB.
const SEGMENT: usize = 64 << 10;

fn cache(config: &Config) -> Arc<CodeCache<()>> {
    Arc::new(CodeCache::new(config, stub as *const () as u64).unwrap())
}

/// Windows of a millisecond.
fn short_windows(segments: usize) -> Config {
    Config { window: Duration::from_millis(1), ..config(segments) }
}

/// What a translation is published with.
const HEAT: u32 = 100;

fn publish_in(cache: &CodeCache<()>, zone: Zone, gpa: u64, len: usize) -> Result<u32, Full> {
    let ticket = cache.reserve().ok_or(Full::Lists)?;
    let code = code(gpa as u32, len);
    let pages = [(gpa & !0xfff, 1)];
    cache
        .publish(ticket, New { zone, code: &code, entries: &[(gpa, 0)], pages: &pages, meta: (), heat: HEAT })
}

/// Polls until there is an answer, at most ten seconds: how much one poll does depends on the clock.
fn patiently<T>(cache: &CodeCache<()>, mut answer: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        cache.poll();
        if let Some(answer) = answer() {
            return Some(answer);
        }
    }
    None
}

/// Publishes once there is room.
fn publish_patiently(cache: &CodeCache<()>, zone: Zone, gpa: u64, len: usize) -> u32 {
    patiently(cache, || publish_in(cache, zone, gpa, len).ok()).expect("there is room in time")
}

/// Enters each of `numbers` once in each of some windows.
fn heat_up(cache: &CodeCache<()>, reader: &Reader<()>, numbers: &[u32], windows: u64) {
    let end = cache.counters().windows + windows;
    while cache.counters().windows < end {
        numbers.iter().for_each(|&n| touch(reader, n));
        cache.poll();
    }
}

#[test]
fn a_stream_of_cold_code_leaves_the_hot_set_alone() {
    for zone in [Zone::Short, Zone::Long] {
        let cache = cache(&short_windows(8));
        let reader = cache.reader();
        // One in ten stays hot.
        let first: Vec<u32> = (0..300).map(|i| publish_patiently(&cache, zone, GPA + i * 4, 1000)).collect();
        let hot: Vec<u32> = first.into_iter().step_by(10).collect();
        let start = Instant::now();
        let mut cold = 0;
        while cold < 4000 || start.elapsed() < Duration::from_millis(20) {
            hot.iter().for_each(|&n| touch(&reader, n));
            publish_patiently(&cache, zone, GPA + 0x10_0000 + cold * 4, 1000);
            cold += 1;
        }
        for i in (0..300).step_by(10) {
            let cell = cache.lookup(GPA + i * 4);
            assert_eq!(cell.map(call), Some((GPA + i * 4) as u32), "{zone:?}: hot code {i}");
        }
        let counters = cache.counters();
        let zone = if zone == Zone::Short { &counters.short } else { &counters.long };
        assert!(zone.sweeps > 20 && zone.usage.max_used <= zone.usage.size);
        assert!(counters.killed[&Cause::Swept] > 3000);
    }
}

#[test]
fn survivors_are_promoted_and_lie_in_the_order_of_their_heat() {
    let cache = cache(&short_windows(8));
    let reader = cache.reader();
    let numbers: Vec<u32> =
        (0..100).map(|i| publish_in(&cache, Zone::Short, GPA + i * 4, 640).unwrap()).collect();
    // The more windows one is entered in, the hotter it is: every second of them, in reverse.
    let hot: Vec<usize> = (0..100).step_by(2).rev().collect();
    for count in (1..=hot.len()).rev().step_by(10) {
        heat_up(&cache, &reader, &hot[..count].iter().map(|&i| numbers[i]).collect::<Vec<_>>(), 2);
    }
    let mut all: Vec<u32> = hot.iter().map(|&i| numbers[i]).collect();
    let place = |i: usize| cache.lookup(GPA + i as u64 * 4).map(target);
    let before: Vec<u64> = hot.iter().filter_map(|&i| place(i)).collect();
    // Fill the zone with what is all hot.
    for filler in 0..6 {
        all.push(publish_in(&cache, Zone::Short, GPA + 0x10_0000 + filler * 4, SEGMENT).unwrap());
        heat_up(&cache, &reader, &all, 2);
    }
    assert_eq!(cache.counters().short.sweeps, 1);
    let survivors: Vec<u64> = hot.iter().filter_map(|&i| place(i)).collect();
    assert_eq!(survivors.len(), 50);
    assert!(survivors.iter().all(|new| !before.contains(new)), "all were moved");
    for (group, pieces) in survivors.chunks(10).enumerate() {
        let next = survivors.get(group * 10 + 10..).unwrap_or(&[]);
        assert!(
            pieces.iter().all(|a| next.iter().all(|b| a < b)),
            "group {group} is hotter than what follows"
        );
    }
    assert_eq!(survivors.iter().max().unwrap() - survivors.iter().min().unwrap(), 49 * 640, "no gaps");
    assert!((0..100).step_by(2).all(|i| cache.resolve(place(i).unwrap() + 5) == Some(numbers[i])));
    assert!((1..100).step_by(2).all(|i| place(i).is_none()), "what was cold is gone");
}

#[test]
fn the_stable_zone_is_never_swept() {
    let cache = cache(&short_windows(4));
    (0..4).for_each(|i| _ = publish_in(&cache, Zone::Stable, GPA + i * 4, SEGMENT).unwrap());
    assert_eq!(publish_in(&cache, Zone::Stable, GPA + 400, 64), Err(Full::Zone(64)));
    for i in 0..500 {
        publish_patiently(&cache, Zone::Short, GPA + 0x10_0000 + i * 4, 4000);
    }
    assert!((0..4).all(|i| cache.lookup(GPA + i * 4).is_some()));
    assert_eq!(cache.counters().stable.sweeps, 0);
    heat_up(&cache, &cache.reader(), &[], 20);
    let mut heats = Vec::new();
    cache.each_live(|number, heat, ()| heats.extend((number <= 4).then_some(heat)));
    assert_eq!(heats, [HEAT; 4], "what they were published with, though nothing was executed for long");
}

#[test]
fn numbers_running_out_start_a_sweep_too() {
    let cache = cache(&Config { translations: 100, ..short_windows(8) });
    let reader = cache.reader();
    let mut numbers = Vec::new();
    for i in 0..1000 {
        // All of them are hot.
        numbers.iter().for_each(|&n| touch(&reader, n));
        numbers.push(publish_patiently(&cache, Zone::Short, GPA + i * 4, 64));
    }
    assert!(cache.counters().live <= 100);
}

#[test]
fn what_was_swept_and_comes_back_is_regretted() {
    let cache = cache(&short_windows(4));
    let zone = 4 * SEGMENT as u64;
    let fill = || {
        for i in 0..2 * zone / 4096 {
            publish_patiently(&cache, Zone::Short, GPA + i * 4, 4096);
        }
    };
    fill();
    assert_eq!(cache.counters().regretted_bytes, 0);
    fill();
    let counters = cache.counters();
    assert!(counters.regretted_bytes >= zone && counters.regretted_bytes <= counters.swept_bytes);
}

#[test]
fn a_pinned_reader_delays_the_memory_but_not_the_sweep() {
    let cache = cache(&short_windows(4));
    let mut reader = cache.reader();
    reader.pin();
    let full = (0..).find(|i| {
        cache.poll();
        publish_in(&cache, Zone::Short, GPA + i * 4, 4096).is_err()
    });
    assert_eq!(full, Some(4 * SEGMENT as u64 / 4096));
    let swept = patiently(&cache, || (cache.counters().swept_bytes > 0).then_some(()));
    assert_eq!(swept, Some(()));
    (0..100).for_each(|_| _ = cache.poll());
    assert!(publish_in(&cache, Zone::Short, GPA, 4096).is_err(), "the reader may be in any of it");
    let published = patiently(&cache, || {
        let _ = reader.repin();
        publish_in(&cache, Zone::Short, GPA, 4096).ok()
    });
    assert!(published.is_some());
}

#[test]
fn the_memory_of_dead_segments_goes_back() {
    let cache = cache(&config(8));
    for i in 0..6 {
        publish(&cache, GPA + i * 4, 1, ()).unwrap();
        publish_in(&cache, Zone::Long, GPA + 0x1000 + i * 4, SEGMENT).unwrap();
    }
    assert_eq!(cache.counters().long.usage.used, 6 * SEGMENT);
    cache.kill_all(Cause::Reset);
    (0..10).for_each(|_| _ = cache.poll());
    let counters = cache.counters();
    // The open segment stays.
    assert_eq!((counters.long.usage.used, counters.segments_freed), (SEGMENT, 5));
}
