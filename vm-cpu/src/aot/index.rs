//! Two tables over the units of an image, used where they lie: nobody has to read all units to run some.
//!
//! ```text
//!  ranges   by unit, which is by place in the text:  what of text, words, slots and records is whose
//!  lookup   by instruction, offset, unit:            instruction of the guest → way in
//! ```
//! Numbers are little-endian.

use super::codec;
use super::error::ImageError;
use super::unit::AheadUnit;

/// What a unit has for itself, in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where its code begins in the text.
    pub text: u32,
    /// Bytes of its code.
    pub len: u32,
    /// The first of its words.
    pub words: u32,
    /// How many they are.
    pub own: u32,
    /// Where it begins in the section of units; it ends where the next begins.
    pub record: u32,
    /// The key of its inline caches, 0 if it has none.
    pub key: u32,
    /// The first of them.
    pub slot: u16,
    /// How many they are.
    pub slots: u16,
    /// Offset of its first instruction in the page.
    pub first: u16,
    /// Offset behind its last.
    pub end: u16,
}

/// A way into a unit, found by the instruction there, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The instruction at the entry; the upper half is 0 if it is compressed.
    pub bits: u32,
    /// Offset of the entry in the page.
    pub offset: u16,
    /// Which unit.
    pub unit: u32,
    /// Offset of the entry in the unit's code.
    pub code: u32,
}

/// Words of a unit before its links.
pub const OWN_WORDS: u32 = 2;

impl Range {
    /// Bytes of one.
    pub const BYTES: usize = 32;

    /// Of a unit whose fields were checked, and whose bytes begin at `record` of their section.
    pub fn of(unit: &AheadUnit, record: u32) -> Range {
        let slots = unit.slots.unwrap_or_default();
        Range {
            text: unit.text,
            len: unit.len,
            words: unit.words,
            // Links are distinct offsets of a page, so there are few.
            own: OWN_WORDS + unit.links.len() as u32,
            record,
            key: slots.key,
            slot: slots.first,
            slots: slots.len,
            first: unit.sites.first().map_or(0, |site| site.offset),
            end: unit.sites.iter().map(|site| site.offset + site.bytes()).max().unwrap_or(0),
        }
    }

    fn to_bytes(self) -> [u8; Range::BYTES] {
        let words = [self.text, self.len, self.words, self.own, self.record, self.key];
        let halves = [self.slot, self.slots, self.first, self.end];
        let mut bytes = [0; Range::BYTES];
        bytes[..24].copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
        bytes[24..].copy_from_slice(halves.map(u16::to_le_bytes).as_flattened());
        bytes
    }

    /// Of bytes, whatever they are.
    pub fn of_bytes(bytes: &[u8; Range::BYTES]) -> Range {
        let (at, half) = readers(bytes);
        Range {
            text: at(0),
            len: at(4),
            words: at(8),
            own: at(12),
            record: at(16),
            key: at(20),
            slot: half(24),
            slots: half(26),
            first: half(28),
            end: half(30),
        }
    }
}

impl Way {
    /// Bytes of one.
    pub const BYTES: usize = 16;

    /// The ways into a unit whose fields were checked.
    pub fn of(number: u32, unit: &AheadUnit) -> impl Iterator<Item = Way> {
        unit.entries.iter().filter_map(move |&(offset, code)| {
            let at = unit.sites.binary_search_by_key(&offset, |site| site.offset).ok()?;
            Some(Way { bits: unit.sites[at].bits, offset, unit: number, code })
        })
    }

    fn to_bytes(self) -> [u8; Way::BYTES] {
        let mut bytes = [0; Way::BYTES];
        bytes[..12].copy_from_slice([self.bits, self.unit, self.code].map(u32::to_le_bytes).as_flattened());
        bytes[12..14].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// Of bytes, whatever they are.
    pub fn of_bytes(bytes: &[u8; Way::BYTES]) -> Way {
        let (at, half) = readers(bytes);
        Way { bits: at(0), unit: at(4), code: at(8), offset: half(12) }
    }
}

fn readers(bytes: &[u8]) -> (impl Fn(usize) -> u32, impl Fn(usize) -> u16) {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|k| bytes[at + k]));
    let half = |at: usize| u16::from_le_bytes(std::array::from_fn(|k| bytes[at + k]));
    (word, half)
}

/// Units as bytes, whose fields were checked, and the two tables.
pub fn write(units: &[AheadUnit]) -> Result<[Vec<u8>; 3], ImageError> {
    let (mut records, mut ranges) = (Vec::new(), Vec::new());
    for unit in units {
        let at = u32::try_from(records.len()).map_err(|error| ImageError::Section {
            section: "units",
            reason: format!("expected less than 4 GiB: {error}"),
        })?;
        ranges.extend(Range::of(unit, at).to_bytes());
        records.extend(codec::encode(unit)?);
    }
    Ok([records, ranges, lookup(units)])
}

fn lookup(units: &[AheadUnit]) -> Vec<u8> {
    let mut ways: Vec<Way> = (0..).zip(units).flat_map(|(number, unit)| Way::of(number, unit)).collect();
    ways.sort_unstable();
    ways.into_iter().flat_map(Way::to_bytes).collect()
}

/// Checks that a table of ways is the one that [`write`] makes of the same units.
pub fn check_lookup(bytes: &[u8], units: &[AheadUnit]) -> Result<(), ImageError> {
    let expected = lookup(units);
    if bytes == expected {
        return Ok(());
    }
    let row = expected.chunks(Way::BYTES).zip(bytes.chunks(Way::BYTES)).position(|(a, b)| a != b);
    let reason = match row {
        _ if bytes.len() != expected.len() => {
            format!("expected {} bytes, found {}", expected.len(), bytes.len())
        }
        row => format!("expected the ways into the units, found another in row {}", row.unwrap_or(0)),
    };
    Err(ImageError::Section { section: "lookup", reason })
}
