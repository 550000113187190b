//! A code cache that is too small: Debian boots and compiles a program, once with room for everything and once with
//! zones of a quarter of what lived in them then.

use super::limits::CACHE;
use super::report::{Samples, Unit};
use crate::debian::{Debian, Disk};
use crate::host::scratch;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// A source file of many functions, for a compiler that is itself some megabytes of code.
const SOURCE: &str = r#"for i in $(seq 40); do echo "int f$i(int a, int *b) { for (int i = 0; i < a; i++) \
b[i % 64] += a * $i ^ b[i & 31]; return b[a & 7] + (a > $i ? a / $i : b[3]); }"; done >many.c"#;
const WORK: &str =
    "for i in 1 2 3; do gcc -O2 -c many.c && python3 -c 'print(sum(i * i for i in range(100000)))'; done";

/// Zones are whole pieces of this size, and at least eight of them.
const PIECE: u64 = 64 << 10;

/// What a run took, and what it says of the cache.
struct Run {
    cpu: Duration,
    cache: Value,
}

impl Run {
    fn number(&self, path: &str) -> Result<u64> {
        self.cache.pointer(path).and_then(Value::as_u64).with_context(|| format!("no figure {path}"))
    }

    fn live(&self, zone: &str) -> Result<u64> {
        self.number(&format!("/{zone}/live"))
    }
}

fn run(jit: &str) -> Result<Run> {
    let (disk, file) = (Disk::new(), scratch("bench").join("stats.json"));
    let path = file.to_str().context("a path in UTF-8")?;
    let mut debian = Debian::boot(&disk.path(), "1", &["--jit", jit, "--stats-file", path]);
    debian.ask(SOURCE);
    debian.ask(WORK);
    let cpu = debian.0.cpu();
    debian.power_off();
    let all: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    Ok(Run { cpu, cache: all["cache"].clone() })
}

/// The size of a zone that holds a quarter.
fn quarter(live: u64) -> u64 {
    (live / 4).next_multiple_of(PIECE).max(8 * PIECE)
}

/// Adds what the small cache costs.
pub fn measure(samples: &mut Samples) -> Result<()> {
    let ample = run("on")?;
    let [short, long] = [quarter(ample.live("short")?), quarter(ample.live("long")?)];
    let small = run(&format!("on,short={short},long={long}"))?;
    ensure!(small.number("/killed/reset")? == 0, "the cache was flushed");
    let mut add = |name: &str, unit, value| samples.add(CACHE, name, unit, "vm-boot", value);
    add("speed", Unit::Times, ample.cpu.as_secs_f64() / small.cpu.as_secs_f64());
    add("pauses, p99.9", Unit::Ns, small.number("/pauses/p999")? as f64);
    add("pauses, max", Unit::Ns, small.number("/pauses/max")? as f64);
    add("lived with room for all", Unit::Bytes, (ample.live("short")? + ample.live("long")?) as f64);
    add("zones, short and long", Unit::Bytes, (short + long) as f64);
    add("resident at the end", Unit::Bytes, small.number("/resident")? as f64);
    add("sweeps", Unit::Count, (small.number("/short/sweeps")? + small.number("/long/sweeps")?) as f64);
    add("regretted", Unit::Bytes, small.number("/regretted_bytes")? as f64);
    Ok(())
}
