//! What a region lets the guest do.

use crate::paging::Access;

/// Permissions of guest-physical memory, apart from what page tables and PMP say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Perm {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetch.
    pub exec: bool,
}

impl Perm {
    /// RAM.
    pub const RWX: Perm = Perm { read: true, write: true, exec: true };
    /// Data.
    pub const RW: Perm = Perm { read: true, write: true, exec: false };
    /// ROM that holds code.
    pub const RX: Perm = Perm { read: true, write: false, exec: true };
    /// ROM that holds data.
    pub const R: Perm = Perm { read: true, write: false, exec: false };
    /// Nothing.
    pub const NONE: Perm = Perm { read: false, write: false, exec: false };

    /// Whether `access` is permitted.
    pub fn allows(self, access: Access) -> bool {
        match access {
            Access::Fetch => self.exec,
            Access::Load => self.read,
            Access::Store => self.write,
        }
    }

    /// As bits: 1 = read, 2 = write, 4 = exec.
    pub(crate) const fn bits(self) -> u8 {
        self.read as u8 | (self.write as u8) << 1 | (self.exec as u8) << 2
    }

    /// From bits as made by [`Perm::bits`]; others are ignored.
    pub(crate) const fn from_bits(bits: u8) -> Perm {
        Perm { read: bits & 1 != 0, write: bits & 2 != 0, exec: bits & 4 != 0 }
    }
}
