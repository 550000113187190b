//! The part `machine`: which machine the state is of, so that a restored one is like it, and one that
//! cannot be is refused by name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vm_cpu::CpuConfig;

use super::error::Reason;
use crate::cli::value::{Cpus, Disk, MEMORY_MAX, MEMORY_MIN, Memory, Serial, Virtio};
use crate::cli::{DEFAULT_DIR, Mode, Ram};
use crate::config::MachineConfig;
use crate::loader::{Blob, Payload};

/// A path of the host, which need not be text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPath(Vec<u8>);

impl HostPath {
    /// As whoever restores finds it, wherever that is done.
    pub(super) fn of(path: &Path) -> io::Result<HostPath> {
        Ok(HostPath(std::path::absolute(path)?.into_os_string().into_vec()))
    }

    /// As the host takes it.
    pub fn path(&self) -> PathBuf {
        OsString::from_vec(self.0.clone()).into()
    }
}

impl std::fmt::Debug for HostPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        OsStr::from_bytes(&self.0).fmt(f)
    }
}

/// A file to load at a reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobRecord {
    /// A file of the host.
    File(HostPath),
    /// The guest in the binary.
    Demo,
}

/// How a kernel without firmware starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModeRecord {
    /// By its kind.
    Auto,
    /// In M-mode.
    Machine,
    /// In S-mode.
    Supervisor,
}

/// Where a console was connected, and will be unless somebody says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaceRecord {
    /// The program's own terminal or pipes.
    Stdio,
    /// Nowhere.
    Nowhere,
    /// A file.
    File(HostPath),
    /// A pseudo-terminal.
    Pty,
}

impl PlaceRecord {
    fn of(place: &Serial) -> io::Result<PlaceRecord> {
        Ok(match place {
            Serial::Stdio => PlaceRecord::Stdio,
            Serial::None => PlaceRecord::Nowhere,
            Serial::File(path) => PlaceRecord::File(HostPath::of(path)?),
            Serial::Pty => PlaceRecord::Pty,
        })
    }

    fn place(&self) -> Serial {
        match self {
            PlaceRecord::Stdio => Serial::Stdio,
            PlaceRecord::Nowhere => Serial::None,
            PlaceRecord::File(path) => Serial::File(path.path()),
            PlaceRecord::Pty => Serial::Pty,
        }
    }
}

/// A disk, and what its content was, as far as the host's file system tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// The image.
    pub file: HostPath,
    /// The image stays as it is: what was written is in the snapshot.
    pub overlay: bool,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Serial number.
    pub id: Option<String>,
    /// It is on a legacy transport.
    pub legacy: bool,
    /// Bytes.
    pub length: u64,
    /// When it was last written to: seconds and nanoseconds. A block device does not tell.
    pub modified: Option<(i64, i64)>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// The program that wrote it, for people.
    pub program: String,
    /// Bytes of RAM.
    pub memory: u64,
    /// Number of harts.
    pub cpus: u32,
    /// What they implement.
    pub cpu: CpuConfig,
    /// Virtio devices are on legacy transports.
    pub legacy: bool,
    /// There is a random number device.
    pub rng: bool,
    /// Where the serial port was connected.
    pub serial: PlaceRecord,
    /// Where the virtio console was connected, if there is one.
    pub virtio_console: PlaceRecord,
    /// The disks.
    pub disks: Vec<DiskRecord>,
    /// What a reset loads.
    pub kernel: Option<BlobRecord>,
    /// The same.
    pub initrd: Option<BlobRecord>,
    /// The same.
    pub firmware: Option<BlobRecord>,
    /// How it starts.
    pub mode: ModeRecord,
    /// Command line of the kernel.
    pub append: Option<String>,
    /// A device tree of its own.
    pub dtb: Option<HostPath>,
}

/// What the command line says that the machine shall be.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Size of RAM.
    pub memory: Option<Memory>,
    /// Number of harts.
    pub cpus: Option<Cpus>,
    /// What they implement.
    pub cpu: Option<CpuConfig>,
    /// Where the disks are now; as many as were saved, or none.
    pub disks: Vec<Disk>,
}

impl Asked {
    /// A machine like this one.
    pub fn of(config: &MachineConfig) -> Asked {
        Asked {
            memory: Some(Memory(config.memory)),
            cpus: Some(Cpus(config.cpus)),
            cpu: Some(config.cpu),
            disks: config.disks.clone(),
        }
    }
}

impl MachineRecord {
    /// The record of a machine at rest.
    pub fn of(config: &MachineConfig) -> io::Result<MachineRecord> {
        let blob = |blob: &Option<Blob>| match blob {
            None => Ok(None),
            Some(Blob::Embedded { .. }) => Ok(Some(BlobRecord::Demo)),
            Some(Blob::File(path)) => HostPath::of(path).map(|path| Some(BlobRecord::File(path))),
        };
        let Payload { kernel, initrd, firmware, mode } = &config.payload;
        Ok(MachineRecord {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            memory: config.memory,
            cpus: config.cpus as u32,
            cpu: config.cpu,
            legacy: config.virtio == Virtio::V1,
            rng: config.rng,
            serial: PlaceRecord::of(&config.serial)?,
            virtio_console: PlaceRecord::of(&config.virtio_console)?,
            disks: config
                .disks
                .iter()
                .map(|disk| DiskRecord::of(disk, config.virtio))
                .collect::<Result<_, _>>()?,
            kernel: blob(kernel)?,
            initrd: blob(initrd)?,
            firmware: blob(firmware)?,
            mode: match mode {
                Mode::Auto => ModeRecord::Auto,
                Mode::M => ModeRecord::Machine,
                Mode::S => ModeRecord::Supervisor,
            },
            append: config.append.clone(),
            dtb: config.dtb.as_deref().map(HostPath::of).transpose()?,
        })
    }

