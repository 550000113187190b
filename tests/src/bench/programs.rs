//! The bench programs of `tests/bench/guest`: built for the guest and for the host from the same source, and run
//! on the host.

use super::process::Process;
use crate::host::{program, repository, scratch};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const FLAGS: [&str; 7] =
    ["-O2", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-static", "-Wall"];

/// What a program is compiled for.
#[derive(Clone, Copy)]
pub enum Target {
    /// riscv64 Linux.
    Guest,
    /// This machine.
    Native,
}

/// How much a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A second or two on QEMU: what is hot has long been compiled.
    Full,
    /// Its work once.
    Quick,
}

impl Length {
    /// What the program is called with.
    pub fn argument(self) -> &'static str {
        match self {
            Length::Full => "full",
            Length::Quick => "quick",
        }
    }
}

/// A line `bench: NAME CHECKSUM CPU-NANOSECONDS WALL-NANOSECONDS` of a program. Its times are by the clock of the
/// machine it ran on, which a busy host stretches; the host's own view of that machine is what is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The program.
    pub name: String,
    /// Of its work; the same on every machine.
    pub checksum: String,
}

impl Measured {
    /// Takes a line of output apart; `None` if it is another line.
    pub fn parse(line: &str) -> Option<Measured> {
        let words: Vec<&str> = line.strip_prefix("bench: ")?.split_whitespace().collect();
        let [name, checksum, cpu, wall] = words[..] else { return None };
        let _: (u64, u64) = (cpu.parse().ok()?, wall.parse().ok()?);
        Some(Measured { name: name.to_string(), checksum: checksum.to_string() })
    }
}

/// All programs, in order of name.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository("tests/bench/guest"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "c") {
            names.push(path.file_stem().context("a name")?.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The group that a program's header comment names.
pub fn group(name: &str) -> Result<String> {
    let path = source(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let group = text.lines().find_map(|line| line.strip_prefix("// group: "));
    Ok(group.with_context(|| format!("{name}.c: expected a line `// group: …`"))?.to_string())
}

fn source(name: &str) -> PathBuf {
    repository("tests/bench/guest").join(format!("{name}.c"))
}

/// Compiles a program; gives the executable.
pub fn build(name: &str, target: Target) -> Result<PathBuf> {
    let (compiler, package, suffix) = match target {
        Target::Guest => ("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu", "riscv64"),
        Target::Native => ("gcc", "gcc", "native"),
    };
    let out = scratch("bench").join(format!("{name}.{suffix}"));
    let status = program(compiler, package)
        .args(FLAGS)
        .arg(format!("-DNAME=\"{name}\""))
        .arg("-o")
        .arg(&out)
        .arg(source(name))
        .status()?;
    if !status.success() {
        bail!("{compiler} of {name}.c: {status}");
    }
    Ok(out)
}

/// Runs a native build; gives its checksum and the CPU time of it and its children.
pub fn run_native(name: &str, length: Length) -> Result<(String, Duration)> {
    let path = build(name, Target::Native)?;
    let mut process = Process::start(Command::new(&path).arg(length.argument()))?;
    let mut result = None;
    while let Some(line) = process.line()? {
        result = result.or(Measured::parse(&line));
    }
    let usage = process.finish()?;
    let result =
        result.with_context(|| format!("{name}: expected a `bench:` line, exit code {:?}", usage.code))?;
    Ok((result.checksum, usage.cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_group() {
        let groups = ["integer", "floating point", "system", "own code"];
        for name in names().unwrap() {
            let group = group(&name).unwrap();
            assert!(groups.contains(&group.as_str()), "{name}: {group}");
        }
    }

    #[test]
    fn a_result_line_is_taken_apart() {
        let line = "bench: list 00ff 1500 1600";
        let expected = Measured { name: "list".into(), checksum: "00ff".into() };
        assert_eq!(Measured::parse(line), Some(expected));
        for other in ["bench: begin list", "list 00ff 1500 1600", "bench: list 00ff x 1600", ""] {
            assert_eq!(Measured::parse(other), None, "{other}");
        }
    }
}
