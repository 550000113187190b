//! Where the code of units lies in a guest's files, found by content as a machine does when it binds them.
//!
//! ```text
//!  unit:  offsets in a page, instructions ──same bytes at an address of the same offset──► address, symbol
//! ```
//! An image knows no addresses. A kernel patches its code when it starts, so units of it may be of other
//! instructions than its file has here and there: what agrees for the most part is taken, and marked.

use std::collections::HashMap;

use vm_cpu::aot::unit::{AheadSite, AheadUnit};

use crate::symbols::{Code, Symbols};

/// Bytes of a guest's page.
const PAGE: u64 = 4096;
/// Of so many instructions of a unit …
const PARTS: usize = 8;
/// … so many have to agree.
const AGREE: usize = 7;

/// Where a unit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of the guest's page.
    pub page: u64,
    /// Instructions that are others in the file.
    pub others: usize,
    /// How many more places are as good.
    pub more: usize,
}

/// Looks for all units; `None` where nothing is like one.
pub fn find(units: &[AheadUnit], symbols: &Symbols) -> Vec<Option<Place>> {
    let mut marks: HashMap<(u16, u32), Vec<usize>> = HashMap::new();
    for (number, unit) in units.iter().enumerate() {
        let sites = &unit.sites;
        // The first may be patched, and so may another.
        let mut some = [0, sites.len() / 3, sites.len() * 2 / 3, sites.len() - 1];
        some.sort_unstable();
        for pair in some.chunk_by(|a, b| a == b) {
            let site = &sites[pair[0]];
            marks.entry((site.offset, site.bits)).or_default().push(number);
        }
    }
    let mut found: Vec<Option<Search>> = vec![None; units.len()];
    for code in &symbols.code {
        for at in (0..code.bytes.len()).step_by(2) {
            let address = code.address.wrapping_add(at as u64);
            let Some(bits) = insn(code, address) else { continue };
            let offset = (address % PAGE) as u16;
            for &number in marks.get(&(offset, bits)).into_iter().flatten() {
                look(&units[number], code, address - u64::from(offset), &mut found[number]);
            }
        }
    }
    found.into_iter().map(|search| search.map(|search| search.best)).collect()
}

/// The best so far.
#[derive(Clone, Copy, Debug)]
struct Search {
    best: Place,
    /// The page looked at last: each of a unit's marks leads there.
    last: u64,
}

/// Takes a page for a unit's, if it is as good as any before.
fn look(unit: &AheadUnit, code: &Code, page: u64, found: &mut Option<Search>) {
    if found.is_some_and(|search| search.last == page) {
        return;
    }
    let agrees = |site: &&AheadSite| insn(code, page.wrapping_add(site.offset.into())) == Some(site.bits);
    let others = unit.sites.len() - unit.sites.iter().filter(agrees).count();
    if (unit.sites.len() - others) * PARTS < unit.sites.len() * AGREE {
        return;
    }
    let best = match found.map(|search| search.best) {
        Some(best) if best.others < others => best,
        Some(best) if best.others == others => Place { more: best.more + 1, ..best },
        _ => Place { page, others, more: 0 },
    };
    *found = Some(Search { best, last: page });
}

/// The instruction at an address.
fn insn(code: &Code, address: u64) -> Option<u32> {
    let at = usize::try_from(address.checked_sub(code.address)?).ok()?;
    let half = |at: usize| Some(u32::from(u16::from_le_bytes(*code.bytes.get(at..)?.first_chunk()?)));
    let low = half(at)?;
    if low & 3 == 3 { Some(low | half(at + 2)? << 16) } else { Some(low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten instructions from 0xff0 on, in a page.
    fn unit() -> AheadUnit {
        let site = |at: u16| AheadSite {
            bits: 0x4501 + 4 * u32::from(at),
            offset: 0x100 + 2 * at,
            ..AheadSite::default()
        };
        AheadUnit { sites: (0..10).map(site).collect(), ..AheadUnit::default() }
    }

    fn code(address: u64, patch: &[(usize, u8)]) -> Code {
        let mut bytes = vec![1; 0x3000];
        for page in [0, 0x2000] {
            for (at, site) in unit().sites.iter().enumerate() {
                bytes[page + 0x100 + 2 * at..][..2].copy_from_slice(&(site.bits as u16).to_le_bytes());
            }
        }
        patch.iter().for_each(|&(at, byte)| bytes[at] = byte);
        Code { address, bytes }
    }

    fn found(address: u64, patch: &[(usize, u8)]) -> Option<Place> {
        let symbols = Symbols { code: vec![code(address, patch)], ..Symbols::default() };
        find(&[unit()], &symbols)[0]
    }

    #[test]
    fn a_unit_is_found_where_its_instructions_are_and_nowhere_else() {
        let place = |page, others, more| Some(Place { page, others, more });
        assert_eq!(found(0x8000_0000, &[]), place(0x8000_0000, 0, 1));
        assert_eq!(found(0x8000_0000, &[(0x2100, 0)]), place(0x8000_0000, 0, 0));
        assert_eq!(found(0x8000_0000, &[(0x100, 0)]), place(0x8000_2000, 0, 0), "the better one");
        assert_eq!(found(0x8000_0000, &[(0x100, 0), (0x2110, 0)]), place(0x8000_0000, 1, 1), "both patched");
        assert_eq!(found(0x8000_0002, &[]), None, "at other offsets of its page");
        let much = [(0x100, 0), (0x102, 0), (0x2100, 0), (0x2106, 0)];
        assert_eq!(found(0x8000_0000, &much), None, "two of ten are others");
        assert_eq!(found(u64::MAX - 0xff, &[]), None, "code at the end of all addresses");
    }
}