    /// The machine to be put together, unless it cannot be or is not what was asked for. An error comes
    /// with the part that it is about.
    pub fn config(&self, asked: &Asked) -> Result<MachineConfig, (String, Reason)> {
        self.check().map_err(|reason| ("machine".to_owned(), Reason::Invalid(reason)))?;
        same("memory", asked.memory.map(|memory| memory.0), self.memory)?;
        same("cpus", asked.cpus.map(|cpus| cpus.0), self.cpus as usize)?;
        same("cpu", asked.cpu.map(|cpu| describe(&cpu)), describe(&self.cpu))?;
        if !asked.disks.is_empty() {
            same("disks", Some(asked.disks.len()), self.disks.len())?;
        }
        let disks = self.disks.iter().enumerate().map(|(at, disk)| disk.option(asked.disks.get(at)));
        let blob = |blob: &Option<BlobRecord>| match blob {
            None => None,
            Some(BlobRecord::Demo) => Some(MachineConfig::demo_kernel()),
            Some(BlobRecord::File(path)) => Some(Blob::File(path.path())),
        };
        Ok(MachineConfig {
            payload: Payload {
                kernel: blob(&self.kernel),
                initrd: blob(&self.initrd),
                firmware: blob(&self.firmware),
                mode: match self.mode {
                    ModeRecord::Auto => Mode::Auto,
                    ModeRecord::Machine => Mode::M,
                    ModeRecord::Supervisor => Mode::S,
                },
            },
            append: self.append.clone(),
            memory: self.memory,
            ram: Ram::default(),
            ksm: false,
            cpus: self.cpus as usize,
            cpu: self.cpu,
            disks: disks.collect::<Result<_, _>>()?,
            virtio: if self.legacy { Virtio::V1 } else { Virtio::V2 },
            rng: self.rng,
            serial: self.serial.place(),
            virtio_console: self.virtio_console.place(),
            jit: Some(Default::default()),
            stats: false,
            stats_file: None,
            aot: None,
            aot_trust: None,
            aot_canary: None,
            profile: None,
            profile_every: None,
            snapshot_on: None,
            snapshot_dir: DEFAULT_DIR.into(),
            snapshot_base: None,
            snapshot_zstd: false,
            snapshot_code: true,
            code: None,
            dtb: self.dtb.as_ref().map(HostPath::path),
            dump_dtb: None,
        })
    }

    /// Checks that there can be such a machine.
    pub fn check(&self) -> Result<(), String> {
        let memory = self.memory;
        if !(MEMORY_MIN..=MEMORY_MAX).contains(&memory) || !memory.is_multiple_of(vm_mmu::PAGE) {
            return Err(format!("expected RAM from 1M to 1T in whole pages, found {memory} bytes"));
        }
        self.cpus.to_string().parse::<Cpus>().map_err(|error| format!("cpus: {error}"))?;
        self.cpu.check().map_err(|error| format!("cpu: {error}"))
    }
}

fn same<T: PartialEq + ToString>(part: &str, asked: Option<T>, saved: T) -> Result<(), (String, Reason)> {
    match asked {
        Some(asked) if asked != saved => {
            let (expected, found) = (asked.to_string(), saved.to_string());
            Err((part.to_owned(), Reason::Mismatch { expected, found }))
        }
        _ => Ok(()),
    }
}

fn describe(cpu: &CpuConfig) -> String {
    let strict = if cpu.strict_lrsc { ", strict reservations" } else { "" };
    format!("{} with {}, {} PMP entries{strict}", cpu.isa_string(), cpu.mmu_type(), cpu.pmp_entries)
}

impl DiskRecord {
    fn of(disk: &Disk, virtio: Virtio) -> io::Result<DiskRecord> {
        let (length, modified) = facts(&disk.file)?;
        Ok(DiskRecord {
            file: HostPath::of(&disk.file)?,
            overlay: disk.overlay,
            read_only: disk.read_only,
            id: disk.id.clone(),
            legacy: disk.transport.unwrap_or(virtio) == Virtio::V1,
            length,
            modified,
        })
    }

    /// The option for this disk, at its old place or the one asked for, where it has to be as it was.
    fn option(&self, asked: Option<&Disk>) -> Result<Disk, (String, Reason)> {
        let file = asked.map_or_else(|| self.file.path(), |disk| disk.file.clone());
        let part = format!("disk {}", file.display());
        let (length, modified) = facts(&file).map_err(|error| (part.clone(), error.into()))?;
        if length != self.length {
            return Err((part, Reason::Length { expected: self.length, found: length }));
        }
        if modified != self.modified {
            let reason = "has been written to since the snapshot was taken, which the guest would not know";
            return Err((part, Reason::Disk(reason.to_owned())));
        }
        if let Some(id) = asked.and_then(|disk| disk.id.clone()) {
            same(&part, Some(format!("id {id}")), format!("id {}", self.id.as_deref().unwrap_or("none")))?;
        }
        let transport = Some(if self.legacy { Virtio::V1 } else { Virtio::V2 });
        Ok(Disk { file, overlay: self.overlay, read_only: self.read_only, id: self.id.clone(), transport })
    }
}

/// Length and last change of an image.
fn facts(path: &Path) -> io::Result<(u64, Option<(i64, i64)>)> {
    let facts = fs::metadata(path)?;
    match facts.file_type().is_block_device() {
        true => Ok((io::Seek::seek(&mut File::open(path)?, io::SeekFrom::End(0))?, None)),
        false => Ok((facts.len(), Some((facts.mtime(), facts.mtime_nsec())))),
    }
}
