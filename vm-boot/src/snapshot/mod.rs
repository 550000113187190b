//! Snapshots: a machine as a directory, from which one like it goes on.
//!
//! ```text
//!  NAME/
//!    state   header │ machine │ harts │ devices │ memory     checked as a whole before anything starts
//!    ram     ░░▓▓░░░░▓░░░░░  one page of guest memory after the other, zeros as holes; mapped lazily
//!    seal    that `ram` was whole, and how the host knew it then
//! ```
//! `docs/format-snapshot.md` describes the files. [`save`] writes them while the machine rests,
//! [`Opened::open`] reads and checks them, and the runtime makes a machine of what was read.
//!
//! **Invariant**: bytes of a snapshot are an outsider's. Whatever is in them ends in a machine whose every
//! register a guest could have reached, or in a [`Refusal`] that names the part and the reason.

mod codec;
mod device;
mod error;
mod folder;
mod harts;
#[cfg(test)]
mod hostile;
mod machine;
mod pages;
mod parts;
mod ram;
mod seal;
pub mod tool;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_devices::map::RAM_BASE;
use vm_mmu::AddressSpace;

use crate::config::MachineConfig;
pub use codec::CodecError;
pub use device::{DeviceRecord, Keep};
pub use error::{Reason, Refusal, SaveError};
use folder::Draft;
pub use folder::is_snapshot;
pub use harts::{HartsRecord, VcpuRecord};
pub use machine::{Asked, DiskRecord, MachineRecord};
pub use pages::PageMap;
pub use parts::Row;
use parts::{Part, Parts};

/// The file with everything but guest memory.
const STATE: &str = "state";
/// The file with guest memory.
const RAM: &str = "ram";

/// The parts of `state`, and the versions of their layouts.
const MACHINE: (&str, u32) = ("machine", 1);
const HARTS: (&str, u32) = ("harts", 1);
const DEVICES: (&str, u32) = ("devices", 1);
const MEMORY: (&str, u32) = ("memory", 1);

/// What was saved of a machine, apart from its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Which machine it is.
    pub machine: MachineRecord,
    /// Its harts.
    pub harts: HartsRecord,
    /// Its devices, in the order in which they are restored.
    pub devices: Vec<DeviceRecord>,
}

/// What a save wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where.
    pub dir: PathBuf,
    /// Bytes of guest memory that are not zeros.
    pub memory: u64,
}

/// Writes a snapshot to `dir`, in place of the one that is there. Nothing may change memory meanwhile;
/// `base` is the map of the file that it was restored from, if it was.
pub fn save(
    dir: &Path,
    content: &Content,
    memory: &AddressSpace,
    base: Option<&PageMap>,
) -> Result<Saved, SaveError> {
    let draft = Draft::begin(dir)?;
    let file = draft.create(RAM)?;
    let map = ram::write(memory, base, &file)?;
    let parts = [
        part(MACHINE, codec::encode(&content.machine))?,
        part(HARTS, codec::encode(&content.harts))?,
        part(DEVICES, codec::encode(&content.devices))?,
        part(MEMORY, codec::encode(&map))?,
    ];
    let (bytes, digest) = parts::write(&parts);
    write_file(&draft, STATE, &bytes)?;
    file.sync_all().map_err(SaveError::host("sync", RAM.as_ref()))?;
    let seal = seal::make(&file, digest).map_err(SaveError::host("seal", RAM.as_ref()))?;
    write_file(&draft, seal::SEAL, &seal)?;
    draft.commit()?;
    Ok(Saved { dir: dir.to_owned(), memory: map.held() })
}

