//! `make bench`: vm-boot beside QEMU and native code, as a table of medians and ratios and as JSON.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::ahead::Ahead;
use tests::bench::backends::Backends;
use tests::bench::limits::{BESIDE, BOOT, COPY, DEMO, MICRO, OWN_CODE, limit, mean_limit};
use tests::bench::machine::{MACHINES, Machine};
use tests::bench::programs::Length;
use tests::bench::report::{Mean, Row, Samples, Unit, means, table};
use tests::bench::{
    ahead, backends, copy, crowded, debian, demo, latency, linux, programs, snapshot, switches,
};

/// Measures vm-boot beside QEMU 10 and native builds of the same programs.
#[derive(Parser)]
struct Arguments {
    /// Rounds; a figure is the median over them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only this: boot, ahead, debian, programs, interrupts, switches, cache, demo, micro, copy, snapshot, or the
    /// name of a program;
    /// may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// The programs do their work only once: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Write the figures to a file, as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
}

const PARTS: [&str; 11] = [
    "boot",
    "ahead",
    "debian",
    "programs",
    "interrupts",
    "switches",
    "cache",
    "demo",
    "micro",
    "copy",
    "snapshot",
];

/// What is to be measured.
struct Plan {
    parts: Vec<&'static str>,
    programs: Vec<String>,
    length: Length,
}

impl Plan {
    fn new(arguments: &Arguments) -> Result<Plan> {
        let (all, only) = (programs::names()?, &arguments.only);
        for name in only {
            let known = PARTS.contains(&name.as_str()) || all.contains(name);
            ensure!(
                known,
                "--only: expected one of {PARTS:?} or a program ({}), found {name}",
                all.join(" ")
            );
        }
        let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
        let programs = all.into_iter().filter(|name| wanted("programs") || wanted(name)).collect();
        let length = if arguments.quick { Length::Quick } else { Length::Full };
        Ok(Plan { parts: PARTS.into_iter().filter(|part| wanted(part)).collect(), programs, length })
    }

    fn has(&self, part: &str) -> bool {
        self.parts.contains(&part)
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
    groups: BTreeMap<String, String>,
    samples: Samples,
    /// What the first boot executed, translated.
    image: Option<Ahead>,
    /// What the programs executed, translated by each code generator.
    backends: Option<Backends>,
    /// What Debian executed until its login and from there to its end, translated.
    login: Option<Ahead>,
    /// What Debian's files hold, translated.
    unseen: Option<Ahead>,
    /// Of full length, or of whatever length was asked for.
    checksums: Checksums,
    quick_checksums: Checksums,
}

impl Bench {
    fn new(plan: Plan) -> Result<Bench> {
        let group = |name: &String| Ok((name.clone(), programs::group(name)?));
        let groups = plan.programs.iter().map(group).collect::<Result<_>>()?;
        let (checksums, quick_checksums) = Default::default();
        Ok(Bench {
            plan,
            groups,
            samples: Samples::default(),
            image: None,
            backends: None,
            login: None,
            unseen: None,
            checksums,
            quick_checksums,
        })
    }

    fn round(&mut self) -> Result<()> {
        for machine in MACHINES {
            let on = || format!("on {}", machine.name());
            self.boot(machine).with_context(on)?;
            self.demo(machine).with_context(on)?;
            self.guest_programs(machine).with_context(on)?;
            if self.plan.has("interrupts") {
                latency::measure(machine, &mut self.samples).with_context(on)?;
            }
        }
        self.native_programs()?;
        self.switches()?;
        if self.plan.has("debian") {
            debian::measure(&mut self.login, &mut self.samples).context("Debian")?;
        }
        if self.plan.has("ahead") {
            ahead::measure(&mut self.image, &mut self.samples).context("an image")?;
            backends::measure(&mut self.backends, self.plan.length, &mut self.samples)
                .context("images by LLVM and by Cranelift")?;
            ahead::measure_unseen(&mut self.unseen, &mut self.samples).context("an image of files")?;
        }
        if self.plan.has("cache") {
            crowded::measure(&mut self.samples).context("a small code cache")?;
        }
        if self.plan.has("snapshot") {
            snapshot::measure(&mut self.samples).context("snapshots")?;
        }
        self.copy()
    }

    fn boot(&mut self, machine: Machine) -> Result<()> {
        if self.plan.has("boot") {
            let boot = linux::boot(machine, &[])?;
            self.samples.add(BOOT, "cpu time", Unit::Ns, machine.name(), ns(boot.cpu));
            self.samples.add(BOOT, "wall time", Unit::Ns, machine.name(), ns(boot.wall));
        }
        Ok(())
    }

