//! The soft-TLB of one hart: from a virtual address to host memory in one compare.
//!
//! ```text
//!  class (U, S, M) ──► lane: 8192 + 2048 entries, id of its address space now
//!                      entry[(va >> 12) % 8192 + id % 2048]:
//!                        load store  addend  flags          32 bytes
//!                        page if permitted, else denied     host = va + addend
//!  hit:  va - entry.{load,store} <= 4096 - size
//! ```
//! The compare holds for any address of the page from which `size` bytes do not leave it, so a misaligned
//! access inside a page costs nothing extra. It says at once that the entry permits the access and is of this
//! address space: an entry of another id for the same page would be elsewhere.
//!
//! **Invariants.** Of the ids given out since a lane was cleared no two are equal modulo 2048, and none is 0
//! there; whatever kills translations of an address space gives it a new id and sweeps nothing, but once in
//! 2047 ids the lanes are cleared. What is denied is the page with bit 23 turned over: at that index it would
//! be of an id that differs by 2048, which is never given out. An entry that was never put is all zero, which
//! at the index of an id is page 0: [`lane`] denies it. A page that holds code has no write permission in any entry but the
//! `CODE` flag, so its stores come to the slow path, which recognises them without a walk; unless they look
//! for code themselves, which [`SoftTlb::share`] permits. Entries for
//! user pages in the S lane exist only while SUM is set, and until `satp` changes. What S uses besides
//! is global, or its address space is apart ([`spaces`]). Pages larger than 4 KiB are cached as 4 KiB
//! pieces; a filter of the large pages seen tells whether a fence by address must kill more than one
//! entry. Whoever copies an entry ([`SoftTlb::lend`]) keeps the copy's [stamp](SoftTlb::stamp) beside it:
//! the copy is as good as the entry while the stamp is the same.

mod access;
mod entry;
mod filter;
mod flush;
mod lane;
mod spaces;
mod stamps;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{Access, AddressSpace, Leaf, PAGE, RamRef, WalkCache};
use entry::{CODE, LARGE, USER};
pub use entry::{ENTRIES, Entry};
use filter::LargePages;
use lane::Lane;
use spaces::{Key, Spaces};
use stamps::Stamps;

/// Privilege classes, each with its own entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// User.
    U = 0,
    /// Supervisor.
    S = 1,
    /// Machine: never translated.
    M = 2,
}

/// Counts since the TLB was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TlbStats {
    /// Misses that were filled from a walk.
    pub fills: u64,
    /// Misses of S on user pages that were filled from the U lane.
    pub borrows: u64,
    /// Fences for everything.
    pub flush_all: u64,
    /// Fences by ASID.
    pub flush_asid: u64,
    /// Fences by address.
    pub flush_page: u64,
    /// Fences by address that met a large page and so killed a whole generation.
    pub large_steps: u64,
    /// Entries killed because SUM was cleared.
    pub sum_kills: u64,
    /// Write tags taken away.
    pub revokes: u64,
}

/// How many S-lane entries for user pages are remembered one by one.
const SUM_LIST: usize = 32;

/// The soft-TLB of one hart.
pub struct SoftTlb {
    lanes: [Lane; 3],
    memory: Arc<AddressSpace>,
    spaces: Spaces,
    /// Address space of the U and S lanes.
    key: Key,
    large: LargePages,
    walks: WalkCache,
    /// Indices of S-lane entries for user pages; full means that there may be more.
    sum: Vec<u16>,
    stamps: Stamps,
    stats: TlbStats,
}

impl SoftTlb {
    /// An empty TLB, with translation off (`satp` = 0).
    pub fn new(memory: Arc<AddressSpace>) -> SoftTlb {
        let mut tlb = SoftTlb {
            lanes: [Lane::new(), Lane::new(), Lane::new()],
            memory,
            spaces: Spaces::new(),
            key: Key { satp: 0, mxr: false },
            large: LargePages::new(),
            walks: WalkCache::new(),
            sum: Vec::with_capacity(SUM_LIST),
            stamps: Stamps::new(),
            stats: TlbStats::default(),
        };
        tlb.reset();
        tlb
    }

    /// The address space whose memory this TLB reaches.
    pub fn memory(&self) -> &Arc<AddressSpace> {
        &self.memory
    }

    /// Translation of U and S is by this `satp`, with `mstatus.MXR` as given, from now on. Flushes
    /// nothing.
    #[inline]
    pub fn switch(&mut self, satp: u64, mxr: bool) {
        let key = Key { satp, mxr };
        if key != self.key {
            self.key = key;
            self.reenter();
        }
    }

    /// Id that entries of `class` must carry now to be hit. Never 0.
    #[inline(always)]
    pub fn id(&self, class: Class) -> u32 {
        self.lanes[class as usize].id()
    }

