//! Ids of address spaces: `satp` value and MXR to a number that is given out once.
//!
//! A table of two ways: three address spaces that collide cost each other their translations, never
//! their meaning. Fences make numbers die: all of them by a step of the generation, those of an ASID
//! by a sweep of this small table.

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
}

pub(super) struct Spaces {
    slots: Box<[Slot; SLOTS]>,
    generation: u64,
    last: u32,
    epoch: u64,
}

impl Spaces {
    pub fn new() -> Spaces {
        let empty = Slot { key: Key { satp: 0, mxr: false }, id: 0, generation: 0 };
        Spaces { slots: Box::new([empty; SLOTS]), generation: 1, last: 0, epoch: 0 }
    }

    /// The id of an address space. `None` if numbers have run out.
    #[inline]
    pub fn id(&mut self, key: Key) -> Option<u32> {
        let (first, second) = (key.slot(), key.slot() ^ WAY);
        let alive = |slot: &Slot| slot.id != 0 && slot.key == key && slot.generation == self.generation;
        if alive(&self.slots[first]) {
            return Some(self.slots[first].id);
        }
        if alive(&self.slots[second]) {
            return Some(self.slots[second].id);
        }
        let id = self.fresh()?;
        // The newcomer takes the place of the one that came first of the two.
        self.slots[second] = self.slots[first];
        self.slots[first] = Slot { key, id, generation: self.generation };
        Some(id)
    }

    /// A number never given out before in this epoch. `None` if there is none.
    pub fn fresh(&mut self) -> Option<u32> {
        self.last = self.last.checked_add(1)?;
        Some(self.last)
    }

    /// All ids die.
    pub fn kill_all(&mut self) {
        self.generation += 1;
    }

    /// The ids of one ASID die.
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
