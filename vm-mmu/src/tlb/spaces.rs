//! Ids of address spaces: `satp` value and MXR to a number that is given out once. Where entries lie tells
//! [`IDS`] of them apart, so after that many the lanes have to be cleared.
//!
//! A table of two ways: three address spaces that collide cost each other their translations, never
//! their meaning. Fences make numbers die: all of them by a step of the generation, those of an ASID
//! by a sweep of this small table.
//!
//! Supervisors map themselves by global pages, which are the same in every address space: S has one number
//! for all of them, so that what it has translated outlives a switch. An address space in which S uses a
//! page that is neither global nor a user's is *apart*: there S has the number of the space itself.

use super::Class;
use super::entry::IDS;

/// Slots; more than a guest switches among within a time slice.
const SLOTS: usize = 128;

/// From a slot to its other way.
const WAY: usize = SLOTS / 2;

/// What a translation depends on besides the address and the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub satp: u64,
    pub mxr: bool,
}

impl Key {
    pub fn asid(self) -> u16 {
        (self.satp >> 44) as u16
    }

    fn untranslated(self) -> bool {
        self.satp >> 60 == 0
    }

    /// Ways to translate whose global pages are told apart: the format, and MXR.
    fn kind(self) -> usize {
        (self.satp >> 60) as usize % 4 * 2 + usize::from(self.mxr)
    }

    #[inline]
    pub fn slot(self) -> usize {
        // The root page and the ASID both tell processes apart.
        let mixed = (self.satp ^ (self.satp >> 44) << 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 57) as usize ^ usize::from(self.mxr)
    }
}

#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    /// 0 = empty.
    id: u32,
    generation: u64,
    apart: bool,
}

/// Ids that entries carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// Of the address space.
    pub own: u32,
    /// Of what S has translated in it.
    pub supervisor: u32,
}

pub(super) struct Spaces {
    slots: Box<[Slot; SLOTS]>,
    /// Ids of the global pages, by how they are translated; 0 for none.
    global: [u32; 8],
    /// Slots that were given a number in this generation, a bit each, and the slots' ASIDs.
    living: u128,
    asids: [u16; SLOTS],
    generation: u64,
    last: u32,
    epoch: u64,
}

impl Spaces {
    pub fn new() -> Spaces {
        let empty = Slot { key: Key { satp: 0, mxr: false }, id: 0, generation: 0, apart: true };
        Spaces {
            slots: Box::new([empty; SLOTS]),
            global: [0; 8],
            living: 0,
            asids: [0; SLOTS],
            generation: 1,
            last: 0,
            epoch: 0,
        }
    }

    /// The ids of an address space. `None` if numbers have run out.
    #[inline]
    pub fn ids(&mut self, key: Key) -> Option<Ids> {
        let at = match self.place(key) {
            Some(at) => at,
            None => self.settle(key)?,
        };
        let Slot { id, apart, .. } = self.slots[at];
        let supervisor = if apart { id } else { self.global(key)? };
        Some(Ids { own: id, supervisor })
    }

    /// From here on S has the number of the address space itself.
    pub fn set_apart(&mut self, key: Key) {
        if let Some(at) = self.place(key) {
            self.slots[at].apart = true;
        }
    }

    /// Where the living slot of an address space is.
    #[inline]
    fn place(&self, key: Key) -> Option<usize> {
        let alive = |&at: &usize| {
            let slot = &self.slots[at];
            slot.id != 0 && slot.key == key && slot.generation == self.generation
        };
        [key.slot(), key.slot() ^ WAY].into_iter().find(alive)
    }

    /// Gives an address space a number, in the slot it had if it has one.
    fn settle(&mut self, key: Key) -> Option<usize> {
        let (first, second) = (key.slot(), key.slot() ^ WAY);
        let id = self.fresh()?;
        let generation = self.generation;
        for at in [first, second] {
            let slot = &mut self.slots[at];
            if slot.key == key {
                slot.id = id;
                slot.generation = generation;
                self.living |= 1 << at;
                return Some(at);
            }
        }
        // The newcomer takes the place of the one that came first of the two.
        self.slots[second] = self.slots[first];
        self.slots[first] = Slot { key, id, generation, apart: key.untranslated() };
        for at in [first, second] {
            self.living |= 1 << at;
            self.asids[at] = self.slots[at].key.asid();
        }
        Some(first)
    }

    /// The number of what is global under `key`.
    fn global(&mut self, key: Key) -> Option<u32> {
        let at = key.kind();
        if self.global[at] == 0 {
            self.global[at] = self.fresh()?;
        }
        Some(self.global[at])
    }

    /// A number that no entry has. `None` if there is none.
    pub fn fresh(&mut self) -> Option<u32> {
        let next = self.last.checked_add(1).filter(|next| !next.is_multiple_of(IDS as u32))?;
        self.last = next;
        Some(next)
    }

    /// The ids alive now of an ASID, or of all, with the class whose entries carry them; global pages' too.
    pub fn of_asid(&self, asid: Option<u16>) -> impl Iterator<Item = (Class, u32)> {
        let global = self.global.into_iter().filter(|&id| id != 0).map(|id| (Class::S, id));
        let slots = Bits(self.living & self.slots_of(asid)).map(|at| &self.slots[at]);
        let own = slots
            .filter(move |slot| slot.id != 0 && slot.generation == self.generation)
            .flat_map(|slot| [Some((Class::U, slot.id)), slot.apart.then_some((Class::S, slot.id))]);
        global.chain(own.flatten())
    }

    /// The slots of an ASID, or of all, a bit each.
    fn slots_of(&self, asid: Option<u16>) -> u128 {
        let Some(asid) = asid else { return u128::MAX };
        let (words, _) = self.asids.as_chunks::<64>();
        let bits = |word: &[u16; 64]| {
            word.iter().enumerate().fold(0, |bits, (n, &other)| bits | u64::from(other == asid) << n)
        };
        words.iter().rev().fold(0, |all, word| all << 64 | u128::from(bits(word)))
    }

    /// All ids die.
    pub fn kill_all(&mut self) {
        self.generation += 1;
        self.global = [0; 8];
        self.living = 0;
    }

    /// The ids of one ASID die. What is global does not: such a fence does not order it.
    pub fn kill_asid(&mut self, asid: u16) {
        self.slots.iter_mut().filter(|slot| slot.key.asid() == asid).for_each(|slot| slot.id = 0);
    }

    /// Begins again, with numbers never given out in this epoch unless they have run out; the caller has
    /// forgotten every id.
    pub fn restart(&mut self) {
        let (last, epoch) = match self.last.checked_add(IDS as u32) {
            Some(last) => (last - last % IDS as u32, self.epoch),
            None => (0, self.epoch + 1),
        };
        *self = Spaces { last, epoch, ..Spaces::new() };
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    #[cfg(test)]
    pub fn exhaust(&mut self) {
        self.last = u32::MAX;
    }
}

/// The places of the bits that are set.
struct Bits(u128);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let at = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (at < SLOTS).then_some(at)
    }
}
