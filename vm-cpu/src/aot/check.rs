//! What a loader may rely on: every field of every unit is in its range, and no two units share anything.

use super::error::ImageError;
use super::index::{OWN_WORDS, Range};
use super::unit::{AheadSite, AheadUnit};

/// What units may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of text.
    pub text: usize,
    /// Words behind the text.
    pub words: u32,
    /// Words at the front that belong to no unit.
    pub shared: u32,
}

/// Code begins at multiples of this.
pub const LINE: u32 = 64;
/// Bytes of a guest's page.
const GUEST_PAGE: u16 = 4096;
/// Numbers of inline caches, behind the last.
const SLOTS: u32 = 1 << 16;

/// Checks a unit by itself.
pub fn unit(number: usize, unit: &AheadUnit, bounds: Bounds) -> Result<(), ImageError> {
    let refuse = |(field, expected, found)| ImageError::Unit { unit: number, field, expected, found };
    code(unit, bounds.text).and_then(|()| sites(unit)).and_then(|()| ways(unit)).map_err(refuse)?;
    places(unit).and_then(|()| own(unit, bounds)).and_then(|()| slots(unit)).map_err(refuse)
}

/// Checks units against each other, by the table of what they have: each has what comes behind what those before
/// it have.
pub fn ranges(ranges: impl Iterator<Item = Range>) -> Result<(), ImageError> {
    let mut free = [0u64; 5];
    for (unit, range) in ranges.enumerate() {
        let Range { text, len, words, own, record, key, slot, slots, .. } = range;
        // What has no inline caches takes none, wherever it says that they begin.
        let some = u32::from(slots > 0);
        let slot = if slots > 0 { slot.into() } else { free[2] as u32 };
        let key = if slots > 0 { key } else { free[3] as u32 };
        let fields = [
            ("text", text, len),
            ("words", words, own),
            ("slots", slot, slots.into()),
            ("key of slots", key, some),
            ("record", record, 1),
        ];
        for ((field, start, len), free) in fields.into_iter().zip(&mut free) {
            if u64::from(start) < *free {
                let expected = format!("what no unit before it has, from {free} on");
                return Err(ImageError::Unit { unit, field, expected, found: start.to_string() });
            }
            *free = u64::from(start) + u64::from(len);
        }
    }
    Ok(())
}

impl AheadSite {
    /// Bytes of the instruction.
    pub fn bytes(&self) -> u16 {
        if self.bits & 3 == 3 { 4 } else { 2 }
    }
}

