//! Units by the names of the guest's code: in which symbol each lies, and what each symbol has of the image.

use std::collections::HashMap;
use std::fmt::Write as _;

use vm_cpu::aot::unit::AheadUnit;

use crate::inspect::more;
use crate::places::{self, Place};
use crate::symbols::Symbols;

/// Units of an image, found in files of the guest.
pub struct Named {
    symbols: Symbols,
    places: Vec<Option<Place>>,
}

/// What a symbol has.
#[derive(Default)]
struct Share {
    units: usize,
    insns: usize,
    host: usize,
    /// Of its hottest unit.
    heat: u64,
}

impl Named {
    /// Finds them.
    pub fn of(units: &[AheadUnit], symbols: Symbols) -> Named {
        Named { places: places::find(units, &symbols), symbols }
    }

    /// Where a unit's hottest entry lies, in words.
    pub fn unit(&self, units: &[AheadUnit], number: usize) -> String {
        let Some(place) = self.places[number] else { return "not in the file".to_owned() };
        let first = units[number].entries.first().map_or(0, |entry| entry.0);
        let address = place.page + u64::from(first);
        let mut text = match self.symbols.at(address) {
            Some(symbol) => format!("{}+{:#x}", symbol.name, address - symbol.address),
            None => format!("{address:#x}"),
        };
        if place.others > 0 {
            let _ = write!(text, ", {} patched", place.others);
        }
        if place.more > 0 {
            let _ = write!(text, ", or at {} other places", place.more);
        }
        text
    }

    /// What each symbol has, the most host code first.
    pub fn table(&self, units: &[AheadUnit], top: usize) -> String {
        let mut shares: HashMap<&str, Share> = HashMap::new();
        let mut found = 0;
        for (unit, place) in units.iter().zip(&self.places) {
            let Some(place) = place else { continue };
            found += 1;
            let name = |offset: u16| {
                self.symbols.at(place.page + u64::from(offset)).map_or("(no symbol)", |symbol| &symbol.name)
            };
            let mut met: Vec<&str> = Vec::new();
            for (site, host) in unit.sites.iter().zip(host_bytes(unit)) {
                let name = name(site.offset);
                let share = shares.entry(name).or_default();
                share.insns += 1;
                share.host += host;
                if !met.contains(&name) {
                    met.push(name);
                    share.units += 1;
                    share.heat = share.heat.max(unit.heat);
                }
            }
        }
        let mut rows: Vec<(&str, Share)> = shares.into_iter().collect();
        rows.sort_by_key(|&(name, ref share)| (std::cmp::Reverse(share.host), name));
        let mut text = format!(
            "symbols   {} of {found} units; {} lie in no code of the file\n",
            rows.len(),
            units.len() - found
        );
        for (name, share) in rows.iter().take(top) {
            let Share { units, insns, host, heat } = share;
            let _ = writeln!(
                text,
                "symbol    heat {heat:>12}  {units:>4} units {insns:>5} instructions  host {host:>8} bytes  {name}"
            );
        }
        text + &more(rows.len(), top, "symbols")
    }
}

/// Bytes of host code by instruction. Code whose instruction is not known counts for the first.
fn host_bytes(unit: &AheadUnit) -> Vec<usize> {
    let mut bytes = vec![0; unit.sites.len()];
    let (mut at, mut whose) = (0, 0);
    for &(distance, site) in &unit.places {
        bytes[whose] += distance as usize;
        (at, whose) = (at + distance as usize, usize::from(site));
    }
    bytes[whose] += unit.len as usize - at;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_host_code_is_somebodys() {
        let sites = vec![Default::default(); 3];
        let unit = AheadUnit {
            len: 100,
            sites,
            places: vec![(0, 0), (10, 2), (5, 1), (20, 2)],
            ..AheadUnit::default()
        };
        assert_eq!(host_bytes(&unit), [10, 20, 70]);
    }
}
