//! The table that `--stats` and the monitor print: a subject a line.

use std::collections::BTreeMap;
use std::fmt::Write;

use vm_codecache::{Counters, Durations, ZoneCounters};
use vm_cpu::jit::JitStats;
use vm_mmu::TlbStats;

use super::{Hart, Metrics};

/// How many of the instructions that helpers carry out are worth a word.
const HELPED: usize = 6;

/// See the module.
pub fn of(metrics: &Metrics) -> String {
    let (mut text, sum) = (Lines::default(), sum(&metrics.harts));
    machine(&mut text, metrics, &sum);
    execution(&mut text, &sum);
    traps(&mut text, &sum);
    lockstep(&mut text, &sum);
    match &metrics.compiler {
        Some(compiler) => compilation(&mut text, compiler, metrics.cpu_ns),
        None => text.line("compiler", "off"),
    }
    metrics.cache.iter().for_each(|cache| code_cache(&mut text, cache));
    text.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, subject: &str, what: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{subject:<12} {what}");
    }
}

fn machine(text: &mut Lines, metrics: &Metrics, sum: &Hart) {
    let running = (metrics.uptime_ns * metrics.harts.len() as u64).saturating_sub(sum.sleep_ns);
    text.line(
        "machine",
        format_args!(
            "up {}, cpu {}, cold start {}; {} hart(s), asleep {} of their time",
            time(metrics.uptime_ns),
            time(metrics.cpu_ns),
            time(metrics.cold_start_ns),
            metrics.harts.len(),
            share(sum.sleep_ns, metrics.uptime_ns * metrics.harts.len() as u64),
        ),
    );
    let memory = &metrics.memory;
    let own = memory.own_resident.map_or_else(|| "unknown".to_owned(), bytes);
    text.line(
        "memory",
        format_args!("guest {}, touched {}; own {own}", bytes(memory.guest), bytes(memory.guest_resident)),
    );
    for region in &memory.regions {
        text.line(
            "region",
            format_args!(
                "{:#x} {}, {}: resident {}, touched {} by {} first touches",
                region.start,
                bytes(region.size),
                region.backend,
                bytes(region.resident),
                bytes(region.touched),
                count(region.faults),
            ),
        );
    }
    text.line(
        "host faults",
        format_args!("{} minor, {} major", count(memory.minor_faults), count(memory.major_faults)),
    );
    text.line(
        "instructions",
        format_args!(
            "{}, {:.0} million a second awake; compiled {}, of that ahead {}; interpreted {}",
            count(sum.instructions),
            sum.instructions as f64 * 1e3 / running.max(1) as f64,
            share(sum.compiled, sum.instructions),
            share(sum.ahead, sum.instructions),
            share(sum.interpreted, sum.instructions),
        ),
    );
}

fn execution(text: &mut Lines, sum: &Hart) {
    let each = sum.compiled / sum.entries.max(1);
    text.line(
        "entries",
        format_args!(
            "{} into compiled code, {each} instructions each; {} times on after a trap; left for {}",
            count(sum.entries),
            count(sum.chained),
            shares(&sum.leaves)
        ),
    );
    text.line("helpers", named(&sum.helpers));
    let mut helped: Vec<(&String, &u64)> = sum.helped.iter().collect();
    helped.sort_by_key(|&(_, count)| std::cmp::Reverse(*count));
    let most: BTreeMap<String, u64> = helped.iter().take(HELPED).map(|&(op, n)| (op.clone(), *n)).collect();
    text.line("helped most", named(&most));
    text.line(
        "dispatcher",
        format_args!(
            "{} lookups, {} not in the jump cache; {} blocks of {} instructions decoded",
            count(sum.lookups),
            share(sum.jump_cache_misses, sum.lookups),
            count(sum.decoded_blocks),
            count(sum.decoded_instructions),
        ),
    );
    let TlbStats { fills, borrows, flush_all, flush_asid, flush_page, .. } = sum.tlb;
    text.line(
        "soft-tlb",
        format_args!(
            "{} misses, {:.2} per 1000 instructions; fences: {} full, {} by ASID, {} by page",
            count(fills + borrows),
            (fills + borrows) as f64 * 1e3 / sum.instructions.max(1) as f64,
            count(flush_all),
            count(flush_asid),
            count(flush_page),
        ),
    );
}

