//! What the cache costs, and that it neither grows nor fragments: `cargo bench -p vm-codecache`, with
//! the number of translations to publish and drop if 10 million are too many.
#![allow(unsafe_code, reason = "stores heat as generated code does")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vm_codecache::{Cause, CodeCache, Config, Counters, Index, New, Zone};

const GPA: u64 = 0x8020_0000;
/// Never entered here.
const STUB: u64 = 0x1000;
const SEGMENT: usize = 64 << 10;

fn main() {
    let total = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(10_000_000);
    hashing();
    lookups();
    metadata();
    births_and_deaths();
    churn(total);
}

/// Nanoseconds that each of `count` calls takes, best of five.
fn nanos(count: u64, mut f: impl FnMut(u64)) -> f64 {
    let run = |f: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        (0..count).for_each(f);
        start.elapsed().as_nanos() as f64 / count as f64
    };
    (0..5).map(|_| run(&mut f)).fold(f64::INFINITY, f64::min)
}

fn hashing() {
    // As every table does: the slot of a key. The loop and the key's change cost the same without it.
    let mut sum = 0u64;
    let plain = nanos(50_000_000, |i| sum = sum.wrapping_add(black_box(GPA + i * 2)));
    let hashed =
        nanos(50_000_000, |i| sum = sum.wrapping_add(vm_codecache::hash(black_box(GPA + i * 2)) >> 44));
    black_box(sum);
    println!("hash                      {:6.2} ns (with its loop {hashed:.2})", (hashed - plain).max(0.0));
}

fn cache(config: &Config) -> Arc<CodeCache<u64>> {
    Arc::new(CodeCache::new(config, STUB).expect("a cache"))
}

fn publish(cache: &CodeCache<u64>, zone: Zone, gpa: u64, code: &[u8], links: u64) -> Option<u32> {
    let mut ticket = cache.reserve()?;
    (1..=links).for_each(|i| _ = black_box(cache.link(&mut ticket, gpa + i * 64)));
    let pages = [(gpa & !0xfff, 1 << (gpa >> 6 & 63))];
    cache.publish(ticket, New { zone, code, entries: &[(gpa, 0)], pages: &pages, meta: gpa, heat: 1 }).ok()
}

fn lookups() {
    for keys in [1000u64, 100_000] {
        let cache = cache(&Config::default());
        let mut plain = Index::default();
        for i in 0..keys {
            publish(&cache, Zone::Stable, GPA + i * 64, &[0xc3; 16], 0).expect("room");
            plain.insert(GPA + i * 64, i as u32);
        }
        (0..keys).for_each(|_| _ = cache.poll());
        let key = |i: u64| GPA + (i.wrapping_mul(0x9e37_79b9) % keys) * 64;
        let shared = nanos(5_000_000, |i| _ = black_box(cache.lookup(key(i))));
        let alone = nanos(5_000_000, |i| _ = black_box(plain.get(key(i))));
        let counters = cache.counters();
        let found: u64 = counters.probe_lengths.iter().sum();
        let probes: u64 = counters.probe_lengths.iter().zip(1..).map(|(count, length)| count * length).sum();
        println!(
            "lookup of {keys:6} addresses{shared:6.2} ns, mean probe {:.3} (index of one hart: {alone:.2} ns)",
            probes as f64 / found as f64
        );
    }
}

fn metadata() {
    let cache = cache(&Config::default());
    let mut held: Vec<_> = (0..1000).map(|_| cache.reserve()).collect();
    held.clear();
    let mut taken = f64::INFINITY;
    for _ in 0..1000 {
        let start = Instant::now();
        held.extend((0..1000).map(|_| cache.reserve()));
        taken = taken.min(start.elapsed().as_nanos() as f64 / 1000.0);
        held.clear();
    }
    println!("metadata of a translation {taken:6.2} ns to allocate");
}

fn births_and_deaths() {
    let cache = cache(&Config::default());
    let code = [0xc3; 512];
    let address = |i: u64| GPA + i % 10_000 * 64;
    let (mut born, mut died, mut found) = (Duration::ZERO, Duration::ZERO, 0);
    for i in 0..300_000 {
        let start = Instant::now();
        found += u64::from(publish(&cache, Zone::Short, address(i), &code, 4).is_some());
        let published = Instant::now();
        cache.invalidate(address(i) & !0xfff, 1 << (address(i) >> 6 & 63), Cause::Store);
        died += published.elapsed();
        born += published - start;
        if i % 1000 == 0 {
            while cache.poll() {}
        }
    }
    let each = |time: Duration| time.as_nanos() / 300_000;
    println!(
        "publish, 512 bytes, 4 links {:4} ns; invalidate {} ns ({found} published)",
        each(born),
        each(died)
    );
}

