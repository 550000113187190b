//! Debian on four harts under load that checks itself (`tests/stress`), with code compiled in the background into a
//! cache that is far too small, so that translations are made, linked, swept and made again all the time.
//!
//! It lasts some seconds; `STRESS_SECONDS=600` makes it ten minutes.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tests::debian::{Debian, Disk, LIMIT, disk_option};
use tests::host::{program, repository, scratch};

const SECONDS: u64 = 15;
const WORKERS: u32 = 8;
/// Words of a kernel that is not well.
const TROUBLE: &str =
    "dmesg | grep -Ei 'oops|kernel bug|rcu.*stall|soft lockup|segfault|unhandled signal|call trace' | cat";

/// The program, for the guest. It comes as a disk: its bytes, and zeros to the end of the last sector.
fn build() -> PathBuf {
    const FLAGS: &str =
        "-O2 -std=gnu11 -Wall -Wextra -Werror -static -pthread -ffp-contract=off -fno-math-errno -o";
    let (path, image) = (scratch("stress").join("stress"), scratch("stress").join("stress.img"));
    let mut gcc = program("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu");
    gcc.args(FLAGS.split(' ')).arg(&path).arg(repository("tests/stress/stress.c"));
    assert!(gcc.status().expect("gcc").success(), "{gcc:?}");
    let mut bytes = std::fs::read(path).expect("what gcc made");
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    std::fs::write(&image, bytes).expect("an image");
    image
}

#[test]
fn load_on_four_harts_with_a_cache_too_small_ends_clean() {
    let seconds =
        std::env::var("STRESS_SECONDS").map_or(SECONDS, |text| text.parse().expect("STRESS_SECONDS"));
    let (disk, figures) = (Disk::new(), scratch("stress").join("stats.json"));
    let program = format!("{},ro", disk_option(&build()));
    let options = ["--disk", &program, "--jit", "on,threshold=1000,short=512K,long=768K", "--stats-file"];
    let options = [&options[..], &[figures.to_str().expect("a path in ASCII")]].concat();
    let mut debian = Debian::boot(&disk.path(), "4", &options);
    debian.ask("cat /dev/vdb >stress; chmod +x stress");
    let said =
        debian.ask_for(&format!("./stress {seconds} {WORKERS}"), LIMIT + Duration::from_secs(2 * seconds));
    assert!(said.contains(" rounds, no failures"), "{said}");
    eprintln!("{}", said.trim());
    let trouble = debian.ask(TROUBLE);
    assert_eq!(trouble.trim(), "", "what the kernel says");
    debian.power_off();
    disk.check();

    let figures: Value = serde_json::from_slice(&std::fs::read(figures).expect("figures")).expect("JSON");
    let cache = &figures["cache"];
    let number = |path: &str| cache.pointer(path).and_then(Value::as_u64).expect(path);
    eprintln!("cache: {cache:#}");
    assert!(number("/long/sweeps") > 10, "the cache was too small");
    // Once as the machine was switched on, when there was nothing to forget.
    assert_eq!(number("/killed/reset"), 0, "nothing flushes everything");
}
