//! How long an interrupt takes from its cause to its handler in a hart that runs compiled code without end: the guest
//! program `interrupt_latency` measures it.

use super::limits::INTERRUPTS;
use super::machine::Machine;
use super::process::Process;
use super::report::{Samples, Unit};
use crate::guest::Program;
use anyhow::{Result, ensure};

/// A line `latency: NAME P50 P99 MAX ns` of the program.
fn parse(line: &str) -> Option<(&str, [f64; 3])> {
    let words: Vec<&str> = line.strip_prefix("latency: ")?.split_whitespace().collect();
    let [name, p50, p99, max, "ns"] = words[..] else { return None };
    Some((name, [p50.parse().ok()?, p99.parse().ok()?, max.parse().ok()?]))
}

/// Runs the program and adds what it says.
pub fn measure(machine: Machine, samples: &mut Samples) -> Result<()> {
    let mut process =
        Process::start(&mut machine.bare(&Program::read("interrupt_latency").build(), "2", "32M")?)?;
    let mut sources = 0;
    while let Some(line) = process.line()? {
        let Some((name, figures)) = parse(&line) else { continue };
        for (which, figure) in ["p50", "p99", "max"].iter().zip(figures) {
            samples.add(INTERRUPTS, &format!("{name}, {which}"), Unit::Ns, machine.name(), figure);
        }
        sources += 1;
    }
    let usage = process.finish()?;
    ensure!(
        sources == 2 && usage.code == Some(0),
        "found {sources} sources of interrupts, exit code {:?}",
        usage.code
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_their_line() {
        assert_eq!(parse("latency: ipi 1200 9000 23000 ns"), Some(("ipi", [1200.0, 9000.0, 23000.0])));
        assert_eq!(parse("latency: ipi 1200 9000 ns"), None);
        assert_eq!(parse("ipi 1 2 3 ns"), None);
    }
}
