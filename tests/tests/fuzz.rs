//! The bodies of the fuzz targets, over inputs from a generator: enough to know that they still run, hold and get
//! somewhere. What they are for is `tests/fuzz`. `FUZZ_SECONDS=n` runs each for so long, over other inputs.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use tests::fuzz::{TARGETS, Target};
use tests::host::repository;
use tests::random::Random;

/// Inputs of random bytes; fewer where they take long, but some.
const RANDOM: usize = 3000;
const LEAST: usize = 100;
const SLICE: Duration = Duration::from_secs(8);
/// Changed copies of each input that gets far.
const MUTATED: usize = 200;
/// Bytes of the longest input.
const LONGEST: usize = 2000;

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.word() as u8).collect()
}

/// A copy with some bytes changed, put in or taken out.
fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(4) {
            0 => input.truncate(at),
            1 => input.insert(at, random.word() as u8),
            _ if at < input.len() => input[at] = random.word() as u8,
            _ => input.extend(bytes(random, 4)),
        }
    }
    input
}

/// How long to run each target, if that was asked for.
fn seconds() -> Option<Duration> {
    let text = std::env::var("FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(text.parse().unwrap_or_else(|_| panic!("FUZZ_SECONDS: a number, not {text:?}"))))
}

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let Target { run, seeds, .. } = target;
    let mut random = Random::new(1);
    run(&[]);
    for seed in *seeds {
        run(seed);
        (0..MUTATED).for_each(|_| run(&mutate(&mut random, seed)));
    }
    let (start, slice) = (Instant::now(), seconds());
    let mut random = slice.map_or(random, |_| Random::new(RandomState::new().hash_one(0)));
    let enough = |n: usize| match slice {
        Some(slice) => start.elapsed() > slice,
        None => n >= RANDOM || n >= LEAST && start.elapsed() > SLICE,
    };
    for _ in (0..).take_while(|&n| !enough(n)) {
        let len = random.below(LONGEST);
        run(&bytes(&mut random, len));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                holds(stringify!($name));
            }
        )*
    };
}

targets! { aot blocks config decode loader tree walk }

#[test]
fn every_target_is_tested_and_has_its_file() {
    assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), TESTED);
    let files = std::fs::read_dir(repository("tests/fuzz/fuzz_targets")).expect("the targets' files");
    let files: BTreeSet<_> = files.map(|file| file.expect("an entry").file_name()).collect();
    let expected = TESTED.iter().chain(&["virtqueue"]).map(|name| format!("{name}.rs").into()).collect();
    assert_eq!(files, expected);
}