fn part((name, version): (&'static str, u32), bytes: Result<Vec<u8>, CodecError>) -> Result<Part, SaveError> {
    let bytes = bytes.map_err(|error| SaveError::Codec { part: name.to_owned(), error })?;
    Ok(Part { name, version, bytes })
}

fn write_file(draft: &Draft, name: &str, bytes: &[u8]) -> Result<(), SaveError> {
    let mut file = draft.create(name)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(SaveError::host("write", name.as_ref()))
}

/// A snapshot that was read and found whole.
#[derive(Debug)]
pub struct Opened {
    dir: PathBuf,
    content: Content,
    map: Arc<PageMap>,
    ram: File,
    parts: Vec<Row>,
    digest: [u8; 32],
    sealed: bool,
}

impl Opened {
    /// Reads the snapshot in `dir`. Memory is checked unless it is sealed.
    pub fn open(dir: &Path) -> Result<Opened, Refusal> {
        let opened = Self::read(dir).map_err(|(part, reason)| reason.of(dir, part))?;
        if !opened.sealed {
            opened.verify()?;
            seal::renew(dir, &opened.ram, opened.digest);
        }
        Ok(opened)
    }

    /// Reads all but memory.
    fn read(dir: &Path) -> Result<Opened, (String, Reason)> {
        let host = |part: &str, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => (part.to_owned(), Reason::Missing),
            _ => (part.to_owned(), Reason::Host(error)),
        };
        let bytes = fs::read(dir.join(STATE)).map_err(|error| host(STATE, error))?;
        let parts = Parts::read(bytes)?;
        let content = Content {
            machine: value(&parts, MACHINE, codec::decode)?,
            harts: value(&parts, HARTS, codec::decode)?,
            devices: value(&parts, DEVICES, codec::decode)?,
        };
        let map: PageMap = value(&parts, MEMORY, codec::decode_map)?;
        let machine = &content.machine;
        machine.check().map_err(|reason| (MACHINE.0.to_owned(), Reason::Invalid(reason)))?;
        let ram = RAM_BASE..RAM_BASE + machine.memory;
        let harts = content.harts.check(&machine.cpu, machine.cpus as usize, &ram);
        harts.map_err(|reason| (HARTS.0.to_owned(), Reason::Invalid(reason)))?;
        map.check(machine.memory).map_err(|reason| (MEMORY.0.to_owned(), Reason::Invalid(reason)))?;
        let ram = File::open(dir.join(RAM)).map_err(|error| host(RAM, error))?;
        let found = ram.metadata().map_err(|error| host(RAM, error))?.len();
        if found != map.memory {
            return Err((RAM.to_owned(), Reason::Length { expected: map.memory, found }));
        }
        let digest = parts.digest();
        let sealed = seal::holds(dir, &ram, digest);
        let rows = parts.rows().to_vec();
        Ok(Opened { dir: dir.to_owned(), content, map: Arc::new(map), ram, parts: rows, digest, sealed })
    }

    /// Whether memory was checked, and has not changed since.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Checks every byte of memory.
    pub fn verify(&self) -> Result<(), Refusal> {
        ram::verify(&self.ram, &self.map, RAM_BASE).map_err(|reason| reason.of(&self.dir, RAM))
    }

    /// The machine to be put together, if it is what is asked for.
    pub fn config(&self, asked: &Asked) -> Result<MachineConfig, Refusal> {
        self.content.machine.config(asked).map_err(|(part, reason)| reason.of(&self.dir, part))
    }

    /// What was saved, apart from memory.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What the file `state` consists of.
    pub fn parts(&self) -> &[Row] {
        &self.parts
    }

    /// The file with guest memory, and its map.
    pub fn memory(&self) -> (&File, &Arc<PageMap>) {
        (&self.ram, &self.map)
    }

    /// Refuses a part for a reason that only the machine finds.
    pub(crate) fn refuse(&self, part: impl Into<String>, reason: Reason) -> Refusal {
        reason.of(&self.dir, part)
    }
}

fn value<T>(
    parts: &Parts,
    (name, version): (&str, u32),
    decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<T, (String, Reason)> {
    let value = parts.part(name, version).and_then(|bytes| decode(bytes).map_err(Reason::from));
    value.map_err(|reason| (name.to_owned(), reason))
}
