//! A map from guest-physical addresses to translation numbers: golden-ratio multiplicative hashing,
//! linear probing, one cache line for four neighbours.
//!
//! **Invariant.** At most half of the slots are taken, so every probe ends; keys are never removed
//! one by one (a dead translation keeps its number for when its code comes back).

use crate::hash::hash;

const EMPTY: u32 = u32::MAX;
const FIRST_BITS: u32 = 10;

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    number: u32,
}

/// The map. Numbers are anything but `u32::MAX`.
#[derive(Clone, Debug)]
pub struct Index {
    slots: Box<[Slot]>,
    shift: u32,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self::with_bits(FIRST_BITS)
    }
}

impl Index {
    fn with_bits(bits: u32) -> Self {
        let slots = vec![Slot { key: 0, number: EMPTY }; 1 << bits].into_boxed_slice();
        Self { slots, shift: 64 - bits, used: 0 }
    }

    /// The number stored for `key`.
    #[inline]
    pub fn get(&self, key: u64) -> Option<u32> {
        let slot = self.slots[self.position(key)];
        (slot.number != EMPTY).then_some(slot.number)
    }

    /// Stores `number` for `key`, in place of what was there.
    pub fn insert(&mut self, key: u64, number: u32) {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        let at = self.position(key);
        self.used += usize::from(self.slots[at].number == EMPTY);
        self.slots[at] = Slot { key, number };
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets all keys and gives their memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Slots looked at for each key that is present, on average; 0 if there is none.
    pub fn mean_probe(&self) -> f64 {
        let mask = self.slots.len() - 1;
        let probes = |(at, slot): (usize, &Slot)| (at.wrapping_sub(self.home(slot.key)) & mask) + 1;
        let sum: usize = self.slots.iter().enumerate().filter(|(_, s)| s.number != EMPTY).map(probes).sum();
        if self.used == 0 { 0.0 } else { sum as f64 / self.used as f64 }
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (hash(key) >> self.shift) as usize
    }

    /// The slot of `key`, or the free one where it belongs.
    #[inline]
    fn position(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(key);
        while self.slots[at].number != EMPTY && self.slots[at].key != key {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let bits = 64 - self.shift + 1;
        let old = std::mem::replace(self, Self::with_bits(bits));
        for slot in old.slots.iter().filter(|s| s.number != EMPTY) {
            self.insert(slot.key, slot.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const KEYS: u64 = if cfg!(miri) { 500 } else { 50_000 };

    #[test]
    fn strided_keys_keep_short_probes() {
        for stride in [2u64, 4, 8, 64, 4096, 4098, 1 << 21] {
            let mut index = Index::default();
            // As many as fit the greatest guest.
            for i in 0..KEYS.min((64 << 30) / stride) {
                index.insert(0x8000_0000 + i * stride, i as u32);
            }
            assert!(index.mean_probe() <= 1.5, "stride {stride}: {}", index.mean_probe());
        }
    }

    #[test]
    fn agrees_with_a_plain_map() {
        let (mut index, mut plain) = (Index::default(), HashMap::new());
        let mut seed = 1u64;
        for i in 0..2 * KEYS as u32 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = seed >> 47;
            assert_eq!(index.get(key), plain.get(&key).copied());
            index.insert(key, i);
            plain.insert(key, i);
        }
        assert_eq!(index.len(), plain.len());
        assert!(plain.iter().all(|(&k, &v)| index.get(k) == Some(v)));
    }
}
