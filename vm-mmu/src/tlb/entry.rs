//! One entry: a translation, and how it says what is permitted.

use std::mem::offset_of;

use crate::{Access, PAGE};

/// Pages of which a lane can hold one each for every address space: `va >> 12` modulo this.
pub const ENTRIES: usize = 8192;

/// Ids of address spaces whose entries a lane can tell apart.
pub(super) const IDS: usize = 2048;

/// Turns the tag of a page into one that no address hits: it would be of an id further off than [`IDS`].
const DENIED: u64 = IDS as u64 * PAGE;

const _: () = assert!(IDS * 2 <= ENTRIES);

/// The page holds code; without it stores would be permitted.
pub(super) const CODE: u32 = 1;
/// A piece of a page larger than 4 KiB.
pub(super) const LARGE: u32 = 2;
/// A user page in the S lane.
pub(super) const USER: u32 = 4;
/// There may be copies of it.
pub(super) const SLOTTED: u32 = 8;
/// The page may hold code, and is stored to by whoever looks for it afterwards.
pub(super) const SHARED: u32 = 16;
/// Loads are permitted.
const READ: u32 = 32;
/// Stores are permitted.
const WRITE: u32 = 64;
/// Fetches are permitted.
const EXEC: u32 = 128;

/// One translation of a 4 KiB page.
///
/// **Invariant:** while `flags` has any of `READ`, `WRITE`, `EXEC`, [`Entry::page`] is page-aligned, and `page +
/// addend` is the host address of a page inside the reservation of the TLB's address space; `load` is the page if
/// loads are permitted, and `store` if stores are, else it is [`DENIED`].
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub(super) load: u64,
    pub(super) store: u64,
    pub(super) addend: u64,
    pub(super) flags: u32,
}

/// Where generated code finds the fields, in bytes.
impl Entry {
    /// Virtual address of the page if loads are permitted.
    pub const LOAD: usize = offset_of!(Entry, load);
    /// The same for stores.
    pub const STORE: usize = offset_of!(Entry, store);
    /// Host address minus virtual address.
    pub const ADDEND: usize = offset_of!(Entry, addend);
    /// What else is known of it (u32).
    pub const FLAGS: usize = offset_of!(Entry, flags);
    /// Of the flags: it has been [lent](super::SoftTlb::lend) before, so lending it again changes nothing.
    pub const LENT: u32 = SLOTTED;
    /// Of the flags: it is never lent.
    pub const OF_USER: u32 = USER;
    /// Of the flags, while loads are permitted: stores are, or they are as
    /// [`Tracker::share`](crate::Tracker::share) has it.
    pub const BESIDE: u32 = SHARED | WRITE;

    pub(super) fn new(page: u64, [read, write, exec]: [bool; 3], flags: u32, addend: u64) -> Entry {
        let right = |yes: bool, flag: u32| if yes { flag } else { 0 };
        let flags = flags | right(read, READ) | right(write, WRITE) | right(exec, EXEC);
        Entry { load: tag(page, read), store: tag(page, write), addend, flags }
    }

    /// What permits nothing.
    pub(super) fn dead(page: u64) -> Entry {
        Entry::new(page, [false; 3], 0, 0)
    }

    /// Virtual address of the page.
    pub(super) fn page(&self) -> u64 {
        if self.flags & READ != 0 { self.load } else { self.load ^ DENIED }
    }

    /// As S has a user page under SUM: no fetches.
    pub(super) fn for_supervisor(&self) -> Entry {
        Entry { flags: self.flags & !EXEC | USER, ..*self }
    }

    pub(super) fn permits(&self, access: Access) -> bool {
        let right = match access {
            Access::Fetch => EXEC,
            Access::Load => READ,
            Access::Store => WRITE,
        };
        self.flags & right != 0
    }

    /// Clearing SUM takes a user page from S without a new stamp.
    pub(super) fn is_lendable(&self) -> bool {
        self.flags & USER == 0
    }

    /// Permits no loads and stores any more.
    pub(super) fn deny_data(&mut self) {
        (self.load, self.store) = (tag(self.page(), false), tag(self.page(), false));
        self.flags &= !(READ | WRITE | SHARED);
    }

    pub(super) fn kill(&mut self) {
        self.deny_data();
        self.flags &= !EXEC;
    }

    /// Takes the write permission away; whether there was one.
    pub(super) fn revoke(&mut self) -> bool {
        let could = self.flags & WRITE != 0;
        self.store = tag(self.page(), false);
        self.flags &= !(SHARED | WRITE);
        could
    }

    /// Whether a store that looks for code afterwards is permitted.
    pub(super) fn permits_beside(&self) -> bool {
        self.flags & READ != 0 && self.flags & Entry::BESIDE != 0
    }
}

/// What an access to `page` is compared with.
fn tag(page: u64, permitted: bool) -> u64 {
    if permitted { page } else { page ^ DENIED }
}
