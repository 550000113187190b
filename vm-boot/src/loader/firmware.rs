//! Firmware for M-mode, and the boot information that OpenSBI's `fw_dynamic` takes.

use vm_mmu::AddressSpace;

use super::error::{LoadError, Role, about};
use super::layout::Layout;
use super::source::{Blob, Source};
use super::{elf, kernel};

/// `struct fw_dynamic_info`, which a2 points to when firmware starts: six doublewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicInfo {
    /// Where the next stage begins.
    pub next_addr: u64,
    /// Hart that boots.
    pub boot_hart: u64,
}

impl DynamicInfo {
    /// Bytes of the structure.
    pub const LEN: u64 = 48;

    const MAGIC: u64 = 0x4942_534f;
    const VERSION: u64 = 2;
    const NEXT_MODE_S: u64 = 1;

    /// As it lies in guest memory.
    pub fn to_bytes(self) -> [u8; Self::LEN as usize] {
        let options = 0;
        let words = [Self::MAGIC, Self::VERSION, self.next_addr, Self::NEXT_MODE_S, options, self.boot_hart];
        let mut bytes = [0; Self::LEN as usize];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Loads firmware: an ELF where it is linked, anything else at the start of RAM. Returns its entry.
pub(super) fn load(blob: &Blob, layout: &mut Layout, memory: &AddressSpace) -> Result<u64, LoadError> {
    about(Role::Firmware, blob, || {
        let source = Source::open_unpacked(blob)?;
        if elf::is_elf(&source.head) {
            return Ok(elf::load(blob, &source.head, "firmware", layout, memory)?.entry);
        }
        kernel::refuse_stranger(&source.head, "firmware as a raw binary or ELF")?;
        let base = layout.base();
        kernel::stream(source, base, 0, "firmware", layout, memory)?;
        Ok(base)
    })
}
