//! The command line: what can be asked for, and the defaults.
//!
//! Every option of `run` is optional here, because a configuration file may supply it; [`RunArgs`] of
//! the command line laid over [`RunArgs`] of the file gives what was asked for, and [`crate::config`]
//! checks that it makes sense as a whole.

mod aot;
mod file;
pub mod nearest;
mod ram;
mod snapshot;
pub mod value;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use aot::{AotCommand, StoreArgs};
pub use file::FileError;
pub use ram::{Ram, RamArgs, RamFile};
pub use snapshot::{DEFAULT_DIR, RestoreArgs, SnapshotArgs, SnapshotCommand};
use value::{Aot, Cpus, Disk, Jit, Memory, Serial, Virtio};

const EXAMPLES: &str = "\
Examples:
  vm-boot demo                               a small guest, no files needed
  vm-boot run --kernel Image --initrd initramfs.cpio.gz --append \"console=ttyS0\"
  vm-boot run --kernel Image --disk file=root.img --append \"root=/dev/vda console=ttyS0\" --cpus 2
  vm-boot run --firmware fw_dynamic.bin --kernel Image --memory 2G
  vm-boot run --kernel kernel.elf            a bare ELF, in M-mode
  vm-boot run --config machine.toml          the same options, from a file
  vm-boot restore warm                       go on from a snapshot, taken with Ctrl-A s

On the guest's console: Ctrl-A x quits, Ctrl-A s saves a snapshot, Ctrl-A h lists the keys.
Exit code: the guest's own; 1 if the machine failed, 2 if the command was wrong.";

const RUN_NOTES: &str = "\
How a payload is started:
  Linux Image (raw, gzip, zstd)   S-mode on the built-in SBI
  ELF                             M-mode at its entry; --mode s: S-mode on the built-in SBI
  with --firmware                 the firmware in M-mode; the kernel is loaded for it
A bare ELF ends the machine through the test device at 0x100000 or, if it has a symbol `tohost`,
through HTIF: storing (code << 1) | 1 there.

Options of --jit on, as in --jit on,threshold=500,float=off:
  threshold=N   executions of a block after which the code around it is compiled
  calm=N        times the threshold for a small part of what runs, an Nth for FP; calm=1: all that asks
  quick=N       executions after which a block is translated at once; quick=off: none is
  threads=N     threads that compile; queue=N: regions that may wait for them
  short=SIZE    memory for quickly made code; long=SIZE: for optimised code; from 512K
  huge=off      code outside huge pages; returns=off: returns look in the jump cache only
  group=off     check each memory access by itself, not several by one base register at once
  slots=off     no inline cache at a memory access; unroll=off: one round of a loop at a time
  beside=off    leave stores to pages that hold code to helpers
  float=off     leave floating point to helpers; narrow=off: compute words in 64 bits
  system=off    leave CSRs, LR/SC and cbo.zero to helpers; select=off: branch over short ways
  wait=on       harts wait for the compiler, so that runs are alike: for tests
  lockstep=HOW  the interpreter repeats what compiled code does, and a difference ends the machine
                with a report; one hart. HOW is units: compared unit by unit and turn by turn, or
                chains: when the hart leaves compiled code. Add threshold=1,wait=on to compile all

A configuration file has the same names as keys:
  kernel = \"Image\"
  memory = \"1G\"
  disk = [{ file = \"root.img\", ro = true }]";

/// Boots unmodified RISC-V systems: a 64-bit RISC-V machine as a program.
#[derive(Debug, Parser)]
#[command(name = "vm-boot", version, long_version = crate::version::LONG, after_help = EXAMPLES)]
#[command(disable_help_flag = true)]
pub struct Cli {
    /// What to do; without a word, the demo.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Logging, the same for every command.
    #[command(flatten)]
    pub logging: Logging,
    /// Print this help
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, display_order = LAST)]
    help: Option<bool>,
}

/// Place of the options that every command has, in its help.
const LAST: usize = 1000;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a machine
    #[command(after_help = RUN_NOTES)]
    Run(Box<RunArgs>),
    /// Go on from a snapshot
    #[command(after_help = snapshot::RESTORE_NOTES)]
    Restore(Box<RestoreArgs>),
    /// Look at snapshots
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Look at images of code that was translated ahead of time
    #[command(subcommand, after_help = aot::AOT_NOTES)]
    Aot(AotCommand),
    /// Start the small guest that is part of this program; it needs no files
    Demo(DemoArgs),
}

/// Options of `demo`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoArgs {
    /// Size of RAM: a number with K, M, G or T [default: 8M]
    #[arg(long, short, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Number of harts, 1 to 16 [default: 1]
    #[arg(long, value_name = "N")]
    pub cpus: Option<Cpus>,
    /// Extensions of the harts, such as rv64gc,svinval=off [default: all that are implemented]
    #[arg(long, value_name = "ISA")]
    pub cpu: Option<String>,
    /// Command line of the guest
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Optimised code, as of `run` [default: on]
    #[arg(long, value_name = "HOW")]
    pub jit: Option<Jit>,
    /// Print what the machine has done at the end, and on SIGUSR1, as a table on standard error
    #[arg(long)]
    pub stats: bool,
}

/// What goes to standard error, and how.
#[derive(Clone, Copy, Debug, Args)]
pub struct Logging {
    /// Log more to standard error: -v what happens, -vv details, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = LAST)]
    pub verbose: u8,
    /// Form of the log
    #[arg(long, global = true, value_enum, default_value = "text", display_order = LAST)]
    pub log: LogForm,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Present.
    On,
    /// Absent.
    Off,
}