/// Publishes `total` translations into zones far too small for them, and drops them: by writes, by
/// sweeps, by being replaced.
fn churn(total: u64) {
    let mib = 1 << 20;
    let window = Duration::from_millis(20);
    let config = Config {
        short: 2 * mib,
        long: 4 * mib,
        segment: SEGMENT,
        translations: 1 << 15,
        window,
        ..Config::default()
    };
    let cache = cache(&config);
    let (stop, delay) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| hart(&cache, &stop, &delay));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if !cache.poll() {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        });
        let code = [0xc3; 2048];
        let (start, mut published, mut refused) = (Instant::now(), 0, 0u64);
        let mut residents = Vec::new();
        println!("churn of {total} translations in {} MiB:", (config.short + config.long) / mib);
        while published < total {
            // 128 to 2048 bytes; addresses come back, some sooner than others.
            let random = (published + refused).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let gpa = GPA + (random % 65_536) * (1 + published % 4) * 32;
            let zone = if random.is_multiple_of(8) { Zone::Long } else { Zone::Short };
            let bytes = 128 << (random >> 20 & 3);
            if publish(&cache, zone, gpa, &code[..bytes], 2).is_none() {
                refused += 1;
                std::thread::sleep(Duration::from_micros(20));
                continue;
            }
            published += 1;
            if published.is_multiple_of(4) {
                cache.invalidate(gpa & !0xfff, 1 << (gpa >> 6 & 63), Cause::Store);
            }
            if published.is_multiple_of((total / 10).max(1)) {
                report(&cache.counters(), published, start, refused);
                residents.push(resident());
            }
        }
        let growth =
            residents.last().zip(residents.first()).map_or(0, |(last, first)| last.saturating_sub(*first));
        verdict("resident memory after the first tenth grows by", growth >> 10, 1024, "KiB");
        stop.store(true, Ordering::Relaxed);
    });
    let counters = cache.counters();
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    println!(
        "  pauses (invalidations) p50 {:.1} p99.9 {:.1} max {:.1} µs; lookup beside all that max {:.1} µs",
        micros(counters.pauses.p50),
        micros(counters.pauses.p999),
        micros(counters.pauses.max),
        micros(delay.load(Ordering::Relaxed))
    );
    verdict("pauses, p99.9", counters.pauses.p999 / 1000, 1000, "us");
    println!(
        "  sweeps {} p99.9 {:.1} µs, epochs {} p99.9 {:.1} µs, poll p99.9 {:.1} µs",
        counters.short.sweeps + counters.long.sweeps,
        micros(counters.sweep_time.p999),
        counters.epochs,
        micros(counters.epoch_time.p999),
        micros(counters.poll_time.p999)
    );
    println!(
        "  promoted {} KiB, compacted {} KiB, swept {} MiB, regretted {} MiB; killed {:?}",
        counters.promoted_bytes >> 10,
        counters.compacted_bytes >> 10,
        counters.swept_bytes >> 20,
        counters.regretted_bytes >> 20,
        counters.killed
    );
    drop_all(&cache);
}

/// Looks addresses up, enters some translations, passes its safepoint; notes the longest lookup.
fn hart(cache: &Arc<CodeCache<u64>>, stop: &AtomicBool, delay: &AtomicU64) {
    let mut reader = cache.reader();
    reader.pin();
    let address = |at: u64| GPA + (at >> 8) % 65_536 * 32;
    let mut at = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for number in 1..500 {
            at = at.wrapping_add(0x9e37_79b9);
            black_box(cache.lookup(address(at)));
            // SAFETY: the array has a byte for each number and lives as long as the reader.
            let byte = unsafe { AtomicU8::from_ptr(reader.touched().add(number).cast_mut()) };
            byte.store(1, Ordering::Relaxed);
        }
        let start = Instant::now();
        black_box(cache.lookup(address(at)));
        let _ = reader.repin();
        delay.fetch_max(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn report(counters: &Counters, published: u64, start: Instant, refused: u64) {
    let used = counters.short.usage.used + counters.long.usage.used;
    let live = counters.short.usage.live + counters.long.usage.live;
    println!(
        "  {published:8} published {:5.1} s: resident {:5} KiB, arena {:5} KiB, zones use {:4} KiB, live {:4} KiB in {:5}, cells {:5}, {refused} refused",
        start.elapsed().as_secs_f64(),
        resident() >> 10,
        counters.resident >> 10,
        used >> 10,
        live >> 10,
        counters.live,
        counters.cells,
    );
}

/// Kills everything: all segments but the open ones have to come back.
fn drop_all(cache: &CodeCache<u64>) {
    cache.kill_all(Cause::Reset);
    // Cells that nothing refers to wait for more of their kind.
    if let Some(mut ticket) = cache.reserve() {
        (1..=1 << 14).for_each(|i| _ = cache.link(&mut ticket, i << 40));
    }
    let end = Instant::now() + Duration::from_secs(10);
    while cache.counters().translations + cache.counters().cells > 0 && Instant::now() < end {
        cache.poll();
    }
    let counters = cache.counters();
    println!(
        "  all killed: {} translations, {} cells, {} granules left, zones use {} KiB (open segments), arena holds {} KiB",
        counters.translations,
        counters.cells,
        counters.granules,
        (counters.short.usage.used + counters.long.usage.used) >> 10,
        counters.resident >> 10,
    );
    verdict("translations, cells and granules left", left(&counters), 0, "");
}

fn left(counters: &Counters) -> u64 {
    counters.translations + counters.cells + counters.granules
}

/// Says whether a figure is what it has to be.
fn verdict(what: &str, found: u64, most: u64, unit: &str) {
    let holds = if found <= most { "holds" } else { "MISSED" };
    println!("  {holds}: {what} {found} {unit}, at most {most}");
}

/// Resident bytes of this process. The arena's pages do not count as nobody here runs them.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}
