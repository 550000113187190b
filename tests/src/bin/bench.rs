//! `make bench`: vm-boot beside QEMU and native code, as a table of medians and ratios and as JSON.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::bench::machine::{MACHINES, Machine};
use tests::bench::report::{Limit, Samples, Unit, table};
use tests::bench::{copy, demo, linux, programs};

const BOOT: &str = "boot to the busybox shell";
const PROGRAMS: &str = "programs under Linux";
const DEMO: &str = "demo guest in 8 MiB";
const MICRO: &str = "demo guest, inside";
const COPY: &str = "guest memory";

/// Measures vm-boot beside QEMU 10 and native builds of the same programs.
#[derive(Parser)]
struct Arguments {
    /// Rounds; a figure is the median over them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only this: boot, programs, demo, micro, copy, or the name of a program; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Write the figures to a file, as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
}

/// What is to be measured.
struct Plan {
    boot: bool,
    demo: bool,
    micro: bool,
    copy: bool,
    programs: Vec<String>,
}

impl Plan {
    fn new(only: &[String]) -> Result<Plan> {
        let all = programs::names()?;
        let groups = ["boot", "programs", "demo", "micro", "copy"];
        for name in only {
            let known = groups.contains(&name.as_str()) || all.contains(name);
            ensure!(
                known,
                "--only: expected one of {groups:?} or a program ({}), found {name}",
                all.join(" ")
            );
        }
        let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
        let programs = all.into_iter().filter(|name| wanted("programs") || wanted(name)).collect();
        Ok(Plan {
            boot: wanted("boot"),
            demo: wanted("demo"),
            micro: wanted("micro"),
            copy: wanted("copy"),
            programs,
        })
    }
}

/// What must hold, by row.
fn limit(group: &str, name: &str) -> Option<Limit> {
    match (group, name) {
        (BOOT, "cpu time") => Some(Limit::TimesQemu(3.0)),
        (DEMO, "time to the prompt") => Some(Limit::Most(1e9)),
        (DEMO, "resident memory") => Some(Limit::Most(f64::from(32 << 20))),
        (MICRO, "fence_i") => Some(Limit::Most(50.0)),
        (MICRO, name) if name.starts_with("sfence_") || name.starts_with("satp_") => Some(Limit::Most(100.0)),
        (MICRO, "million_ecall_sfence") => Some(Limit::Most(0.5e9)),
        (MICRO, "million_ecall_page_tables") => Some(Limit::TimesQemu(0.2)),
        (COPY, _) => Some(Limit::AboveNative(10.0)),
        _ => None,
    }
}

fn ns(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Checksums by program: the first one is what all others must be.
#[derive(Default)]
struct Checksums(BTreeMap<String, String>);

impl Checksums {
    fn check(&mut self, program: &str, checksum: &str, who: &str) -> Result<()> {
        let first = self.0.entry(program.to_string()).or_insert_with(|| checksum.to_string());
        ensure!(first == checksum, "{program} on {who}: expected checksum {first}, found {checksum}");
        Ok(())
    }
}

struct Bench {
    plan: Plan,
    initramfs: Option<PathBuf>,
    samples: Samples,
    checksums: Checksums,
}

impl Bench {
    fn round(&mut self) -> Result<()> {
        for machine in MACHINES {
            let on = || format!("on {}", machine.name());
            self.boot(machine).with_context(on)?;
            self.demo(machine).with_context(on)?;
            self.guest_programs(machine).with_context(on)?;
        }
        self.native_programs()?;
        self.copy()
    }

    fn boot(&mut self, machine: Machine) -> Result<()> {
        if self.plan.boot {
            let boot = linux::boot(machine)?;
            self.samples.add(BOOT, "cpu time", Unit::Ns, machine.name(), ns(boot.cpu));
            self.samples.add(BOOT, "wall time", Unit::Ns, machine.name(), ns(boot.wall));
        }
        Ok(())
    }

    fn demo(&mut self, machine: Machine) -> Result<()> {
        let who = machine.name();
        if self.plan.demo {
            self.samples.add(DEMO, "time to the prompt", Unit::Ns, who, ns(demo::prompt(machine)?));
            let usage = demo::footprint(machine)?;
            self.samples.add(DEMO, "resident memory", Unit::Bytes, who, usage.rss as f64);
            self.samples.add(DEMO, "cpu time, boot to off", Unit::Ns, who, ns(usage.cpu));
        }
        if self.plan.micro {
            for row in demo::micro(machine)? {
                self.samples.add(MICRO, &row.name, Unit::Ns, who, row.ns);
            }
        }
        Ok(())
    }

    fn guest_programs(&mut self, machine: Machine) -> Result<()> {
        let Some(initramfs) = &self.initramfs else { return Ok(()) };
        let runs = linux::run(machine, initramfs)?;
        let (ran, wanted) = (runs.len(), self.plan.programs.len());
        ensure!(ran == wanted, "expected results of {wanted} programs, found {ran}");
        for run in runs {
            self.checksums.check(&run.said.name, &run.said.checksum, machine.name())?;
            self.samples.add(PROGRAMS, &run.said.name, Unit::Ns, machine.name(), ns(run.host_cpu));
        }
        Ok(())
    }

    fn native_programs(&mut self) -> Result<()> {
        for name in &self.plan.programs {
            let (checksum, cpu) = programs::run_native(name)?;
            self.checksums.check(name, &checksum, "this host")?;
            self.samples.add(PROGRAMS, name, Unit::Ns, "native", ns(cpu));
        }
        Ok(())
    }

    fn copy(&mut self) -> Result<()> {
        if self.plan.copy {
            let copies = copy::measure()?;
            for (name, ours) in [("copy 1 KiB out", copies.read), ("copy 1 KiB in", copies.write)] {
                self.samples.add(COPY, name, Unit::Ns, "vm-boot", ours);
                self.samples.add(COPY, name, Unit::Ns, "native", copies.plain);
            }
        }
        Ok(())
    }
}

fn write_json(path: &Path, rows: &[tests::bench::report::Row], versions: &[String]) -> Result<()> {
    let json = serde_json::json!({ "versions": versions, "rows": rows });
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, serde_json::to_string_pretty(&json)? + "\n")
        .with_context(|| path.display().to_string())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan::new(&arguments.only)?;
    let versions = MACHINES.iter().map(|m| m.version()).collect::<Result<Vec<_>>>()?;
    let initramfs = (!plan.programs.is_empty()).then(|| linux::prepare(&plan.programs)).transpose()?;
    let samples = Samples::default();
    let mut bench = Bench { plan, initramfs, samples, checksums: Checksums::default() };
    for round in 1..=arguments.runs {
        eprintln!("round {round} of {}", arguments.runs);
        bench.round()?;
    }
    let rows = bench.samples.rows(limit);
    println!("{}\nmedians of {} runs; CPU time of the whole process", versions.join("\n"), arguments.runs);
    println!("{}", table(&rows));
    write_json(&arguments.json, &rows, &versions)?;
    println!("figures: {}", arguments.json.display());
    Ok(())
}