/// In which mode a payload starts when there is no firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// By its kind: a Linux Image in S-mode, an ELF in M-mode.
    Auto,
    /// In M-mode, all harts at once, as after reset.
    M,
    /// In S-mode on the built-in SBI, on hart 0.
    S,
}

/// Options of `run`; the long names are also the keys of a configuration file.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Kernel: Linux Image, ELF, or with --firmware also a raw binary
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk for the kernel
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Command line of the kernel
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Firmware to run in M-mode instead of the built-in SBI: raw binary or ELF
    #[arg(long, value_name = "FILE")]
    pub firmware: Option<PathBuf>,
    /// Mode in which the kernel starts when there is no firmware [default: auto]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// A raw disk image: file=PATH[,ro|,overlay][,id=NAME][,transport=v1|v2]; may be repeated. With
    /// `overlay` the file stays as it is, and what the guest writes goes with the machine
    #[arg(long, value_name = "DISK")]
    pub disk: Vec<Disk>,
    /// Size of RAM: a number with K, M, G or T [default: 1G]
    #[arg(long, short, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Guest memory on the host
    #[command(flatten)]
    pub host: RamArgs,
    /// Number of harts, 1 to 16 [default: 1]
    #[arg(long, value_name = "N")]
    pub cpus: Option<Cpus>,
    /// Extensions of the harts, such as rv64gc,svinval=off [default: all that are implemented]
    #[arg(long, value_name = "ISA")]
    pub cpu: Option<String>,
    /// Device tree to use instead of the generated one; /chosen is still filled in
    #[arg(long, value_name = "FILE")]
    pub dtb: Option<PathBuf>,
    /// Write the device tree to FILE and end without starting
    #[arg(long, value_name = "FILE")]
    pub dump_dtb: Option<PathBuf>,
    /// Serial port: stdio, none, pty or file=PATH [default: stdio, if nothing else is on it]
    #[arg(long, value_name = "WHERE")]
    pub serial: Option<Serial>,
    /// A virtio console besides, for `console=hvc0`: stdio, none, pty or file=PATH [default: none]
    #[arg(long, value_name = "WHERE")]
    pub virtio_console: Option<Serial>,
    /// Random number device [default: on]
    #[arg(long, value_enum)]
    pub rng: Option<Switch>,
    /// Register layout of virtio devices [default: v2]
    #[arg(long, value_enum)]
    pub virtio: Option<Virtio>,
    /// Optimised code: off, or on with options from the list below [default: on]
    #[arg(long, value_name = "HOW")]
    pub jit: Option<Jit>,
    /// Print what the machine has done at the end, and on SIGUSR1, as a table on standard error
    #[arg(long)]
    pub stats: bool,
    /// Write the same as JSON to FILE (docs/metrics.md says what is in it)
    #[arg(long, value_name = "FILE")]
    pub stats_file: Option<PathBuf>,
    /// Run code from an image made by `aot-builder build`; whatever it does not cover, and all of it if it is
    /// refused, is compiled as without. auto: from the image that the store has of this guest, and make a better
    /// one in the background at the end (docs/aot.md)
    #[arg(long, value_name = "FILE|auto")]
    pub aot: Option<Aot>,
    /// Directory of the public keys whose images are run (docs/format-aot.md) [default: ./keys, with --aot auto
    /// the user's own]
    #[arg(long, value_name = "DIR")]
    pub aot_trust: Option<PathBuf>,
    /// Compare one in N entries into the image's code with the interpreter, and use it no more once it was wrong;
    /// with --aot auto a new image is, one in 64
    #[arg(long, value_name = "N")]
    pub aot_canary: Option<NonZeroU64>,
    /// At the end, write what code has run to FILE, for `aot-builder build`
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Every so many seconds, too; the monitor has `profile` for that
    #[arg(long, value_name = "SECONDS")]
    pub profile_every: Option<NonZeroU32>,
    /// Snapshots of the machine
    #[command(flatten)]
    pub snapshot: SnapshotArgs,
    /// Take options from a TOML file; those on the command line come first
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl RunArgs {
    /// Reads the file named by `--config`, if any, and lays these options over it.
    pub fn with_file(mut self) -> Result<Self, FileError> {
        match self.config.take() {
            Some(path) => Ok(self.over(file::read(&path)?)),
            None => Ok(self),
        }
    }

    /// These options where given, else those of `base`. Disks replace, they do not add up.
    fn over(self, base: Self) -> Self {
        Self {
            kernel: self.kernel.or(base.kernel),
            initrd: self.initrd.or(base.initrd),
            append: self.append.or(base.append),
            firmware: self.firmware.or(base.firmware),
            mode: self.mode.or(base.mode),
            disk: if self.disk.is_empty() { base.disk } else { self.disk },
            memory: self.memory.or(base.memory),
            host: self.host.over(base.host),
            cpus: self.cpus.or(base.cpus),
            cpu: self.cpu.or(base.cpu),
            dtb: self.dtb.or(base.dtb),
            dump_dtb: self.dump_dtb.or(base.dump_dtb),
            serial: self.serial.or(base.serial),
            virtio_console: self.virtio_console.or(base.virtio_console),
            rng: self.rng.or(base.rng),
            virtio: self.virtio.or(base.virtio),
            jit: self.jit.or(base.jit),
            stats: self.stats | base.stats,
            stats_file: self.stats_file.or(base.stats_file),
            aot: self.aot.or(base.aot),
            aot_trust: self.aot_trust.or(base.aot_trust),
            aot_canary: self.aot_canary.or(base.aot_canary),
            profile: self.profile.or(base.profile),
            profile_every: self.profile_every.or(base.profile_every),
            snapshot: self.snapshot.over(base.snapshot),
            config: None,
        }
    }
}
