//! `mcycle` and `minstret` as an offset to a count that never stops.
//!
//! The engine counts retired instructions freely and passes the number retired *before* the
//! instruction that accesses a CSR. A counter keeps the difference between that number and what the
//! guest is to see, so the hot path never touches it:
//!
//! ```text
//!  retired before     n-1        n          n+1
//!  instruction        …     csrw minstret, v │ csrr a0, minstret
//!  the guest sees           (reads old value)  v
//! ```
//!
//! **Invariant**: a write takes the place of the increment by the instruction that writes
//! (unprivileged manual, 6.1), so the next instruction, before which n+1 have retired, reads exactly
//! `v`: the offset is `v - (n+1)`. The same holds for `mcountinhibit`: it takes effect after the
//! writing instruction, which itself is still counted, or not, as it was before.

use serde::{Deserialize, Serialize};

/// One counter that can be set and stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The count itself while inhibited, otherwise what is added to the free-running count.
    offset: u64,
    inhibited: bool,
}

impl Counter {
    /// What an instruction reads before which `free` counts have passed.
    pub fn read(&self, free: u64) -> u64 {
        if self.inhibited { self.offset } else { free.wrapping_add(self.offset) }
    }

    /// Sets the count as seen by the instruction after the one before which `free` counts have passed.
    pub fn write(&mut self, value: u64, free: u64) {
        self.offset = if self.inhibited { value } else { value.wrapping_sub(after(free)) };
    }

    /// Whether it stands still.
    pub fn inhibited(&self) -> bool {
        self.inhibited
    }

    /// Stops it or lets it run, from the next instruction on.
    pub fn inhibit(&mut self, stop: bool, free: u64) {
        if stop == self.inhibited {
            return;
        }
        self.offset =
            if stop { self.offset.wrapping_add(after(free)) } else { self.offset.wrapping_sub(after(free)) };
        self.inhibited = stop;
    }
}

/// The free-running count once the accessing instruction has retired.
fn after(free: u64) -> u64 {
    free.wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn a_written_count_is_what_the_next_instruction_reads() {
        for (free, value) in [(0, 0), (41, 0), (41, u64::MAX), (u64::MAX, 7)] {
            let mut c = Counter::default();
            c.write(value, free);
            assert_eq!(c.read(free.wrapping_add(1)), value);
            assert_eq!(c.read(free.wrapping_add(2)), value.wrapping_add(1));
        }
    }

    #[test]
    fn an_inhibited_counter_counts_its_inhibitor_and_then_stands() {
        let mut c = Counter::default();
        c.inhibit(true, 10);
        assert_eq!((c.read(11), c.read(500)), (11, 11));
        c.write(3, 500);
        assert_eq!(c.read(501), 3);
        c.inhibit(false, 600);
        assert_eq!((c.read(601), c.read(605)), (3, 7));
    }

    #[test]
    fn inhibiting_twice_changes_nothing() {
        let mut c = Counter::default();
        c.inhibit(true, 10);
        c.inhibit(true, 90);
        assert_eq!(c.read(91), 11);
        c.inhibit(false, 100);
        c.inhibit(false, 200);
        assert_eq!(c.read(201), 111);
    }
}