    fn demo(&mut self, machine: Machine) -> Result<()> {
        let who = machine.name();
        if self.plan.has("demo") {
            self.samples.add(DEMO, "time to the prompt", Unit::Ns, who, ns(demo::prompt(machine)?));
            let usage = demo::footprint(machine)?;
            self.samples.add(DEMO, "resident memory", Unit::Bytes, who, usage.rss as f64);
            self.samples.add(DEMO, "cpu time, boot to off", Unit::Ns, who, ns(usage.cpu));
        }
        if self.plan.has("micro") {
            for row in demo::micro(machine)? {
                self.samples.add(MICRO, &row.name, Unit::Ns, who, row.ns);
            }
        }
        Ok(())
    }

    fn guest_programs(&mut self, machine: Machine) -> Result<()> {
        if self.plan.programs.is_empty() {
            return Ok(());
        }
        let initramfs = linux::prepare(&self.plan.programs, self.plan.length)?;
        let runs = linux::run(machine, &initramfs, &[])?;
        let (ran, wanted) = (runs.len(), self.plan.programs.len());
        ensure!(ran == wanted, "expected results of {wanted} programs, found {ran}");
        let mut cpu = BTreeMap::new();
        for run in runs {
            self.checksums.check(&run.said.name, &run.said.checksum, machine.name())?;
            self.add_program(&run.said.name, machine.name(), run.host_cpu);
            cpu.insert(run.said.name, run.host_cpu);
        }
        if let (Some(beside), Some(apart)) = (cpu.get("store_beside_code"), cpu.get("store_apart")) {
            let times = beside.as_secs_f64() / apart.as_secs_f64();
            self.samples.add(OWN_CODE, BESIDE, Unit::Times, machine.name(), times);
        }
        Ok(())
    }

    fn native_programs(&mut self) -> Result<()> {
        for name in self.plan.programs.clone() {
            let (checksum, cpu) = programs::run_native(&name, self.plan.length)?;
            self.checksums.check(&name, &checksum, "this host")?;
            self.add_program(&name, "native", cpu);
        }
        Ok(())
    }

    fn add_program(&mut self, name: &str, who: &'static str, cpu: Duration) {
        let group = self.groups.get(name).map_or("programs", String::as_str);
        self.samples.add(group, name, Unit::Ns, who, ns(cpu));
    }

    fn switches(&mut self) -> Result<()> {
        if !self.plan.has("switches") {
            return Ok(());
        }
        let initramfs = linux::prepare(&programs::names()?, Length::Quick)?;
        let checksums = &mut self.quick_checksums;
        switches::measure(&initramfs, &mut self.samples, |run, with| {
            checksums.check(&run.said.name, &run.said.checksum, &format!("vm-boot {with}"))
        })
    }

    fn copy(&mut self) -> Result<()> {
        if self.plan.has("copy") {
            let copies = copy::measure()?;
            for (name, ours) in [("copy 1 KiB out", copies.read), ("copy 1 KiB in", copies.write)] {
                self.samples.add(COPY, name, Unit::Ns, "vm-boot", ours);
                self.samples.add(COPY, name, Unit::Ns, "native", copies.plain);
            }
        }
        Ok(())
    }
}

fn write_json(path: &Path, rows: &[Row], means: &[Mean], versions: &[String]) -> Result<()> {
    let json = serde_json::json!({ "versions": versions, "rows": rows, "means": means });
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, serde_json::to_string_pretty(&json)? + "\n")
        .with_context(|| path.display().to_string())
}

fn main() -> Result<()> {
    let (arguments, start) = (Arguments::parse(), Instant::now());
    let versions = MACHINES.iter().map(|m| m.version()).collect::<Result<Vec<_>>>()?;
    let mut bench = Bench::new(Plan::new(&arguments)?)?;
    for round in 1..=arguments.runs {
        eprintln!("round {round} of {}, {:.0} s so far", arguments.runs, start.elapsed().as_secs_f64());
        bench.round()?;
    }
    let rows = bench.samples.rows(limit);
    let means = means(&rows, mean_limit);
    println!("{}\nmedians of {} runs; CPU time of the whole process", versions.join("\n"), arguments.runs);
    println!("{}", table(&rows, &means));
    write_json(&arguments.json, &rows, &means, &versions)?;
    println!("figures: {}; {:.0} s", arguments.json.display(), start.elapsed().as_secs_f64());
    Ok(())
}
