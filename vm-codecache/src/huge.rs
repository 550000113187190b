//! Huge pages for code: megabytes of it take more small pages than the host's TLB has entries.
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
    /// What each huge page held when the host was last asked for it, see [`settled`]; 0 if it never was.
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

/// What the huge page `at` holds, if all its segments are in use and no longer written: the sum of when they were
/// opened, and never 0.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::zone::Purpose;

    /// Times that the host was asked.
    fn asked(huge: &Huge, core: &Core) -> u64 {
        core.tally.huge_pages.get() + u64::from(huge.refused)
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn what_is_full_is_gathered_once_and_again_when_it_is_filled_anew() {
        let config = Config { short: 2 * HUGE, long: 2 * HUGE, stable: 0, ..Config::default() };
        let core = Core::new(&config, 0x1000).unwrap();
        let (mut huge, size) = (Huge::new(core.zones.size()), core.zones.segment_size());
        let fill = |count: usize| {
            let allot = |_| core.zones.allot(Zone::Short, Purpose::Fresh, size, |_| ()).unwrap();
            (0..count).map(allot).collect::<Vec<_>>()
        };
        let pieces = fill(HUGE / size);
        pieces.iter().for_each(|piece| core.arena.write(piece.offset(), &vec![0x90; size]).unwrap());
        huge.step(&core);
        assert_eq!(asked(&huge, &core), 0, "the last segment is still open");
        fill(1);
        huge.step(&core);
        huge.step(&core);
        assert_eq!(asked(&huge, &core), 1);
        let mut code = [0; 2];
        core.arena.read(pieces[1].offset(), &mut code).unwrap();
        assert_eq!(code, [0x90; 2], "code stays what it is");
        let emptied = |segment| core.zones.free(segment);
        core.zones.drop_piece(pieces[3], emptied);
        huge.step(&core);
        assert_eq!(asked(&huge, &core), 1, "there is a hole in it");
        fill(2);
        huge.step(&core);
        assert_eq!(asked(&huge, &core), 2);
    }
}