fn traps(text: &mut Lines, sum: &Hart) {
    text.line("exceptions", named(&sum.exceptions));
    text.line(
        "exits",
        format_args!(
            "{} interrupts, {} SBI calls, {} device accesses in {}, {} sleeps; {} stores beside code",
            count(sum.interrupts),
            count(sum.sbi_calls),
            count(sum.device_accesses),
            time(sum.device_ns),
            count(sum.sleeps),
            count(sum.stores_beside_code),
        ),
    );
}

fn lockstep(text: &mut Lines, sum: &Hart) {
    if sum.lockstep_steps > 0 {
        let (steps, insns) = (sum.lockstep_steps, sum.lockstep_instructions);
        text.line("lock-step", format_args!("{} steps, {} instructions", count(steps), count(insns)));
    }
}

fn compilation(text: &mut Lines, stats: &JitStats, cpu_ns: u64) {
    text.line(
        "compiler",
        format_args!(
            "{} regions, {} instructions to {} in {} ({:.1} us an instruction, {} of the cpu)",
            count(stats.regions),
            count(stats.insns),
            bytes(stats.bytes),
            time(stats.nanoseconds),
            stats.nanoseconds as f64 / 1e3 / stats.insns.max(1) as f64,
            share(stats.nanoseconds, cpu_ns),
        ),
    );
    let quick = &stats.quick;
    text.line(
        "quick tier",
        format_args!(
            "{} units, {} instructions to {} in {} ({:.1} us an instruction, {} of the cpu)",
            count(quick.units),
            count(quick.insns),
            bytes(quick.bytes),
            time(quick.nanoseconds),
            quick.nanoseconds as f64 / 1e3 / quick.insns.max(1) as f64,
            share(quick.nanoseconds, cpu_ns),
        ),
    );
    text.line(
        "queue",
        format_args!(
            "{} wait, {} at most; waited {}; compiled {}; {} refused, {} covered, {} crowded, {} stale, {} failed",
            stats.queued,
            stats.queued_max,
            durations(&stats.waiting),
            durations(&stats.compiling),
            count(stats.refused),
            count(stats.covered),
            count(stats.crowded),
            count(stats.stale),
            count(stats.failed),
        ),
    );
}

fn code_cache(text: &mut Lines, cache: &Counters) {
    for (name, zone) in [("short", &cache.short), ("long", &cache.long), ("stable", &cache.stable)] {
        let ZoneCounters { usage, published, full, sweeps, .. } = zone;
        text.line(
            &format!("zone {name}"),
            format_args!(
                "size {}, used {}, max_used {}, free {}, live {}; {} published, {} full, {} sweeps",
                bytes(usage.size as u64),
                bytes(usage.used as u64),
                bytes(usage.max_used as u64),
                bytes(usage.free as u64),
                bytes(usage.live as u64),
                count(*published),
                count(*full),
                count(*sweeps),
            ),
        );
    }
    let killed = cache.killed.iter().map(|(cause, n)| (format!("{cause:?}").to_lowercase(), *n)).collect();
    text.line(
        "cache",
        format_args!(
            "{} live of {} published, {} resident; killed: {}",
            count(cache.live),
            count(cache.published),
            bytes(cache.resident),
            named(&killed)
        ),
    );
    text.line(
        "sweeps",
        format_args!(
            "promoted {}, compacted {}, swept {}, regretted {}; {}",
            bytes(cache.promoted_bytes),
            bytes(cache.compacted_bytes),
            bytes(cache.swept_bytes),
            bytes(cache.regretted_bytes),
            durations(&cache.sweep_time),
        ),
    );
    let found: u64 = cache.probe_lengths.iter().sum();
    let probes: u64 = cache.probe_lengths.iter().zip(1..).map(|(count, length)| count * length).sum();
    text.line(
        "pauses",
        format_args!(
            "{}; epochs {}; mean probe {:.2}",
            durations(&cache.pauses),
            durations(&cache.epoch_time),
            probes as f64 / found.max(1) as f64
        ),
    );
}

