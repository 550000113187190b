//! Options of `restore` and of `snapshot`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Switch;
use super::ram::RamArgs;
use super::value::{Cpus, Disk, Jit, Memory, Serial};

/// Where snapshots go, unless the command line says.
pub const DEFAULT_DIR: &str = "vm-boot.snapshot";

/// Notes at the end of the help of `restore`.
pub const RESTORE_NOTES: &str = "\
The machine is the one that was saved: --memory, --cpus, --cpu and --disk need not be given, and are
refused if they are not what the snapshot has. A disk must be as it was; --disk file=PATH says where it
is now, one for each that was saved.

With --clone each machine has a console of its own (a pseudo-terminal unless --serial says, where %N
is the clone's number, as in file=log-%N), random numbers of its own, and a layer of its own over each
disk. --clone 1 is one that leaves the disks alone, on this console.

mtime goes on from where it was; the real-time clock shows the host's time.

Examples:
  vm-boot run --kernel Image --initrd initramfs.cpio --append \"console=ttyS0\" \\
      --snapshot-on \"~ #\" --snapshot-dir warm      boot, save at the shell's prompt, end
  vm-boot restore warm                             the shell answers at once";

/// Options of `restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The snapshot
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Size of RAM that the snapshot has to have
    #[arg(long, short, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Guest memory on the host
    #[command(flatten)]
    pub host: RamArgs,
    /// Number of harts that it has to have
    #[arg(long, value_name = "N")]
    pub cpus: Option<Cpus>,
    /// Extensions that its harts have to have
    #[arg(long, value_name = "ISA")]
    pub cpu: Option<String>,
    /// Where a disk is now, as of `run`; may be repeated
    #[arg(long, value_name = "DISK")]
    pub disk: Vec<Disk>,
    /// Go on with N machines at once that leave their disks alone: what they write goes with them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub clone: Option<u32>,
    /// Set by the program that starts several clones.
    #[arg(long, hide = true)]
    pub one_of_many: bool,
    /// Serial port, as of `run` [default: as it was]
    #[arg(long, value_name = "WHERE")]
    pub serial: Option<Serial>,
    /// Virtio console, as of `run` [default: as it was]
    #[arg(long, value_name = "WHERE")]
    pub virtio_console: Option<Serial>,
    /// Optimised code, as of `run` [default: on]
    #[arg(long, value_name = "HOW")]
    pub jit: Option<Jit>,
    /// Print what the machine has done at the end, and on SIGUSR1, as a table on standard error
    #[arg(long)]
    pub stats: bool,
    /// Write the same as JSON to FILE
    #[arg(long, value_name = "FILE")]
    pub stats_file: Option<PathBuf>,
    /// Snapshots of the machine
    #[command(flatten)]
    pub snapshot: SnapshotArgs,
}

/// When and where snapshots are taken.
#[derive(Clone, Debug, Default, Args)]
pub struct SnapshotArgs {
    /// Take a snapshot when TEXT appears on a console, then end
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub snapshot_on: Option<String>,
    /// Where they go, also those of Ctrl-A s [default: vm-boot.snapshot]
    #[arg(long, value_name = "DIR")]
    pub snapshot_dir: Option<PathBuf>,
    /// They hold only what differs from the one in DIR
    #[arg(long, value_name = "DIR")]
    pub snapshot_base: Option<PathBuf>,
    /// Pack memory in snapshots: they are smaller, and all of it is unpacked before a machine goes on
    #[arg(long)]
    pub snapshot_zstd: bool,
    /// Keep optimised code in them, and run what one has [default: on]
    #[arg(long, value_name = "SWITCH", hide_possible_values = true)]
    pub snapshot_code: Option<Switch>,
}

impl SnapshotArgs {
    /// These where given, else those of `base`.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            snapshot_on: self.snapshot_on.or(base.snapshot_on),
            snapshot_dir: self.snapshot_dir.or(base.snapshot_dir),
            snapshot_base: self.snapshot_base.or(base.snapshot_base),
            snapshot_zstd: self.snapshot_zstd | base.snapshot_zstd,
            snapshot_code: self.snapshot_code.or(base.snapshot_code),
        }
    }
}

/// What to do with snapshots that are there.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List the snapshots in directories
    List {
        /// Snapshots, or directories that hold some
        #[arg(value_name = "DIR", default_value = ".")]
        dirs: Vec<PathBuf>,
    },
    /// Tell what is in a snapshot
    Inspect {
        /// The snapshot
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Check every byte of snapshots
    Verify {
        /// The snapshots
        #[arg(value_name = "DIR", required = true)]
        dirs: Vec<PathBuf>,
    },
    /// Make a snapshot stand alone that stands on others, and pack or unpack its memory
    Merge {
        /// The snapshot
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Leave it as it is, and make a new one here
        #[arg(long, value_name = "NEW")]
        into: Option<PathBuf>,
        /// Pack its memory; else it is not, whatever it was
        #[arg(long)]
        zstd: bool,
    },
    /// Remove all but the newest snapshots of directories, and what killed saves have left
    Prune {
        /// Directories that hold snapshots
        #[arg(value_name = "DIR", default_value = ".")]
        dirs: Vec<PathBuf>,
        /// How many to keep in each, besides those that they stand on
        #[arg(long, value_name = "N")]
        keep: usize,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}
