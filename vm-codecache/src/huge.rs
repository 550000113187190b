//! Huge pages for code: what the host fetches from a few megabytes of small pages, it mostly waits for.
//!
//! ```text
//!  2 MiB of the arena │ seg │ seg │ … │ seg │   all closed, none collapsed since it was opened
//!                       ──► the host copies them into one huge page, and maps that
//! ```
//! One at a time, now and then: whoever runs there meanwhile waits for the copy. A segment that is emptied is
//! punched out, which splits the page; it is made anew when all of it is in use again.

use crate::core::Core;
use crate::sync::Ordering;
use crate::zone::Zone;

/// Bytes of a huge page.
pub const HUGE: usize = 2 << 20;
/// Refusals after which the host is not asked again.
const REFUSALS: u32 = 4;

/// See the module.
pub struct Huge {
    /// What each huge page held when it was made: the sum of when its segments were opened.
    made: Vec<u64>,
    next: usize,
    refused: u32,
}

impl Huge {
    /// For an arena of `bytes`; of 0 if there are to be none.
    pub fn new(bytes: usize) -> Self {
        Self { made: vec![0; bytes / HUGE], next: 0, refused: 0 }
    }

    /// Looks at all there are from the next on, until one is made or asked for in vain.
    pub fn step(&mut self, core: &Core) {
        for _ in 0..if self.refused < REFUSALS { self.made.len() } else { 0 } {
            let at = self.next;
            self.next = (at + 1) % self.made.len();
            if let Some(stamp) = settled(core, at)
                && stamp != self.made[at]
            {
                self.made[at] = stamp;
                match core.arena.collapse((at * HUGE) as u64, HUGE) {
                    Ok(()) => core.tally.huge_pages.add(1),
                    Err(_) => self.refused += 1,
                }
                return;
            }
        }
    }
}

/// What the huge page `at` holds, if all its segments are in use and no longer written.
fn settled(core: &Core, at: usize) -> Option<u64> {
    let size = core.zones.segment_size();
    let segments = (at * HUGE / size) as u32..((at + 1) * HUGE / size) as u32;
    if segments.is_empty() || !HUGE.is_multiple_of(size) {
        return None;
    }
    let mut stamp = 1;
    for number in segments {
        let zone = Zone::ALL.into_iter().find(|&zone| core.zones.segments(zone).contains(&number))?;
        if !core.zones.is_closed(zone, number) {
            return None;
        }
        stamp += u64::from(core.zones.segment(number).opened.load(Ordering::Relaxed)) + 1;
    }
    Some(stamp)
}
