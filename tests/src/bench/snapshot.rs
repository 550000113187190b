//! Snapshots of Linux in 1 GiB: how long a busy machine rests for one, how much one on top of it holds, and how soon
//! one that is restored answers; beside QEMU's own.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use vm_boot::cli::RunArgs;
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::runtime::Runtime;

use super::limits::SNAPSHOT;
use super::linux::image;
use super::machine::Machine;
use super::report::{Samples, Unit};
use super::{savevm, warm};
use crate::host::vm_boot;
use crate::session::Session;

pub(super) const LIMIT: Duration = Duration::from_secs(120);
pub(super) const PROMPT: &str = "~ # ";
/// For how long it is busy before it is saved.
pub(super) const WORK: Duration = Duration::from_secs(2);
/// A second of little work each.
const LIGHT: &str = "for i in 0 1 2 3 4 5 6 7 8 9; do ls -l / >/tmp/list; sleep 1; done; echo do''ne\n";
/// Writes files of random bytes into memory, and reads them.
pub(super) const LOAD: &str =
    "(while :; do dd if=/dev/urandom of=/tmp/file bs=64k count=160 2>/dev/null; done) & echo bu''sy\n";

#[derive(Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Takes all samples once.
pub fn measure(samples: &mut Samples) -> Result<()> {
    let files = tempfile::tempdir()?;
    let [quiet, light, busy] = ["quiet", "light", "busy"].map(|name| files.path().join(name));
    let mut of = |machine: Machine, name: &str, unit, figure| {
        samples.add(SNAPSHOT, name, unit, machine.name(), figure);
    };
    let nanos = |time: Duration| time.as_secs_f64() * 1e9;
    let args = RunArgs {
        kernel: Some(image("Image")?),
        initrd: Some(image("initramfs.cpio")?),
        append: Some("console=ttyS0".to_owned()),
        ..RunArgs::default()
    };
    let printed = Printed::default();
    let console = Arc::new(Console::new(Box::new(printed.clone()))?);
    let consoles = Consoles { serial: console.clone(), virtio: None };
    let mut runtime = Runtime::new(MachineConfig::from_args(args)?, consoles)?;
    runtime.start()?;
    wait_for(&mut runtime, &printed, PROMPT)?;
    runtime.save(&quiet)?;
    console.push_input(LIGHT.as_bytes());
    runtime.machine().serial_ready();
    wait_for(&mut runtime, &printed, "done")?;
    let start = Instant::now();
    let saved = runtime.save_on(&light, Some(&quiet))?;
    of(Machine::VmBoot, "save on top, after 10 s of light work", Unit::Ns, nanos(start.elapsed()));
    of(Machine::VmBoot, "what it holds", Unit::Bytes, saved.memory as f64);
    console.push_input(LOAD.as_bytes());
    runtime.machine().serial_ready();
    wait_for(&mut runtime, &printed, "busy")?;
    run_for(&mut runtime, WORK)?;
    let start = Instant::now();
    runtime.save(&busy)?;
    of(Machine::VmBoot, "save of a busy machine", Unit::Ns, nanos(start.elapsed()));
    of(Machine::VmBoot, "the machine rests", Unit::Ns, nanos(runtime.rested()));
    drop(runtime);
    for (name, share) in warm::measure(files.path())? {
        of(Machine::VmBoot, &name, Unit::Times, share);
    }
    let (run, answer) = restore(&quiet, &files.path().join("stats.json"))?;
    of(Machine::VmBoot, "restore until harts run", Unit::Ns, nanos(run));
    of(Machine::VmBoot, "restore until it answers", Unit::Ns, nanos(answer));
    let qemu = savevm::measure(files.path())?;
    of(Machine::Qemu, "save of a busy machine", Unit::Ns, nanos(qemu.save));
    of(Machine::Qemu, "the machine rests", Unit::Ns, nanos(qemu.save));
    of(Machine::Qemu, "restore until it answers", Unit::Ns, nanos(qemu.answer));
    Ok(())
}

pub(super) fn wait_for(runtime: &mut Runtime, printed: &Printed, text: &str) -> Result<()> {
    let start = Instant::now();
    while !String::from_utf8_lossy(&printed.0.lock()).contains(text) {
        ensure!(start.elapsed() < LIMIT, "no `{text}` in time");
        run_for(runtime, Duration::from_millis(5))?;
    }
    printed.0.lock().clear();
    Ok(())
}

/// As the control plane does it.
pub(super) fn run_for(runtime: &mut Runtime, time: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        runtime.poll_events()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// From the start of the process: until the harts run, as it says itself, and until the shell has answered.
fn restore(dir: &Path, stats: &Path) -> Result<(Duration, Duration)> {
    let mut session =
        Session::start(Command::new(vm_boot()).arg("restore").arg(dir).arg("--stats-file").arg(stats));
    session.send("echo ans''wer\n");
    session.expect("answer", LIMIT);
    let answer = session.elapsed();
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    ensure!(code == Some(0), "a restored machine ended with {code:?}: {last}");
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(stats)?)?;
    let run = figures["cold_start_ns"].as_u64().context("no cold_start_ns in the figures")?;
    Ok((Duration::from_nanos(run), answer))
}
