//! What is dead and waits for the epoch.
//!
//! ```text
//!  killed ─► limbo ─(grace starts)─► waiting ─(grace passed)─► free
//! ```
//!
//! **Invariant.** Whatever is in limbo cannot be found any more: no cell leads to the translation, no
//! index to the cell. So a reader that pins after a grace started cannot come upon what that grace
//! waits for. Lists are chained through the items: dying allocates nothing.

use crate::slab::NONE;
use crate::sync::{AtomicU32, Ordering};

/// A list that many push to and one takes whole.
#[derive(Default)]
pub struct Limbo {
    head: AtomicU32,
}

impl Limbo {
    /// Adds a chain of items that starts at `first` and whose last item has the field `last_next`.
    pub fn push(&self, first: u32, last_next: &AtomicU32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            last_next.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, first, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all items: the first of a chain.
    pub fn take(&self) -> u32 {
        self.head.swap(NONE, Ordering::Acquire)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed) == NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_come_back_whole() {
        let next: [AtomicU32; 6] = Default::default();
        let limbo = Limbo::default();
        next[1].store(2, Ordering::Relaxed);
        limbo.push(1, &next[2]);
        limbo.push(5, &next[5]);
        let mut found = vec![limbo.take()];
        while let Some(&at) = found.last().filter(|&&at| at != NONE) {
            found.push(next[at as usize].load(Ordering::Relaxed));
        }
        assert_eq!(found, [5, 1, 2, NONE]);
        assert!(limbo.is_empty());
    }
}
