//! One lane of entries and the accesses through it: the product's hottest code.

#![allow(unsafe_code, reason = "a hit turns into one host access to guest RAM")]

use std::mem::offset_of;

use super::stamps::Stamps;
use super::{Class, SoftTlb};
use crate::{Access, AtomicWord, PAGE, Word, host};

/// Entries per lane; the index is `va >> 12` modulo this.
pub const ENTRIES: usize = 8192;

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

/// One translation of a 4 KiB page.
///
/// **Invariant:** while any of `read`, `write`, `exec` is not 0, `tag + addend` is the host address of
/// a page inside the reservation of the TLB's address space, and `tag` is page-aligned.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    tag: u64,
    read: u32,
    write: u32,
    exec: u32,
    flags: u32,
    addend: u64,
}

/// Where generated code finds the fields, in bytes.
impl Entry {
    /// Virtual address of the page.
    pub const TAG: usize = offset_of!(Entry, tag);
    /// Id of the address space if loads are permitted, else 0 (u32).
    pub const READ: usize = offset_of!(Entry, read);
    /// The same for stores.
    pub const WRITE: usize = offset_of!(Entry, write);
    /// The same for fetches.
    pub const EXEC: usize = offset_of!(Entry, exec);
    /// Host address minus virtual address.
    pub const ADDEND: usize = offset_of!(Entry, addend);
    /// What else is known of it (u32).
    pub const FLAGS: usize = offset_of!(Entry, flags);
    /// Of the flags: it has been [lent](SoftTlb::lend) before, so lending it again changes nothing.
    pub const LENT: u32 = SLOTTED;
    /// Of the flags: it is never lent.
    pub const OF_USER: u32 = USER;
    /// Of the flags: loads are permitted, and stores as [`Tracker::share`](crate::Tracker::share) has it.
    pub const BESIDE: u32 = SHARED;

    pub(super) fn new(tag: u64, [read, write, exec]: [u32; 3], flags: u32, addend: u64) -> Entry {
        Entry { tag, read, write, exec, flags, addend }
    }

    /// As S, whose entries carry `id`, has a user page under SUM: no fetches.
    pub(super) fn for_supervisor(&self, id: u32) -> Entry {
        let given = |right: u32| if right != 0 { id } else { 0 };
        let (read, write) = (given(self.read), given(self.write));
        Entry { read, write, exec: 0, flags: self.flags | USER, ..*self }
    }

    fn permits(&self, access: Access) -> u32 {
        match access {
            Access::Fetch => self.exec,
            Access::Load => self.read,
            Access::Store => self.write,
        }
    }

    /// Clearing SUM takes a user page from S without a new stamp.
    pub(super) fn is_lendable(&self) -> bool {
        self.flags & USER == 0
    }

    fn kill(&mut self) {
        (self.read, self.write, self.exec) = (0, 0, 0);
    }

    /// Takes the write permission away; whether there was one.
    fn revoke(&mut self) -> bool {
        self.flags &= !SHARED;
        std::mem::take(&mut self.write) != 0
    }

    /// Whether a store that looks for code afterwards is permitted to address space `id`.
    fn permits_beside(&self, id: u32) -> bool {
        self.write == id || self.read == id && self.flags & SHARED != 0
    }
}

/// Bytes of a lane's entries.
const LANE: usize = ENTRIES * size_of::<Entry>();

/// Aligned to its size, so that generated code finds an entry by an `or`.
#[derive(Debug)]
#[repr(C, align(262144))]
pub(super) struct Entries([Entry; ENTRIES]);

const _: () = assert!(align_of::<Entries>() == LANE);

