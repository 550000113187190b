//! Which sites often do what they were not made for: store beside code, or access memory across pages.

use super::abi::Site;

/// Sites that are counted at a time.
const KNOWN: usize = 64;
/// Times after which the site had better be made otherwise.
const OFTEN: u32 = 128;
/// The same if its unit was made ahead: what takes its place has to be made as the guest runs.
const OFTEN_AHEAD: u32 = 32 * OFTEN;

/// Counts of such times, of the sites that had some of late. One takes the place of another.
#[derive(Debug)]
pub struct Strays {
    /// Addresses of sites, and their counts.
    known: [(usize, u32); KNOWN],
}

impl Default for Strays {
    fn default() -> Self {
        Strays { known: [(0, 0); KNOWN] }
    }
}

impl Strays {
    /// Counts one of `site`; true if they are many.
    pub fn count(&mut self, site: &Site) -> bool {
        let address = &raw const *site as usize;
        let (known, count) = &mut self.known[address / size_of::<Site>() % KNOWN];
        if *known != address {
            (*known, *count) = (address, 0);
        }
        *count += 1;
        let often = *count == if site.ahead { OFTEN_AHEAD } else { OFTEN };
        if often {
            *count = 0;
        }
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
        let mut strays = Strays::default();
        let reported = (0..OFTEN * 2).filter(|_| {
            strays.count(&sites[1]);
            strays.count(&sites[0])
        });
        assert_eq!(reported.collect::<Vec<u32>>(), [OFTEN - 1, OFTEN * 2 - 1]);
    }

    #[test]
    fn a_site_of_a_unit_made_ahead_may_do_it_more_often() {
        let insn = decode(0x00a5_b023, Extensions::all()).expect("sd");
        let (site, mut strays) = (Site { ahead: true, ..Site::alone(insn) }, Strays::default());
        assert_eq!((0..OFTEN_AHEAD * 2 - 1).find(|_| strays.count(&site)), Some(OFTEN_AHEAD - 1));
    }

    #[test]
    fn one_of_many_sites_that_share_a_place_begins_anew() {
        let insn = decode(0x00a5_b023, Extensions::all()).expect("sd");
        let sites = [Site::alone(insn); KNOWN + 1];
        let mut strays = Strays::default();
        assert!(!(0..OFTEN * 2).any(|_| strays.count(&sites[0]) || strays.count(&sites[KNOWN])));
    }
}
