//! Snapshots: a machine as a directory, from which one like it goes on.
//!
//! ```text
//!  NAME/
//!    state   header │ machine │ harts │ devices │ memory │ disks     checked before anything starts
//!    ram     ░░▓▓░░░░▓░░░░░  one page of guest memory after the other, zeros as holes; mapped lazily
//!    disk0   ░░░░▓▓░░░░░░░░  what was written to a disk that leaves its image alone
//!    seal    that `ram` and disks were whole, and how the host knew them then
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
mod opened;
mod pages;
mod parts;
mod ram;
mod seal;
pub mod tool;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_devices::virtio::Disk;
use vm_mmu::AddressSpace;

pub use codec::CodecError;
pub use device::{DeviceRecord, Keep};
pub use error::{Reason, Refusal, SaveError};
use folder::Draft;
pub use folder::is_snapshot;
pub use harts::{HartsRecord, VcpuRecord};
pub use machine::{Asked, DiskRecord, MachineRecord};
pub use opened::{Opened, PageFile};
pub use pages::PageMap;
use parts::Part;
pub use parts::Row;

/// The file with everything but guest memory.
const STATE: &str = "state";
/// The file with guest memory.
const RAM: &str = "ram";

/// The parts of `state`, and the versions of their layouts.
const MACHINE: (&str, u32) = ("machine", 1);
const HARTS: (&str, u32) = ("harts", 1);
const DEVICES: (&str, u32) = ("devices", 1);
const MEMORY: (&str, u32) = ("memory", 1);
const DISKS: (&str, u32) = ("disks", 1);

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

/// Where the pages come from that a snapshot keeps. Nothing may change them while they are written.
pub struct Source<'a> {
    /// Guest memory.
    pub memory: &'a AddressSpace,
    /// The map of the file that memory was restored from, if it was.
    pub base: Option<&'a PageMap>,
    /// The disks.
    pub disks: &'a [Arc<Disk>],
}

/// Writes a snapshot to `dir`, in place of the one that is there.
pub fn save(dir: &Path, content: &Content, from: &Source) -> Result<Saved, SaveError> {
    let draft = Draft::begin(dir)?;
    let ram = draft.create(RAM)?;
    let map = ram::write(from.memory, from.base, &ram)?;
    let mut files = vec![ram];
    let mut disks = Vec::new();
    for (number, disk) in from.disks.iter().enumerate() {
        let Some(kept) = disk.kept() else {
            disks.push(None);
            continue;
        };
        let file = draft.create(&disk_name(number))?;
        disks.push(Some(ram::write_disk(disk, &kept, &file)?));
        files.push(file);
    }
    let parts = [
        part(MACHINE, codec::encode(&content.machine))?,
        part(HARTS, codec::encode(&content.harts))?,
        part(DEVICES, codec::encode(&content.devices))?,
        part(MEMORY, codec::encode(&map))?,
        part(DISKS, codec::encode(&disks))?,
    ];
    let (bytes, digest) = parts::write(&parts);
    write_file(&draft, STATE, &bytes)?;
    for file in &files {
        file.sync_all().map_err(SaveError::host("sync", dir))?;
    }
    let files: Vec<&File> = files.iter().collect();
    let seal = seal::make(&files, digest).map_err(SaveError::host("seal", dir))?;
    write_file(&draft, seal::SEAL, &seal)?;
    draft.commit()?;
    Ok(Saved { dir: dir.to_owned(), memory: map.held() })
}

/// The file with what was written to a disk that leaves its image alone.
fn disk_name(number: usize) -> String {
    format!("disk{number}")
}

fn part((name, version): (&'static str, u32), bytes: Result<Vec<u8>, CodecError>) -> Result<Part, SaveError> {
    let bytes = bytes.map_err(|error| SaveError::Codec { part: name.to_owned(), error })?;
    Ok(Part { name, version, bytes })
}

fn write_file(draft: &Draft, name: &str, bytes: &[u8]) -> Result<(), SaveError> {
    let mut file = draft.create(name)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(SaveError::host("write", name.as_ref()))
}
