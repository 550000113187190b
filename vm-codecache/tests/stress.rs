//! Publishing, linking, writing, sweeping and running, all at once, in a cache far too small.
//!
//! Each address is one thread's to publish and to invalidate, so that it knows which version of its
//! code may still run: what a hart gets through a cell is the stub's answer or one that was right when
//! the hart asked. `STRESS_SECONDS` makes it longer.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{STUB, call, code, config, jump, retire_cells, stub, target, touch};
use vm_codecache::{Cause, CodeCache, Config, New, Zone};

const GPA: u64 = 0x8020_0000;
const ADDRESSES: u32 = 4096;
/// Of so many neighbours the first answers, and each other jumps on to the one before it.
const CHAIN: u32 = 4;
const WRITERS: u32 = 2;
const HARTS: u32 = 2;
const VERSIONS: u32 = 1 << 16;

/// Counts the metadata that is alive.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct World {
    cache: Arc<CodeCache<Counted>>,
    /// Of each address, the first version that may still be run.
    floor: Vec<AtomicU32>,
    alive: Arc<AtomicU32>,
    stop: AtomicBool,
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % u64::from(n)) as u32
    }
}

fn gpa(address: u32) -> u64 {
    GPA + u64::from(address) * 32
}

fn granule(address: u32) -> (u64, u64) {
    (gpa(address) & !0xfff, 1 << (gpa(address) >> 6 & 63))
}

impl World {
    fn answer(address: u32, version: u32) -> u32 {
        (address / CHAIN) << 16 | (version % VERSIONS)
    }

    /// Publishes one address, as a leaf or as a jump to its neighbour.
    fn publish(&self, address: u32, version: u32, random: &mut Random) {
        let Some(mut ticket) = self.cache.reserve() else { return };
        let mut code = match address % CHAIN {
            0 => code(Self::answer(address, version), 6),
            _ => jump(self.cache.link(&mut ticket, gpa(address - 1))),
        };
        code.resize(64 + random.below(4000) as usize, 0xcc);
        self.alive.fetch_add(1, Ordering::Relaxed);
        let new = New {
            zone: if random.below(3) == 0 { Zone::Long } else { Zone::Short },
            code: &code,
            entries: &[(gpa(address), 0)],
            pages: &[granule(address)],
            meta: Counted(self.alive.clone()),
            heat: 1,
        };
        // Full is an answer too.
        let _ = self.cache.publish(ticket, new);
    }

    /// Publishes and invalidates the addresses that are its own.
    fn write(&self, me: u32) {
        let mut random = Random(me.into());
        let mut versions = vec![0; ADDRESSES as usize];
        while !self.stop.load(Ordering::Relaxed) {
            // Whole granules (two addresses) belong to one writer.
            let address = random.below(ADDRESSES / 2 / WRITERS) * 2 * WRITERS + me * 2 + random.below(2);
            let version = &mut versions[address as usize];
            if random.below(4) != 0 {
                self.publish(address, *version, &mut random);
                continue;
            }
            let (page, granules) = granule(address);
            let cause = if random.below(2) == 0 { Cause::Store } else { Cause::Dma };
            self.cache.invalidate(page, granules, cause);
            *version += 1;
            self.floor[address as usize].store(*version, Ordering::Release);
        }
    }

    /// Looks addresses up and runs what is there.
    fn run(&self, me: u32) -> u64 {
        let mut random = Random(1000 + u64::from(me));
        let mut reader = self.cache.reader();
        let mut right = 0;
        reader.pin();
        while !self.stop.load(Ordering::Relaxed) {
            // Some addresses are hotter than others.
            let spread = 1 + random.below(ADDRESSES);
            let address = random.below(spread);
            let leaf = address - address % CHAIN;
            let floor = self.floor[leaf as usize].load(Ordering::Acquire);
            if let Some(cell) = self.cache.lookup(gpa(address)) {
                if let Some(number) = self.cache.resolve(target(cell)) {
                    touch(&reader, number);
                }
                let answer = call(cell);
                let version = answer % VERSIONS;
                let fresh = version.wrapping_sub(floor) % VERSIONS < VERSIONS / 2;
                assert!(
                    answer == STUB || answer / VERSIONS == leaf / CHAIN && fresh,
                    "address {address} answered {answer:#x}, version {floor:#x} or later was right"
                );
                right += u64::from(answer != STUB);
            }
            match random.below(64) {
                0 => _ = reader.repin(),
                1 => {
                    reader.unpin();
                    thread::yield_now();
                    reader.pin();
                }
                _ => {}
            }
        }
        right
    }

    fn poll(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if !self.cache.poll() {
                thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

#[test]
fn harts_only_ever_run_the_right_code() {
    let seconds = std::env::var("STRESS_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let config = Config { window: Duration::from_millis(5), translations: 2000, ..config(16) };
    let world = World {
        cache: Arc::new(CodeCache::new(&config, stub as *const () as u64).unwrap()),
        floor: (0..ADDRESSES).map(|_| AtomicU32::new(0)).collect(),
        alive: Arc::default(),
        stop: AtomicBool::new(false),
    };
    let world = &world;
    let right: u64 = thread::scope(|scope| {
        let end = Instant::now() + Duration::from_secs(seconds);
        let harts: Vec<_> = (0..HARTS).map(|me| scope.spawn(move || world.run(me))).collect();
        let others = (0..WRITERS).map(|me| scope.spawn(move || world.write(me)));
        let mut others: Vec<_> = others.collect();
        others.push(scope.spawn(|| world.poll()));
        // Whoever fails, fails the test at once.
        while Instant::now() < end
            && !harts.iter().any(|h| h.is_finished())
            && !others.iter().any(|o| o.is_finished())
        {
            thread::sleep(Duration::from_millis(10));
        }
        world.stop.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().unwrap());
        harts.into_iter().map(|hart| hart.join().unwrap()).sum()
    });
    world.cache.kill_all(Cause::Reset);
    retire_cells(&world.cache);
    let settled = Instant::now() + Duration::from_secs(5);
    while world.cache.counters().translations + world.cache.counters().cells > 0 && Instant::now() < settled {
        world.cache.poll();
    }
    let counters = world.cache.counters();
    assert!(right > 1000, "too little was run: {right}");
    assert!(
        counters.short.sweeps > 10 && counters.long.sweeps > 10 && counters.promoted_bytes > 0,
        "{counters:?}"
    );
    assert!(counters.killed[&Cause::Store] > 100 && counters.killed[&Cause::Replaced] > 100, "{counters:?}");
    assert_eq!(world.alive.load(Ordering::Relaxed), 0, "metadata was leaked or dropped twice");
    assert_eq!((counters.translations, counters.live), (0, 0), "{counters:?}");
    assert_eq!((counters.cells, counters.granules), (0, 0), "{counters:?}");
}
