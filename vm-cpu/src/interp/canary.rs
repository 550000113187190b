//! Canary: a share of what an image's code does is done again by the interpreter, and compared.
//!
//! ```text
//!  a unit is bound ─► the next entries into the image are steps of lock-step ─► after that one in so many
//!  a difference    ─► what the interpreter did stands, the image is used no more, its units die
//! ```
//! **Invariant.** What is tried is taken back before anybody else can see it: the machine has one hart, and its
//! devices are at rest while a step is on.

use super::Engine;
use crate::hart::Core;

/// Entries that are compared after a unit was bound.
const FRESH: u32 = 4;

/// When to compare.
#[derive(Debug)]
pub(super) struct Canary {
    /// One in so many entries is compared.
    every: u64,
    /// Entries until the next one.
    left: u64,
    /// Entries that are compared because a unit is new.
    fresh: u32,
}

impl Canary {
    pub fn new(every: u64) -> Canary {
        Canary { every: every.max(1), left: 1, fresh: 0 }
    }

    /// A unit of the image was bound.
    pub fn bound(&mut self) {
        self.fresh = FRESH;
    }

    /// Whether this entry is one to compare.
    fn is_due(&mut self) -> bool {
        self.left -= 1;
        let due = self.fresh > 0 || self.left == 0;
        self.fresh = self.fresh.saturating_sub(1);
        if self.left == 0 {
            self.left = self.every;
        }
        due
    }
}

impl Engine {
    /// Whether what the code at a host address does is to be compared. Without a canary all of it is, in a machine
    /// that has a shadow.
    pub(super) fn is_to_be_compared(&mut self, core: &Core, code: u64) -> bool {
        let (Some(canary), Some(jit)) = (&mut self.canary, &self.jit) else { return true };
        if !jit.is_watched(code) || !canary.is_due() {
            return false;
        }
        core.cluster().quieten();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_compared_and_then_one_in_so_many() {
        let mut canary = Canary::new(8);
        let due = |canary: &mut Canary, of: u32| (0..of).filter(|_| canary.is_due()).count();
        assert_eq!(due(&mut canary, 1), 1, "the very first");
        assert_eq!((due(&mut canary, 7), due(&mut canary, 1), due(&mut canary, 80)), (0, 1, 10));
        canary.bound();
        assert_eq!(due(&mut canary, FRESH), FRESH as usize);
        assert_eq!(due(&mut canary, 800), 100);
    }
}