impl std::ops::Deref for Entries {
    type Target = [Entry; ENTRIES];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Entries {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The entries of one class.
#[derive(Debug)]
pub(super) struct Lane {
    pub entries: Box<Entries>,
    pub id: u32,
    /// Indices of entries put since they were last taken, if somebody wants to know.
    pub filled: Option<Vec<u16>>,
    /// The first of them stayed when the others were forgotten.
    pub kept: bool,
}

impl Lane {
    pub fn new() -> Lane {
        // SAFETY: zeros are what `Entry::default` gives. Memory comes with the first use of it.
        let entries = unsafe { Box::<Entries>::new_zeroed().assume_init() };
        Lane { entries, id: 0, filled: None, kept: false }
    }

    #[inline(always)]
    fn index(va: u64) -> usize {
        (va / PAGE) as usize % ENTRIES
    }

    #[inline(always)]
    fn at(&self, va: u64) -> &Entry {
        &self.entries[Lane::index(va)]
    }

    pub fn put(&mut self, class: Class, va: u64, mut entry: Entry, stamps: &mut Stamps) -> u16 {
        let at = Lane::index(va);
        let old = &self.entries[at];
        if old.flags & SLOTTED != 0 {
            if old.tag == entry.tag {
                entry.flags |= SLOTTED;
            } else {
                stamps.leaves(class, old.tag);
            }
        }
        self.entries[at] = entry;
        self.filled.iter_mut().for_each(|filled| filled.push(at as u16));
        at as u16
    }

    /// A copy of the entry of `va`, which hits.
    pub fn lend(&mut self, va: u64) -> (u64, u64) {
        self.lend_at(Lane::index(va))
    }

    /// A copy of the entry at an index.
    pub fn lend_at(&mut self, at: usize) -> (u64, u64) {
        let entry = &mut self.entries[at];
        entry.flags |= SLOTTED;
        (entry.tag, entry.addend)
    }

    /// Whether the entry at an index permits `access`, and copies.
    pub fn is_lendable(&self, at: usize, access: Access) -> bool {
        let entry = &self.entries[at];
        entry.permits(access) == self.id && entry.is_lendable()
    }

    pub fn hit(&self, va: u64, access: Access) -> Option<&Entry> {
        let entry = self.at(va);
        (va.wrapping_sub(entry.tag) < PAGE && entry.permits(access) == self.id).then_some(entry)
    }

    /// The entry of `va`, if it permits stores that look for code afterwards.
    pub fn hit_beside(&self, va: u64) -> Option<&Entry> {
        let entry = self.at(va);
        (va.wrapping_sub(entry.tag) < PAGE && entry.permits_beside(self.id)).then_some(entry)
    }

    pub fn clear(&mut self) {
        self.entries.fill(Entry::default());
    }

    /// True if there may be copies of it.
    pub fn kill(&mut self, tag: u64) -> bool {
        let entry = &mut self.entries[Lane::index(tag)];
        let is_it = entry.tag == tag;
        if is_it {
            entry.kill();
        }
        is_it && entry.flags & SLOTTED != 0
    }

    pub fn kill_user(&mut self, at: u16) -> bool {
        let entry = &mut self.entries[usize::from(at) % ENTRIES];
        let user = entry.flags & USER != 0;
        if user {
            *entry = Entry::default();
        }
        user
    }

    pub fn kill_users(&mut self) -> usize {
        (0..ENTRIES as u16).filter(|&at| self.kill_user(at)).count()
    }

    /// Stores to the page at `host` no longer hit; they are known as stores to code instead.
    pub fn revoke(&mut self, host: u64) -> u64 {
        let mut revoked = 0;
        for entry in self.entries.iter_mut().filter(|entry| entry.tag.wrapping_add(entry.addend) == host) {
            if entry.revoke() {
                entry.flags |= CODE;
                revoked += 1;
            }
        }
        revoked
    }

    /// The entry put last that permits loads and stores, with its page.
    pub fn last_writable(&self) -> Option<(u64, Entry)> {
        self.filled.iter().flatten().rev().find_map(|&at| self.writable(at))
    }

    /// The entry that stayed when others were forgotten, with its page, if none was put in its place since.
    pub fn kept(&self) -> Option<(u64, Entry)> {
        let (first, others) = self.filled.as_deref().filter(|_| self.kept)?.split_first()?;
        if others.contains(first) { None } else { self.writable(*first) }
    }

    fn writable(&self, at: u16) -> Option<(u64, Entry)> {
        let entry = &self.entries[usize::from(at) % ENTRIES];
        let both = entry.read == self.id && entry.write == self.id;
        both.then_some((entry.tag, Entry { flags: entry.flags & !SLOTTED, ..*entry }))
    }

    /// Loads and stores miss until they are filled again.
    pub fn forget_data(&mut self) {
        self.kept = false;
        for at in self.filled.iter_mut().flat_map(|filled| filled.drain(..)) {
            let entry = &mut self.entries[usize::from(at) % ENTRIES];
            (entry.read, entry.write) = (0, 0);
        }
    }

    pub fn revoke_all(&mut self) -> u64 {
        self.entries.iter_mut().map(|entry| u64::from(entry.revoke())).sum()
    }
}

/// Whether `size` bytes from `va` lie in the page of `entry`.
#[inline(always)]
fn inside(va: u64, entry: &Entry, size: u64) -> bool {
    va.wrapping_sub(entry.tag) <= PAGE - size
}

impl SoftTlb {
    /// Loads; `None` is a miss, and so is whatever leaves the page.
    #[inline(always)]
    pub fn read<T: Word>(&self, class: Class, va: u64) -> Option<T> {
        let lane = &self.lanes[class as usize];
        let entry = lane.at(va);
        if inside(va, entry, T::SIZE) && entry.read == lane.id {
            // SAFETY: ids are never 0, so by the invariant of `Entry` the page at `tag + addend` lies
            // in memory that `self.memory` keeps mapped, and `va..va + SIZE` is inside that page.
            return Some(unsafe { T::load(va, entry.addend) });
        }
        None
    }

    /// Loads what is permitted to be fetched.
    #[inline(always)]
    pub fn fetch<T: Word>(&self, class: Class, va: u64) -> Option<T> {
        let lane = &self.lanes[class as usize];
        let entry = lane.at(va);
        if inside(va, entry, T::SIZE) && entry.exec == lane.id {
            // SAFETY: as in `read`.
            return Some(unsafe { T::load(va, entry.addend) });
        }
        None
    }

    /// Stores; `None` is a miss: nothing is stored.
    #[inline(always)]
    pub fn write<T: Word>(&self, class: Class, va: u64, value: T) -> Option<()> {
        let lane = &self.lanes[class as usize];
        let entry = lane.at(va);
        if inside(va, entry, T::SIZE) && entry.write == lane.id {
            // SAFETY: as in `read`; pages with a write permission are mapped writable.
            unsafe { T::store(va, entry.addend, value) };
            return Some(());
        }
        None
    }

    /// The atomic at an aligned address that permits loads and stores.
    #[inline(always)]
    pub fn atomic<T: AtomicWord>(&self, class: Class, va: u64) -> Option<&T> {
        let host = self.exclusive(class, va, T::SIZE)?;
        // SAFETY: as in `write`; aligned, and mapped for as long as `self.memory` lives.
        Some(unsafe { T::at(host) })
    }

    /// 128-bit compare-and-swap; returns what was there. Low half at the lower address.
    #[inline]
    pub fn cas_pair(&self, class: Class, va: u64, old: u128, new: u128) -> Option<u128> {
        let host = self.exclusive(class, va, 16)?;
        // SAFETY: as in `atomic`; `AddressSpace::new` checked the CPU.
        Some(unsafe { host::cas_pair(host, old, new) })
    }

    /// Host address for a read-modify-write.
    #[inline(always)]
    fn exclusive(&self, class: Class, va: u64, size: u64) -> Option<u64> {
        let lane = &self.lanes[class as usize];
        let entry = lane.at(va);
        let aligned = va & !((PAGE - 1) & !(size - 1)) == entry.tag;
        let both = entry.write == lane.id && entry.read == lane.id;
        (aligned && both).then(|| va.wrapping_add(entry.addend))
    }

    /// Host address minus virtual address for the page of `va`, if `access` hits.
    #[inline]
    pub fn addend(&self, class: Class, va: u64, access: Access) -> Option<u64> {
        self.lanes[class as usize].hit(va, access).map(|entry| entry.addend)
    }

    /// The same for a store that looks for code afterwards.
    pub fn addend_beside(&self, class: Class, va: u64) -> Option<u64> {
        self.lanes[class as usize].hit_beside(va).map(|entry| entry.addend)
    }

    /// Guest-physical address of `va` if `access` hits.
    #[inline(always)]
    pub fn translate(&self, class: Class, va: u64, access: Access) -> Option<u64> {
        self.lanes[class as usize].hit(va, access).map(|entry| self.gpa(entry, va))
    }

    /// Guest-physical address of a store that misses only because its page holds code. `None` also if
    /// the page has lost its code since: a fill makes stores hit again.
    #[inline]
    pub fn lookup_code_write(&self, class: Class, va: u64, size: u64) -> Option<u64> {
        let lane = &self.lanes[class as usize];
        let entry = lane.at(va);
        // What may be stored may be loaded, in every format: so `read` says that the entry is alive.
        let hit = inside(va, entry, size) && entry.read == lane.id && entry.flags & CODE != 0;
        let gpa = hit.then(|| self.gpa(entry, va))?;
        (self.memory.tracker().code(gpa) != 0).then_some(gpa)
    }

    /// Lets stores to the page of `va`, which misses only because the page holds code, hit if they
    /// [look for code](Entry::BESIDE) afterwards.
    pub fn share(&mut self, class: Class, va: u64) {
        let Some(gpa) = self.lookup_code_write(class, va, 1) else { return };
        let tracker = self.memory.tracker();
        let entry = &mut self.lanes[class as usize].entries[Lane::index(va)];
        if entry.flags & SHARED == 0 && tracker.share(gpa) {
            tracker.mark_dirty(gpa);
            entry.flags |= SHARED;
        }
    }

    #[inline(always)]
    fn gpa(&self, entry: &Entry, va: u64) -> u64 {
        va.wrapping_add(entry.addend).wrapping_sub(self.memory.host_offset())
    }
}
