//! The demo guest: how long its prompt takes, what the machine needs for it, and its micro-benchmarks.

use super::machine::{Guest, Machine};
use super::process::{Process, Usage};
use crate::host::repository;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::time::Duration;

const MEMORY: &str = "8M";

/// A line `bench: NAME VALUE UNIT` of the guest.
#[derive(Debug, PartialEq)]
pub struct Micro {
    /// The operation.
    pub name: String,
    /// How long it takes, in nanoseconds.
    pub ns: f64,
}

/// Takes a line of output apart; `None` if it is another line, or says that the measurement failed.
pub fn parse(line: &str) -> Option<Micro> {
    let words: Vec<&str> = line.strip_prefix("bench: ")?.split_whitespace().collect();
    let [name, value, unit] = words[..] else { return None };
    let ns_per_unit = match unit {
        "ns" => 1.0,
        "s" => 1e9,
        _ => return None,
    };
    let ns = value.parse::<f64>().ok().filter(|v| *v >= 0.0)? * ns_per_unit;
    Some(Micro { name: name.to_string(), ns })
}

fn start(machine: Machine, append: &str) -> Result<Process> {
    let kernel: PathBuf = repository("images/demo/demo.bin");
    let guest = Guest { kernel: &kernel, initrd: None, append, memory: MEMORY, disk: None, options: &[] };
    Process::start(&mut machine.command(&guest)?)
}

/// Wall time from the start of the process to the prompt.
pub fn prompt(machine: Machine) -> Result<Duration> {
    let mut process = start(machine, "")?;
    process.wait_for("demo> ")?;
    let wall = process.elapsed();
    process.kill()?;
    Ok(wall)
}

/// What the machine uses to boot it in 8 MiB of RAM and end.
pub fn footprint(machine: Machine) -> Result<Usage> {
    let usage = start(machine, "run=info;exit 0")?.finish()?;
    if usage.code != Some(0) {
        bail!("{}: expected exit code 0 of the demo guest, found {:?}", machine.name(), usage.code);
    }
    Ok(usage)
}

/// Its micro-benchmarks.
pub fn micro(machine: Machine) -> Result<Vec<Micro>> {
    let mut process = start(machine, "run=bench;exit 0")?;
    let mut rows = Vec::new();
    while let Some(line) = process.line()? {
        if line.starts_with("bench: ") {
            let Some(row) = parse(&line) else { bail!("{}: {line}", machine.name()) };
            rows.push(row);
        }
    }
    process.finish()?;
    if rows.is_empty() {
        bail!("{}: the demo guest printed no micro-benchmark", machine.name());
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_benchmarks_are_read_with_their_unit() {
        let expect = |name: &str, ns| Some(Micro { name: name.to_string(), ns });
        assert_eq!(parse("bench: sfence_all 35.5 ns"), expect("sfence_all", 35.5));
        assert_eq!(parse("bench: million 1.5 s"), expect("million", 1.5e9));
        assert_eq!(parse("bench: sfence_all failed"), None);
        assert_eq!(parse("bench: x -1 ns"), None);
        assert_eq!(parse("bench: x 1 apples"), None);
    }
}
