//! Which sites often do what they were not made for: store beside code, or access memory across pages.

use super::abi::Site;

/// Sites that are counted at a time.
const KNOWN: usize = 64;
/// Times after which the site had better be made otherwise.
const OFTEN: u32 = 128;
/// So much more is borne of a unit that was made ahead: what takes its place has to be made as the guest runs.
pub const PATIENCE_AHEAD: u32 = 32;
const OFTEN_AHEAD: u32 = PATIENCE_AHEAD * OFTEN;

/// A group of accesses that lies across pages once in more instructions than these had better stay one: to
/// interpret the rest of its block then takes less than to check each access by itself all the time.
pub const CROSSING: u64 = 1024;

/// Counts of such times, of the sites that had some of late. One takes the place of another.
#[derive(Debug)]
pub struct Strays {
    known: [Known; KNOWN],
    /// Times that lie more instructions apart on average are few.
    apart: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Address of the site.
    address: usize,
    count: u32,
    /// What the hart had executed when it began to be counted.
    since: u64,
}

impl Strays {
    /// Nothing has been counted. Times that lie more than `apart` instructions apart on average are few.
    pub fn new(apart: u64) -> Strays {
        Strays { known: [Known::default(); KNOWN], apart }
    }

    /// Counts one of `site`, by a hart that has executed `now` instructions; true if they are many.
    pub fn count(&mut self, site: &Site, now: u64) -> bool {
        let address = &raw const *site as usize;
        let known = &mut self.known[address / size_of::<Site>() % KNOWN];
        if known.address != address {
            *known = Known { address, count: 0, since: now };
        }
        known.count += 1;
        if known.count < if site.ahead { OFTEN_AHEAD } else { OFTEN } {
            return false;
        }
        let took = now.wrapping_sub(known.since);
        let often = took <= self.apart.saturating_mul(known.count.into());
        (known.count, known.since) = (0, now);
        often
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Extensions, decode};

    #[test]
    fn a_site_is_reported_once_it_has_stored_often_whatever_others_do() {
        let insn = decode(0x00a5_b023, Extensions::all()).expect("sd");
        let sites = [Site::alone(insn); 2];
        let mut strays = Strays::new(u64::MAX);
        let reported = (0..OFTEN * 2).filter(|_| {
            strays.count(&sites[1], 0);
            strays.count(&sites[0], 0)
        });
        assert_eq!(reported.collect::<Vec<u32>>(), [OFTEN - 1, OFTEN * 2 - 1]);
    }

    #[test]
    fn a_site_of_a_unit_made_ahead_may_do_it_more_often() {
        let insn = decode(0x00a5_b023, Extensions::all()).expect("sd");
        let (site, mut strays) = (Site { ahead: true, ..Site::alone(insn) }, Strays::new(u64::MAX));
        assert_eq!((0..OFTEN_AHEAD * 2 - 1).find(|_| strays.count(&site, 0)), Some(OFTEN_AHEAD - 1));
    }

    #[test]
    fn what_is_far_apart_is_not_often() {
        let insn = decode(0x00a5_b023, Extensions::all()).expect("sd");
        let (site, mut strays) = (Site::alone(insn), Strays::new(100));
        assert!(!(0..1000).any(|time| strays.count(&site, 102 * time)));
        assert!((1000..2000).any(|time| strays.count(&site, 99 * time)));
    }

    #[test]
    fn one_of_many_sites_that_share_a_place_begins_anew() {
        let insn = decode(0x00a5_b023, Extensions::all()).expect("sd");
        let sites = [Site::alone(insn); KNOWN + 1];
        let mut strays = Strays::new(u64::MAX);
        assert!(!(0..OFTEN * 2).any(|_| strays.count(&sites[0], 0) || strays.count(&sites[KNOWN], 0)));
    }
}
