//! Snapshots: a machine as a directory, from which one like it goes on.
//!
//! ```text
//!  NAME/
//!    state   header │ machine │ harts │ devices │ memory │ disks     checked before anything starts
//!    ram     ░░▓▓░░░░▓░░░░░  one page of guest memory after the other, zeros as holes; mapped lazily. On top of
//!                            another snapshot: what differs from it
//!    disk0   ░░░░▓▓░░░░░░░░  what was written to a disk that leaves its image alone
//!    code    an image of the optimised code, signed by the user's own key
//!    working-set   what is touched first, to be read in ahead
//!    seal    that `ram` and disks were whole, and how the host knew them then
//! ```
//! `docs/format-snapshot.md` describes the files. A [`Writer`] makes them of a machine that runs,
//! [`Opened::open`] reads and checks them, and the runtime makes a machine of what was read.
//!
//! **Invariant**: bytes of a snapshot are an outsider's. Whatever is in them ends in a machine whose every
//! register a guest could have reached, or in a [`Refusal`] that names the part and the reason.

mod base;
mod chunks;
mod code;
mod codec;
mod device;
mod error;
mod family;
mod folder;
mod harts;
#[cfg(test)]
mod hostile;
mod layers;
mod machine;
mod merge;
mod opened;
mod packed;
mod pages;
mod parts;
mod progress;
mod prune;
mod ram;
mod seal;
pub mod tool;
pub mod working_set;
mod writer;

use std::path::PathBuf;

pub use codec::CodecError;
pub use device::{DeviceRecord, Keep};
pub use error::{Reason, Refusal, SaveError};
pub use folder::is_snapshot;
pub use harts::{HartsRecord, VcpuRecord};
pub use layers::{Layers, PageFile, Run};
pub use machine::{Asked, DiskRecord, MachineRecord};
pub use merge::MergeError;
pub use opened::Opened;
pub use pages::PageMap;
pub use parts::Row;
pub use writer::Writer;

/// The file with everything but guest memory.
const STATE: &str = "state";
/// The file with guest memory.
const RAM: &str = "ram";

/// The same, packed.
const RAM_PACKED: &str = "ram.zst";

/// The parts of `state`, and the versions of their layouts.
const MACHINE: (&str, u32) = ("machine", 1);
const HARTS: (&str, u32) = ("harts", 1);
const DEVICES: (&str, u32) = ("devices", 1);
const MEMORY: (&str, u32) = ("memory", 1);
const DISKS: (&str, u32) = ("disks", 1);
/// Only of one whose memory is packed.
const PACKED: (&str, u32) = ("packed", 1);
/// Only of one that holds code.
const CODE: (&str, u32) = ("code", 1);
/// Only of a snapshot that does not stand alone.
const BASE: (&str, u32) = ("base", 1);

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
    /// Bytes of guest memory that it holds.
    pub memory: u64,
    /// By what it is known: the digest of its header.
    pub digest: [u8; 32],
    /// What it stands on, if it does not stand alone.
    pub base: Option<PathBuf>,
}

/// The file with what was written to a disk that leaves its image alone.
fn disk_name(number: usize) -> String {
    format!("disk{number}")
}
