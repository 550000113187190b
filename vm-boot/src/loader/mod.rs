//! Loaders: files become guest memory, and an address to start at.
//!
//! ```text
//!  RAM base                                                            RAM end or 3 GiB
//!  ├ firmware ─┤    ├ kernel (+2 MiB) ──── … ┤        ├ initrd ┤├ device tree, boot info ┤
//! ```
//! Files are streamed straight to where the guest finds them; there is never a second copy of one in
//! host memory. **Invariant**: no two loaded things overlap, and all lie in RAM ([`Layout`]).

mod compression;
mod elf;
mod error;
mod firmware;
mod image;
mod kernel;
mod layout;
mod source;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use vm_mmu::AddressSpace;

use crate::cli::Mode;

pub use error::{LoadError, Problem, Role, about};
pub use firmware::DynamicInfo;
use layout::Layout;
use source::Source;
pub use source::{Blob, read_small};

/// What to load.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Kernel, if any.
    pub kernel: Option<Blob>,
    /// Initial RAM disk, if any.
    pub initrd: Option<Blob>,
    /// Firmware, if any.
    pub firmware: Option<Blob>,
    /// Mode of a kernel without firmware.
    pub mode: Mode,
}

/// Where execution begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// All harts, in M-mode; `next` is what firmware shall start in S-mode.
    Machine {
        /// Address of the first instruction.
        pc: u64,
        /// Address of the kernel, where firmware is to start one.
        next: Option<u64>,
    },
    /// Hart 0 alone, in S-mode on the built-in SBI.
    Supervisor {
        /// Address of the first instruction.
        pc: u64,
    },
}

/// Addresses of the words of the host-target interface, from the symbols of an ELF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Htif {
    /// Word that the guest stores commands to.
    pub tohost: u64,
    /// Word that answers appear in, if the program has one.
    pub fromhost: Option<u64>,
}

/// What has been loaded, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Where execution begins.
    pub entry: Entry,
    /// The initial RAM disk.
    pub initrd: Option<Range<u64>>,
    /// Where the device tree and the boot information belong.
    pub tree: Range<u64>,
    /// Host-target interface of a bare program.
    pub htif: Option<Htif>,
}

/// Loads the payload into `ram`; `tree_len` bytes are kept for the device tree and boot information.
pub fn load(
    payload: &Payload,
    ram: Range<u64>,
    memory: &AddressSpace,
    tree_len: u64,
) -> Result<Loaded, LoadError> {
    let mut layout = Layout::new(ram, tree_len)?;
    let firmware = match &payload.firmware {
        Some(blob) => Some(firmware::load(blob, &mut layout, memory)?),
        None => None,
    };
    // Before the kernel, whose length may be known only once it is unpacked.
    let initrd = match &payload.initrd {
        Some(blob) => Some(load_initrd(blob, &mut layout, memory)?),
        None => None,
    };
    let kernel = match &payload.kernel {
        Some(blob) => Some(kernel::load(blob, payload.mode, firmware.is_some(), &mut layout, memory)?),
        None => None,
    };
    let (entry, htif) = match (firmware, kernel) {
        (Some(pc), kernel) => (Entry::Machine { pc, next: kernel.map(|kernel| kernel.pc) }, None),
        (None, Some(kernel)) => (kernel.entry(), kernel.htif),
        (None, None) => return Err(LoadError::nothing()),
    };
    Ok(Loaded { entry, initrd, tree: layout.tree(), htif })
}

/// Right below the device tree, as high as it goes.
fn load_initrd(blob: &Blob, layout: &mut Layout, memory: &AddressSpace) -> Result<Range<u64>, LoadError> {
    let place = || {
        let mut source = Source::open(blob)?;
        let len = source.len.ok_or(Problem::NotAFile)?;
        let range = layout.claim_high("initrd", len)?;
        let loaded = memory.fill_from(range.start, len, &mut source.stream)?;
        if loaded == len { Ok(range) } else { Err(Problem::Truncated { expected: len, found: loaded }) }
    };
    about(Role::Initrd, blob, place)
}
