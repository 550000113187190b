//! Ids of address spaces: `satp` value and MXR to a number that is given out once.
//!
//! A table of two ways: three address spaces that collide cost each other their translations, never
//! their meaning. Fences make numbers die: all of them by a step of the generation, those of an ASID
//! by a sweep of this small table.
//!
//! Supervisors map themselves by global pages, which are the same in every address space: S has one number
//! for all of them, so that what it has translated outlives a switch. An address space in which S uses a
//! page that is neither global nor a user's is *apart*: there S has the number of the space itself.

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
    generation: u64,
    last: u32,
    epoch: u64,
}

impl Spaces {
    pub fn new() -> Spaces {
        let empty = Slot { key: Key { satp: 0, mxr: false }, id: 0, generation: 0, apart: true };
        Spaces { slots: Box::new([empty; SLOTS]), global: [0; 8], generation: 1, last: 0, epoch: 0 }
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
                return Some(at);
            }
        }
        // The newcomer takes the place of the one that came first of the two.
        self.slots[second] = self.slots[first];
        self.slots[first] = Slot { key, id, generation, apart: key.untranslated() };
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

    /// A number never given out before in this epoch. `None` if there is none.
    pub fn fresh(&mut self) -> Option<u32> {
        self.last = self.last.checked_add(1)?;
        Some(self.last)
    }

    /// All ids die.
    pub fn kill_all(&mut self) {
        self.generation += 1;
        self.global = [0; 8];
    }

    /// The ids of one ASID die. What is global does not: such a fence does not order it.
    pub fn kill_asid(&mut self, asid: u16) {
        self.slots.iter_mut().filter(|slot| slot.key.asid() == asid).for_each(|slot| slot.id = 0);
    }

    /// Begins again from 1; the caller has forgotten every id.
    pub fn restart(&mut self) {
        let epoch = self.epoch + 1;
        *self = Spaces { epoch, ..Spaces::new() };
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    #[cfg(test)]
    pub fn exhaust(&mut self) {
        self.last = u32::MAX;
    }
}
