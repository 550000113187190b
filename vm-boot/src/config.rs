//! A machine as it was asked for, checked as a whole: what is impossible is refused here, by name,
//! before anything is opened.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use vm_cpu::config::{CpuConfig, CpuConfigError};
use vm_cpu::jit::JitConfig;
use vm_devices::map::VIRTIO_SLOTS;

use crate::cli::value::{Aot, Disk, Memory, Serial, Virtio};
use crate::cli::{DEFAULT_DIR, DemoArgs, Mode, Ram, RunArgs, Switch};
use crate::loader::{Blob, Payload};

const MEMORY: u64 = 1 << 30;
/// As little as a guest of its size asks for.
const DEMO_MEMORY: u64 = 8 << 20;
static DEMO: &[u8] = include_bytes!("../../images/demo/demo.bin");

/// Everything that describes a machine.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// What it runs.
    pub payload: Payload,
    /// Command line of the kernel.
    pub append: Option<String>,
    /// Bytes of RAM.
    pub memory: u64,
    /// What it is on the host.
    pub ram: Ram,
    /// Whether the host may keep equal pages once.
    pub ksm: bool,
    /// Number of harts.
    pub cpus: usize,
    /// What the harts implement.
    pub cpu: CpuConfig,
    /// Disks, with their transport decided.
    pub disks: Vec<Disk>,
    /// Register layout of virtio devices.
    pub virtio: Virtio,
    /// Whether there is a random number device.
    pub rng: bool,
    /// Where the serial port is connected.
    pub serial: Serial,
    /// Where the virtio console is connected; there is one unless this is nowhere.
    pub virtio_console: Serial,
    /// How the optimising engine is used, if it is.
    pub jit: Option<JitConfig>,
    /// Whether to print what the machine has done, at the end.
    pub stats: bool,
    /// Where to write the same as JSON.
    pub stats_file: Option<PathBuf>,
    /// Image of code that was translated ahead.
    pub aot: Option<Aot>,
    /// Directory of the keys that are trusted to sign one.
    pub aot_trust: Option<PathBuf>,
    /// One in how many entries into its code is compared with the interpreter.
    pub aot_canary: Option<u64>,
    /// Where to write what code has run, at the end.
    pub profile: Option<PathBuf>,
    /// How often to write it before.
    pub profile_every: Option<Duration>,
    /// Text on a console at which a snapshot is taken, after which the machine ends.
    pub snapshot_on: Option<String>,
    /// Where snapshots go.
    pub snapshot_dir: PathBuf,
    /// The snapshot that they stand on, if they do not stand alone.
    pub snapshot_base: Option<PathBuf>,
    /// Whether memory is packed in them.
    pub snapshot_zstd: bool,
    /// Whether they hold code.
    pub snapshot_code: bool,
    /// Image of the code that a snapshot holds.
    pub code: Option<PathBuf>,
    /// Device tree to use instead of the generated one.
    pub dtb: Option<PathBuf>,
    /// Where to write the device tree instead of starting.
    pub dump_dtb: Option<PathBuf>,
}

/// Where trusted keys are if nothing else is said.
pub const TRUST_DIR: &str = "keys";

