//! Guest programs in pieces: saved at arbitrary moments, the first before anything, while it runs or paused, each
//! time by a machine that is then gone, and gone on with by another one; some on top of the one before, some packed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vm_boot::cli::RunArgs;
use vm_boot::cli::value::Jit;
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::runtime::{Command, Runtime, State};
use vm_boot::snapshot::{Asked, Opened};

use crate::random::Random;

const LIMIT: Duration = Duration::from_secs(120);
/// A program that runs for long is saved so often, and then left to run.
const SAVES: usize = 8;

/// How a run in pieces ended.
pub struct Ended {
    /// The guest's exit code.
    pub code: u8,
    /// All that was printed, by all machines.
    pub output: String,
    /// How often it was saved.
    pub saves: usize,
}

/// What all machines print.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the machine of `args` in pieces of microseconds to some milliseconds, with `jit` as its engine. Panics if it does
/// not end.
pub fn run(args: RunArgs, jit: &str, seed: u64) -> Ended {
    let jit = jit.parse::<Jit>().expect("an engine").0;
    let files = tempfile::tempdir().expect("temporary directory");
    let printed = Printed::default();
    let mut random = Random::new(seed);
    let mut config = MachineConfig { jit, ..MachineConfig::from_args(args).expect("options") };
    let has_disks = !config.disks.is_empty();
    let mut from = None;
    let mut last: Option<PathBuf> = None;
    for saves in 0.. {
        let dir = files.path().join(format!("{saves}"));
        let console = Arc::new(Console::new(Box::new(printed.clone())).expect("console"));
        let consoles = Consoles { serial: console.clone(), virtio: None };
        let mut runtime = Runtime::new(config, consoles).expect("a machine");
        match &from {
            None => runtime.start().expect("start"),
            Some(snapshot) => runtime.restore(snapshot).expect("restore"),
        }
        // Short enough for programs that take no longer than this in all.
        let length = Duration::from_micros(if saves == 0 { 0 } else { 10 << random.below(14) });
        if end_of(&mut runtime, if saves < SAVES { length } else { LIMIT }) {
            let code = runtime.exit_code();
            drop(runtime);
            console.close();
            let output = String::from_utf8_lossy(&printed.0.lock()).into_owned();
            return Ended { code, output, saves };
        }
        assert!(saves < SAVES, "no end within {LIMIT:?}:\n{}", String::from_utf8_lossy(&printed.0.lock()));
        // One that has ended at this very moment is not saved, and ends.
        // A machine that runs on until it is gone may write to its disk, which the next one would notice.
        let goes_on =
            !has_disks && random.chance(1, 2) || runtime.command(Command::Pause).expect("pause").is_ok();
        // On top of the one before, or alone.
        let base = last.as_deref().filter(|_| random.chance(1, 2));
        if goes_on && runtime.save_on(&dir, base).is_err() {
            let ended = end_of(&mut runtime, LIMIT);
            assert!(ended, "neither saved nor ended");
            let output = String::from_utf8_lossy(&printed.0.lock()).into_owned();
            return Ended { code: runtime.exit_code(), output, saves };
        }
        drop(runtime);
        console.close();
        let snapshot = Opened::open(&dir).expect("what was saved");
        last = Some(dir);
        let snapshot_zstd = random.chance(1, 4);
        config = MachineConfig {
            jit,
            snapshot_zstd,
            ..snapshot.config(&Asked::default()).expect("the same machine")
        };
        from = Some(snapshot);
    }
    unreachable!("the loop has no end of its own")
}

/// Lets it run for so long; whether it has ended.
fn end_of(runtime: &mut Runtime, length: Duration) -> bool {
    let start = Instant::now();
    loop {
        runtime.poll_events().expect("events");
        if runtime.state() == State::Stopped {
            return true;
        }
        let left = length.saturating_sub(start.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_micros(100)));
    }
}

/// The options of a machine with so much of everything.
pub fn machine(kernel: &Path, cpus: &str, memory: &str, disk: Option<&Path>) -> RunArgs {
    RunArgs {
        kernel: Some(kernel.to_owned()),
        cpus: Some(cpus.parse().expect("a number of harts")),
        memory: Some(memory.parse().expect("a size")),
        disk: disk.iter().map(|disk| disk.display().to_string().parse().expect("a disk")).collect(),
        serial: Some("none".parse().expect("a place")),
        ..RunArgs::default()
    }
}