type Wrong = (&'static str, String, String);

/// Refuses a field unless it is as expected.
fn ensure(
    good: bool,
    field: &'static str,
    expected: impl ToString,
    found: impl ToString,
) -> Result<(), Wrong> {
    if good { Ok(()) } else { Err((field, expected.to_string(), found.to_string())) }
}

fn code(unit: &AheadUnit, text: usize) -> Result<(), Wrong> {
    ensure(unit.text.is_multiple_of(LINE), "text", "a multiple of 64", unit.text)?;
    ensure(unit.len > 0, "len", "some code", "none")?;
    let end = u64::from(unit.text) + u64::from(unit.len);
    ensure(end <= text as u64, "text", format_args!("an end at {text:#x} at most"), format_args!("{end:#x}"))
}

fn sites(unit: &AheadUnit) -> Result<(), Wrong> {
    ensure(!unit.sites.is_empty(), "sites", "some instructions", "none")?;
    for site in &unit.sites {
        in_page("site", site.offset)?;
        let fits = site.offset + site.bytes() <= GUEST_PAGE;
        ensure(
            fits,
            "site",
            "an instruction that ends in its page",
            format_args!("one at {:#x}", site.offset),
        )?;
        let upper = site.bits >> 16;
        ensure(site.bytes() == 4 || upper == 0, "bits", "zeros above a compressed instruction", upper)?;
        let rest = usize::from(site.rest);
        let left = unit.sites.len();
        ensure((1..=left).contains(&rest), "rest", format_args!("1 to {left} instructions"), rest)?;
    }
    for pair in unit.sites.windows(2) {
        let (before, after) = (pair[0].offset, pair[1].offset);
        ensure(
            before < after,
            "site",
            format_args!("an offset above {before:#x}"),
            format_args!("{after:#x}"),
        )?;
    }
    Ok(())
}

fn ways(unit: &AheadUnit) -> Result<(), Wrong> {
    ensure(!unit.entries.is_empty(), "entries", "a way in", "none")?;
    for &(offset, code) in &unit.entries {
        in_page("entry", offset)?;
        ensure(
            code < unit.len,
            "entry",
            format_args!("code below {:#x}", unit.len),
            format_args!("{code:#x}"),
        )?;
        let there = unit.sites.binary_search_by_key(&offset, |site| site.offset).is_ok();
        ensure(there, "entry", "the offset of a site", format_args!("{offset:#x}"))?;
    }
    once("entry", unit.entries.iter().map(|entry| entry.0))?;
    unit.links.iter().try_for_each(|&offset| in_page("link", offset))?;
    once("link", unit.links.iter().copied())
}

fn in_page(field: &'static str, offset: u16) -> Result<(), Wrong> {
    let good = offset < GUEST_PAGE && offset.is_multiple_of(2);
    ensure(good, field, "an even offset below 4096", offset)
}

fn once(field: &'static str, offsets: impl Iterator<Item = u16>) -> Result<(), Wrong> {
    let mut offsets: Vec<u16> = offsets.collect();
    offsets.sort_unstable();
    match offsets.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err((field, "each once".to_owned(), format!("{:#x} twice", pair[0]))),
    }
}

fn places(unit: &AheadUnit) -> Result<(), Wrong> {
    ensure(unit.places.first().is_some_and(|place| place.0 == 0), "places", "one from the start on", "none")?;
    let mut at = 0u64;
    for &(distance, site) in &unit.places {
        at += u64::from(distance);
        ensure(at < unit.len.into(), "places", format_args!("code below {:#x}", unit.len), at)?;
        let known = usize::from(site) < unit.sites.len();
        ensure(known, "places", format_args!("a site below {}", unit.sites.len()), site)?;
    }
    Ok(())
}

fn own(unit: &AheadUnit, bounds: Bounds) -> Result<(), Wrong> {
    let end = u64::from(unit.words) + u64::from(OWN_WORDS) + unit.links.len() as u64;
    let within = unit.words >= bounds.shared && end <= bounds.words.into();
    let expected = format_args!("words from {} up to {}", bounds.shared, bounds.words);
    ensure(within, "words", expected, format_args!("{} to {end}", unit.words))
}

fn slots(unit: &AheadUnit) -> Result<(), Wrong> {
    let Some(slots) = unit.slots else {
        let site = unit.sites.iter().find(|site| site.slot != 0).map(|site| site.slot);
        return ensure(site.is_none(), "slot", "none in a unit without slots", site.unwrap_or(0));
    };
    let (first, end) = (u32::from(slots.first), u32::from(slots.first) + u32::from(slots.len));
    ensure(first > 0 && end <= SLOTS, "slots", "numbers from 1 to 65535", format_args!("{first} to {end}"))?;
    ensure(slots.len > 1, "slots", "a header and one more", slots.len)?;
    ensure(slots.stores < slots.len, "stores", format_args!("fewer than {}", slots.len), slots.stores)?;
    ensure((1..=i32::MAX as u32).contains(&slots.key), "key of slots", "1 to 2147483647", slots.key)?;
    let mine = first + 1..end;
    let stray =
        unit.sites.iter().map(|site| site.slot).find(|&slot| slot != 0 && !mine.contains(&slot.into()));
    let expected = format_args!("{} to {}", mine.start, mine.end - 1);
    ensure(stray.is_none(), "slot", expected, stray.unwrap_or(0))?;
    once("slot", unit.sites.iter().map(|site| site.slot).filter(|&slot| slot != 0))
}