/// Why options do not make a machine together.
#[derive(Debug, Error)]
pub enum UsageError {
    /// Nothing to run.
    #[error("expected --kernel or --firmware, found neither; `vm-boot demo` needs no files")]
    Nothing,
    /// An initrd for nobody.
    #[error("--initrd is for a kernel; give --kernel too")]
    InitrdAlone,
    /// The mode is firmware's to decide.
    #[error("--mode is for a kernel without firmware; leave out --mode or --firmware")]
    ModeWithFirmware,
    /// The guest cannot tell them apart.
    #[error("--disk: two disks have the id {0:?}; give each its own")]
    SameId(String),
    /// They would overwrite each other.
    #[error("--disk: {} is given twice; only disks that all are `ro` or `overlay` may share a file", .0.display())]
    SameFile(PathBuf),
    /// More devices than transports.
    #[error("expected at most {VIRTIO_SLOTS} virtio devices, found {0}: leave some out, or say --rng off")]
    TooManyDevices(usize),
    /// One terminal, two consoles.
    #[error("--serial and --virtio-console cannot both be stdio; say --serial none, or another place")]
    TwoOnStdio,
    /// It would appear at once.
    #[error("--snapshot-on: expected a text to wait for, found none")]
    NoMarker,
    /// What other harts store would be taken for a difference.
    #[error("--jit on,lockstep=…: expected one hart, found --cpus {0}")]
    LockstepHarts(usize),
    /// There is nowhere to write it.
    #[error("--profile-every: expected --profile FILE as well")]
    ProfileEvery,
    /// The interpreter alone runs no image, and translates nothing that a profile could tell of.
    #[error("--aot and --profile: expected --jit on, found off")]
    AheadWithoutJit,
    /// What is tried and taken back would be seen.
    #[error("--aot-canary: expected one hart and no virtio console, found more")]
    CanarySeen,
    /// It has a file already.
    #[error("--ram file: a machine that goes on from a snapshot has its memory in the snapshot's file")]
    RamOfSnapshot,
    /// The CPU cannot be built so.
    #[error("--cpu: {0}")]
    Cpu(#[from] CpuConfigError),
}

impl MachineConfig {
    /// Checks the options and fills in the defaults.
    pub fn from_args(args: RunArgs) -> Result<Self, UsageError> {
        let cpu = match &args.cpu {
            Some(text) => CpuConfig::parse(text)?,
            None => CpuConfig::default(),
        };
        let virtio_console = args.virtio_console.unwrap_or(Serial::None);
        let serial = if virtio_console == Serial::Stdio { Serial::None } else { Serial::Stdio };
        let blob = |path: Option<PathBuf>| path.map(Blob::File);
        let config = Self {
            payload: Payload {
                kernel: blob(args.kernel),
                initrd: blob(args.initrd),
                firmware: blob(args.firmware),
                mode: args.mode.unwrap_or(Mode::Auto),
            },
            append: args.append,
            memory: args.memory.map_or(MEMORY, |memory| memory.0),
            ram: args.host.ram.unwrap_or_default(),
            ksm: args.host.ksm,
            cpus: args.cpus.map_or(1, |cpus| cpus.0),
            cpu,
            disks: args.disk,
            virtio: args.virtio.unwrap_or(Virtio::V2),
            rng: args.rng != Some(Switch::Off),
            serial: args.serial.unwrap_or(serial),
            virtio_console,
            jit: args.jit.map_or_else(|| Some(JitConfig::default()), |jit| jit.0),
            stats: args.stats,
            stats_file: args.stats_file,
            aot: args.aot,
            aot_trust: args.aot_trust,
            aot_canary: args.aot_canary.map(NonZeroU64::get),
            profile: args.profile,
            profile_every: args.profile_every.map(|seconds| Duration::from_secs(seconds.get().into())),
            snapshot_on: args.snapshot.snapshot_on,
            snapshot_dir: args.snapshot.snapshot_dir.unwrap_or_else(|| DEFAULT_DIR.into()),
            snapshot_base: args.snapshot.snapshot_base,
            snapshot_zstd: args.snapshot.snapshot_zstd,
            snapshot_code: args.snapshot.snapshot_code != Some(Switch::Off),
            code: None,
            dtb: args.dtb,
            dump_dtb: args.dump_dtb,
        };
        config.check()?;
        Ok(config)
    }

    /// The machine of the embedded guest.
    pub fn demo(args: DemoArgs) -> Result<Self, UsageError> {
        let DemoArgs { memory, cpus, cpu, append, jit, stats } = args;
        let kernel = Some(Self::demo_kernel());
        let demo = Self::from_args(RunArgs {
            // Replaced below; the options of a machine ask for a file.
            kernel: Some(PathBuf::new()),
            memory: Some(memory.unwrap_or(Memory(DEMO_MEMORY))),
            cpus,
            cpu,
            append,
            jit,
            stats,
            ..RunArgs::default()
        })?;
        Ok(Self { payload: Payload { kernel, ..demo.payload }, ..demo })
    }

    /// The kernel of that machine.
    pub fn demo_kernel() -> Blob {
        Blob::Embedded { name: "demo guest", bytes: DEMO }
    }

