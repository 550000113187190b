//! Why a machine could not be put together or brought up.

use std::path::PathBuf;

use thiserror::Error;
use vm_devices::AttachError;
use vm_devices::virtio::DiskError;
use vm_mmu::{AccessError, MapError};

use crate::loader::LoadError;

/// Why a machine could not be put together or brought up.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The host does not give the memory.
    #[error("guest memory: {0}")]
    Memory(#[from] MapError),
    /// Boot data could not be written.
    #[error("boot data: {0}")]
    BootData(#[from] AccessError),
    /// Two devices at one address.
    #[error("devices: {0}")]
    Devices(#[from] AttachError),
    /// A disk image cannot be used.
    #[error("--disk: {0}")]
    Disk(#[from] DiskError),
    /// A disk has no file for what is written to it.
    #[error("--disk …,overlay: a temporary file ($TMPDIR, or /var/tmp): {0}")]
    Overlay(#[source] std::io::Error),
    /// Memory has no file.
    #[error("--ram file: a temporary file: {0}")]
    RamFile(#[source] std::io::Error),
    /// A disk image has no sectors.
    #[error("--disk: expected at least one sector, found an empty file at {}; is the path right?", .0.display())]
    EmptyDisk(PathBuf),
    /// More virtio devices than transports.
    #[error("no virtio transport is left for another device")]
    NoSlot,
    /// The device tree could not be written.
    #[error("device tree: {0}")]
    Tree(#[from] vm_fdt::Error),
    /// The optimising engine could not be started.
    #[error("--jit: {0}")]
    Jit(#[from] vm_cpu::jit::JitError),
    /// The payload could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}