    /// How often ids have been given out anew from 1. Whoever keeps ids outside of this TLB must
    /// forget them when it changes.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.spaces.epoch()
    }

    /// What copies of entries of `class` made now are valid for; never 0.
    #[inline]
    pub fn stamp(&mut self, class: Class) -> u32 {
        self.stamps.of(self.id(class), class)
    }

    /// Whether stamps have begun anew: copies of before must all be forgotten.
    #[inline]
    pub fn stamps_wrapped(&mut self) -> bool {
        self.stamps.take_wrapped()
    }

    /// A copy of the entry of `va`, if `access` hits: the page, and host minus virtual address. Valid
    /// while [`SoftTlb::stamp`] stays the same. `None` also for what must not be copied.
    #[inline]
    pub fn lend(&mut self, class: Class, va: u64, access: Access) -> Option<(u64, u64)> {
        let lane = &mut self.lanes[class as usize];
        lane.hit(va, access).filter(|entry| entry.is_lendable())?;
        Some(lane.lend(va))
    }

    /// As [`SoftTlb::lend`] for a store that looks for code afterwards, see [`SoftTlb::share`].
    pub fn lend_beside(&mut self, class: Class, va: u64) -> Option<(u64, u64)> {
        let lane = &mut self.lanes[class as usize];
        lane.hit_beside(va).filter(|entry| entry.is_lendable())?;
        Some(lane.lend(va))
    }

    /// A copy of some entry of `class` that permits loads now, or stores. Valid as those of
    /// [`SoftTlb::lend`].
    pub fn any(&mut self, class: Class, access: Access) -> Option<(u64, u64)> {
        self.lanes[class as usize].lend_any(access)
    }

    /// For generated code: the entry of page 0 of `class`; that of any other lies behind it by the page's index
    /// (`va >> 12` modulo [`ENTRIES`]). Valid while [`SoftTlb::id`] stays the same.
    #[inline]
    pub fn first_entry(&self, class: Class) -> *const Entry {
        self.lanes[class as usize].first()
    }

    /// The cache of upper page-table levels, set to the current address space.
    #[inline]
    pub fn walk_cache(&mut self) -> &mut WalkCache {
        self.walks.enter(self.id(Class::U));
        &mut self.walks
    }

    /// Counters.
    pub fn stats(&self) -> TlbStats {
        self.stats
    }

    /// Makes `va` hit as `leaf` says (`leaf` is of the current address space and for `class`; what PMP
    /// refuses is already taken out of it). `None` if there is no RAM: nothing is cached then.
    ///
    /// Writes are made to hit only if the page holds no code, and while dirty pages are noted only
    /// if `access` is a store, which also notes it. Ids may change by it.
    #[inline]
    pub fn fill(&mut self, class: Class, va: u64, leaf: &Leaf, access: Access) -> Option<RamRef> {
        let ram = self.memory.host_ptr(leaf.gpa, PAGE)?;
        self.stats.fills += 1;
        if class == Class::S && !leaf.user && !leaf.global {
            self.part();
        }
        let tag = va & !(PAGE - 1);
        let lane = &mut self.lanes[class as usize];
        let mut flags = 0;
        let writable = leaf.write && ram.perm.write;
        if writable && ram.code {
            flags |= CODE;
        }
        if leaf.size > PAGE {
            flags |= LARGE;
            self.large.add(va, leaf.size);
        }
        let tracker = self.memory.tracker();
        let unseen = tracker.logging() && access != Access::Store;
        if writable && !unseen && access == Access::Store {
            tracker.mark_dirty(leaf.gpa);
        }
        let user_of_s = class == Class::S && leaf.user;

        if user_of_s {
            flags |= USER;
        }
        let entry = Entry::new(
            tag,
            [leaf.read && ram.perm.read, writable && !ram.code && !unseen, leaf.exec && ram.perm.exec],
            flags,
            ram.host.wrapping_sub(tag),
        );
        let at = lane.put(class, tag, entry, &mut self.stamps);
        if user_of_s {
            self.note_sum(at);
        }
        Some(ram)
    }

    /// For a miss of S on a user page while SUM is set: takes the entry over from the U lane if it hits
    /// there and permits `access`, which spares the walk.
    pub fn borrow_user(&mut self, va: u64, access: Access) -> bool {
        let [user, supervisor, _] = &mut self.lanes;
        let Some(entry) = user.hit(va, access) else { return false };
        let entry = entry.for_supervisor();
        let at = supervisor.put(Class::S, va, entry, &mut self.stamps);
        self.stats.borrows += 1;
        self.note_sum(at);
        true
    }

    fn note_sum(&mut self, at: u16) {
        if self.sum.len() < SUM_LIST {
            self.sum.push(at);
        }
    }

    /// Gives the current address space its ids (new ones if the old ones died).
    #[inline]
    fn reenter(&mut self) {
        if !self.sum.is_empty() {
            self.sum_cleared();
        }
        match self.spaces.ids(self.key) {
            Some(ids) => {
                self.lanes[Class::U as usize].set_id(ids.own);
                self.lanes[Class::S as usize].set_id(ids.supervisor);
            }
            None => self.start_anew(),
        }
    }

    /// S uses a page of its own in the current address space.
    #[inline]
    fn part(&mut self) {
        let own = self.id(Class::U);
        let supervisor = &mut self.lanes[Class::S as usize];
        if supervisor.id() != own {
            supervisor.set_id(own);
            self.spaces.set_apart(self.key);
        }
    }

    /// Ids have run out: nothing old may be left when they begin again.
    fn start_anew(&mut self) {
        self.lanes.iter_mut().for_each(Lane::clear);
        self.walks.clear();
        self.large.clear();
        self.sum.clear();
        self.stamps.step_all();
        self.spaces.restart();
        let machine = self.spaces.fresh().unwrap_or(1);
        self.lanes[Class::M as usize].set_id(machine);
        self.reenter();
    }
}