    /// Checks that the parts make a machine together.
    pub fn check(&self) -> Result<(), UsageError> {
        let Payload { kernel, initrd, firmware, mode } = &self.payload;
        if kernel.is_none() && firmware.is_none() {
            return Err(UsageError::Nothing);
        }
        if initrd.is_some() && kernel.is_none() {
            return Err(UsageError::InitrdAlone);
        }
        if firmware.is_some() && *mode != Mode::Auto {
            return Err(UsageError::ModeWithFirmware);
        }
        if self.snapshot_on.as_deref() == Some("") {
            return Err(UsageError::NoMarker);
        }
        if self.serial == Serial::Stdio && self.virtio_console == Serial::Stdio {
            return Err(UsageError::TwoOnStdio);
        }
        if self.cpus > 1 && self.jit.is_some_and(|jit| jit.lockstep.is_some()) {
            return Err(UsageError::LockstepHarts(self.cpus));
        }
        if self.profile_every.is_some() && self.profile.is_none() {
            return Err(UsageError::ProfileEvery);
        }
        if self.jit.is_none() && (self.aot.is_some() || self.profile.is_some()) {
            return Err(UsageError::AheadWithoutJit);
        }
        if self.aot_canary.is_some() && (self.cpus > 1 || self.virtio_console != Serial::None) {
            return Err(UsageError::CanarySeen);
        }
        let console = self.virtio_console != Serial::None;
        let devices = self.disks.len() + usize::from(self.rng) + usize::from(console);
        if devices > VIRTIO_SLOTS {
            return Err(UsageError::TooManyDevices(devices));
        }
        self.disks.iter().enumerate().try_for_each(|(at, disk)| self.check_disk(disk, &self.disks[..at]))
    }

    fn check_disk(&self, disk: &Disk, before: &[Disk]) -> Result<(), UsageError> {
        for other in before {
            if let Some(id) = disk.id.as_ref().filter(|&id| other.id.as_ref() == Some(id)) {
                return Err(UsageError::SameId(id.clone()));
            }
            let stays = |disk: &Disk| disk.read_only || disk.overlay;
            if other.file == disk.file && !(stays(other) && stays(disk)) {
                return Err(UsageError::SameFile(disk.file.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(words: &str) -> Result<MachineConfig, UsageError> {
        let words = ["vm-boot", "run"].into_iter().chain(words.split_whitespace());
        let Command::Run(args) = Cli::parse_from(words).command.unwrap() else { panic!("not run") };
        MachineConfig::from_args(*args)
    }

    #[test]
    fn defaults() {
        let config = config("--kernel Image").unwrap();
        assert_eq!((config.memory, config.cpus, config.rng), (1 << 30, 1, true));
        assert_eq!((config.serial, config.virtio), (Serial::Stdio, Virtio::V2));
        assert_eq!(config.cpu, CpuConfig::default());
    }

    #[test]
    fn what_makes_no_machine_is_refused() {
        for (words, part) in [
            ("", "expected --kernel or --firmware"),
            ("--firmware f --initrd i", "give --kernel too"),
            ("--firmware f --kernel k --mode s", "leave out --mode"),
            ("--kernel k --disk a,id=x --disk b,id=x", "the id \"x\""),
            ("--kernel k --disk a --disk a,ro", "a is given twice"),
            ("--kernel k --serial stdio --virtio-console stdio", "cannot both be stdio"),
            ("--kernel k --cpu rv64gc,nonsense=off", "nonsense"),
            ("--kernel k --cpus 2 --jit on,lockstep=units", "expected one hart, found --cpus 2"),
            (
                "--kernel k --disk a --disk b --disk c --disk d --disk e --disk f --disk g --disk h",
                "at most 8 virtio devices, found 9",
            ),
        ] {
            let message = config(words).unwrap_err().to_string();
            assert!(message.contains(part), "{words}: {message}");
        }
        assert!(config("--kernel k --disk a,ro --disk a,ro").is_ok());
        assert_eq!(config("--kernel k --virtio-console stdio").unwrap().serial, Serial::None);
    }
}
