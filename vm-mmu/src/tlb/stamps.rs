//! Stamps: numbers for what copies of entries, kept outside of the TLB, are valid for.
//!
//! A stamp names an address space, a class and a generation of it. The generation steps when an entry that
//! may have been copied ([`SLOTTED`](super::entry::SLOTTED)) dies by itself while its address space
//! lives on; coming back to an address space within a generation finds its stamp again.

use super::Class;

const KNOWN: usize = 64;
const BITS: usize = 1 << 12;

#[derive(Clone, Copy, Default)]
struct Known {
    /// Id and class; 0 = nothing.
    key: u64,
    generation: u64,
    stamp: u32,
}

pub(super) struct Stamps {
    known: [Known; KNOWN],
    classes: [Generation; 3],
    last: u32,
    wrapped: bool,
}

/// The generation of a class.
struct Generation {
    number: u64,
    /// Pages whose entries made room for others since it began, as a Bloom filter of one bit.
    left: Box<[u64; BITS / 64]>,
    any_left: bool,
}

impl Generation {
    fn new() -> Generation {
        Generation { number: 0, left: Box::new([0; BITS / 64]), any_left: false }
    }
}

impl Stamps {
    pub fn new() -> Stamps {
        Stamps {
            known: [Known::default(); KNOWN],
            classes: [Generation::new(), Generation::new(), Generation::new()],
            last: 0,
            wrapped: false,
        }
    }

    /// The stamp of what entries of `id` and `class` say now. Never 0.
    #[inline]
    pub fn of(&mut self, id: u32, class: Class) -> u32 {
        let key = u64::from(id) << 2 | class as u64;
        let at = (key ^ key >> 2) as usize % KNOWN;
        let known = &self.known[at];
        if known.key == key && known.generation == self.classes[class as usize].number {
            return known.stamp;
        }
        self.fresh(at, key, class)
    }

    #[cold]
    fn fresh(&mut self, at: usize, key: u64, class: Class) -> u32 {
        self.last = match self.last.checked_add(1) {
            Some(next) => next,
            None => {
                self.known = [Known::default(); KNOWN];
                self.wrapped = true;
                1
            }
        };
        self.known[at] = Known { key, generation: self.classes[class as usize].number, stamp: self.last };
        self.last
    }

    /// Whether stamps have begun again from 1 since this was asked last.
    pub fn take_wrapped(&mut self) -> bool {
        std::mem::take(&mut self.wrapped)
    }

    /// All copies of entries of `class` die.
    pub fn step(&mut self, class: Class) {
        let generation = &mut self.classes[class as usize];
        generation.number += 1;
        if std::mem::take(&mut generation.any_left) {
            generation.left.fill(0);
        }
    }

    /// All copies die.
    pub fn step_all(&mut self) {
        [Class::U, Class::S, Class::M].into_iter().for_each(|class| self.step(class));
    }

    /// The entry of the page `tag`, which may have been copied, makes room for another.
    pub fn leaves(&mut self, class: Class, tag: u64) {
        let (bit, generation) = (bit(tag), &mut self.classes[class as usize]);
        generation.left[bit / 64] |= 1 << (bit % 64);
        generation.any_left = true;
    }

    /// Whether there may be a copy of an entry of the page `tag` that is no longer here.
    pub fn may_have_left(&self, class: Class, tag: u64) -> bool {
        let (bit, generation) = (bit(tag), &self.classes[class as usize]);
        generation.any_left && generation.left[bit / 64] >> (bit % 64) & 1 != 0
    }

    #[cfg(test)]
    pub fn exhaust(&mut self) {
        self.last = u32::MAX;
    }
}

fn bit(tag: u64) -> usize {
    ((tag >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
}
