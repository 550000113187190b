//! The index grows step by step: neither who looks an address up nor who adds one waits for all of it to be moved.

mod common;

use std::time::{Duration, Instant};

use common::stub;
use vm_codecache::{CodeCache, Config};

const GPA: u64 = 0x8020_0000;
const ADDRESSES: usize = 200_000;
/// What a host does in between hits another address each time.
const REPEATS: usize = 5;

/// To move a table of so many addresses at once would take milliseconds.
const LIMIT: Duration = Duration::from_micros(100);

#[test]
fn neither_a_lookup_nor_an_addition_stalls_while_the_index_grows() {
    let mut shortest = vec![[Duration::MAX; 2]; ADDRESSES];
    for _ in 0..REPEATS {
        let cache = CodeCache::<()>::new(&Config::default(), stub as *const () as u64).unwrap();
        let mut ticket = cache.reserve().unwrap();
        for (i, shortest) in (0u64..).zip(&mut shortest) {
            let start = Instant::now();
            cache.link(&mut ticket, GPA + i * 2);
            let added = Instant::now();
            let known = GPA + i.wrapping_mul(0x9e37_79b9) % (i + 1) * 2;
            assert!(cache.cell_of(known).is_some(), "{known:#x} with {i} addresses");
            *shortest = [shortest[0].min(added - start), shortest[1].min(added.elapsed())];
        }
    }
    for (which, what) in ["addition", "lookup"].into_iter().enumerate() {
        let (at, longest) =
            shortest.iter().map(|times| times[which]).enumerate().max_by_key(|&(_, t)| t).unwrap();
        assert!(longest < LIMIT, "{what} number {at} took {longest:?} in the best of {REPEATS} runs");
    }
}