/// All harts as one.
fn sum(harts: &[Hart]) -> Hart {
    let mut sum = Hart::default();
    for hart in harts {
        sum.add(hart);
    }
    sum
}

fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"], " ")
}

fn count(n: u64) -> String {
    if n < 10_000 { n.to_string() } else { scaled(n as f64, 1000.0, &["", "k", "M", "G", "T"], "") }
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        n if n < 60_000_000_000 => scaled(n as f64, 1000.0, &["ns", "us", "ms", "s"], " "),
        n => format!("{:.0} s", n as f64 / 1e9),
    }
}

/// A number of three digits or so, with the unit that makes it one.
fn scaled(mut value: f64, step: f64, units: &[&str], space: &str) -> String {
    let mut units = units.iter().peekable();
    let mut unit = units.next().copied().unwrap_or_default();
    let first = unit;
    while value >= step && units.peek().is_some() {
        value /= step;
        unit = units.next().copied().unwrap_or_default();
    }
    let digits = if unit == first { 0 } else { usize::from(value < 100.0) + usize::from(value < 10.0) };
    format!("{value:.digits$}{space}{unit}")
}

fn share(part: u64, of: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / of.max(1) as f64)
}

fn shares(counts: &BTreeMap<String, u64>) -> String {
    let all = counts.values().sum();
    join(counts, |n| share(n, all))
}

fn named(counts: &BTreeMap<String, u64>) -> String {
    join(counts, count)
}

/// The counts that are not 0, greatest first.
fn join(counts: &BTreeMap<String, u64>, say: impl Fn(u64) -> String) -> String {
    let mut pairs: Vec<_> = counts.iter().filter(|&(_, n)| *n != 0).collect();
    pairs.sort_by_key(|&(_, n)| std::cmp::Reverse(*n));
    let said: Vec<String> = pairs.into_iter().map(|(name, n)| format!("{name} {}", say(*n))).collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

fn durations(of: &Durations) -> String {
    format!("{} times, p50 {}, p99.9 {}, max {}", count(of.count), time(of.p50), time(of.p999), time(of.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_a_fitting_unit() {
        assert_eq!([bytes(0), bytes(1536), bytes(48 << 20)], ["0 B", "1.50 KiB", "48.0 MiB"]);
        assert_eq!([count(9999), count(12_345), count(1_800_000_000)], ["9999", "12.3k", "1.80G"]);
        assert_eq!([time(999), time(1500), time(90_000_000_000)], ["999 ns", "1.50 us", "90 s"]);
        assert_eq!([share(1, 3), share(0, 0)], ["33.3 %", "0.0 %"]);
    }

    #[test]
    fn counts_are_named_greatest_first_and_zeros_left_out() {
        let counts = [("a", 1), ("b", 0), ("c", 3)].map(|(name, n)| (name.to_owned(), n)).into();
        assert_eq!(shares(&counts), "c 75.0 %, a 25.0 %");
        assert_eq!(named(&BTreeMap::new()), "none");
    }

    #[test]
    fn harts_add_up() {
        let hart = Hart { instructions: 2, leaves: [("sync".to_owned(), 3)].into(), ..Hart::default() };
        let sum = sum(&[hart.clone(), hart]);
        assert_eq!((sum.instructions, sum.leaves["sync"]), (4, 6));
    }
}
