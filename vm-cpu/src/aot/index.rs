//! Two tables over the units of an image, written sorted so that nobody has to sort them at start.
//!
//! ```text
//!  ranges   host text → guest:   start, length │ unit │ first, end in the guest's page      by start
//!  lookup   guest → host text:   bits │ offset │ unit │ code of the way in                  by bits, offset, unit
//! ```
//! Rows are 16 bytes, numbers little-endian.

use super::error::ImageError;
use super::unit::AheadUnit;

const ROW: usize = 16;

/// The code of a unit, and what of a guest's page it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Where its code begins in the text.
    pub text: u32,
    /// Bytes of its code.
    pub len: u32,
    /// Which unit.
    pub unit: u32,
    /// Offset of its first instruction in the page.
    pub first: u16,
    /// Offset behind its last.
    pub end: u16,
}

/// A way into a unit, found by the instruction there.
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

/// One row of a table.
pub trait Row: Copy + Ord {
    /// The section of the table.
    const SECTION: &'static str;

    /// The rows of a unit whose fields were checked.
    fn of(number: u32, unit: &AheadUnit) -> impl Iterator<Item = Self>;

    /// As bytes.
    fn to_bytes(self) -> [u8; ROW];

    /// Of bytes, whatever they are.
    fn of_bytes(bytes: [u8; ROW]) -> Self;
}

impl Row for Range {
    const SECTION: &'static str = "ranges";

    fn of(number: u32, unit: &AheadUnit) -> impl Iterator<Item = Self> {
        let first = unit.sites.first().map_or(0, |site| site.offset);
        let end = unit.sites.iter().map(|site| site.offset + site.bytes()).max().unwrap_or(0);
        std::iter::once(Range { text: unit.text, len: unit.len, unit: number, first, end })
    }

    fn to_bytes(self) -> [u8; ROW] {
        let (text, len, unit) = (self.text.to_le_bytes(), self.len.to_le_bytes(), self.unit.to_le_bytes());
        row([text, len, unit], [self.first, self.end])
    }

    fn of_bytes(bytes: [u8; ROW]) -> Self {
        let (at, half) = readers(&bytes);
        Range { text: at(0), len: at(4), unit: at(8), first: half(12), end: half(14) }
    }
}

impl Row for Way {
    const SECTION: &'static str = "lookup";

    fn of(number: u32, unit: &AheadUnit) -> impl Iterator<Item = Self> {
        unit.entries.iter().filter_map(move |&(offset, code)| {
            let at = unit.sites.binary_search_by_key(&offset, |site| site.offset).ok()?;
            Some(Way { bits: unit.sites[at].bits, offset, unit: number, code })
        })
    }

    fn to_bytes(self) -> [u8; ROW] {
        let (bits, unit, code) = (self.bits.to_le_bytes(), self.unit.to_le_bytes(), self.code.to_le_bytes());
        row([bits, unit, code], [self.offset, 0])
    }

    fn of_bytes(bytes: [u8; ROW]) -> Self {
        let (at, half) = readers(&bytes);
        Way { bits: at(0), unit: at(4), code: at(8), offset: half(12) }
    }
}

fn row(words: [[u8; 4]; 3], halves: [u16; 2]) -> [u8; ROW] {
    let mut bytes = [0; ROW];
    bytes[..12].copy_from_slice(words.as_flattened());
    bytes[12..].copy_from_slice(halves.map(u16::to_le_bytes).as_flattened());
    bytes
}

fn readers(bytes: &[u8; ROW]) -> (impl Fn(usize) -> u32, impl Fn(usize) -> u16) {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|k| bytes[at + k]));
    let half = |at: usize| u16::from_le_bytes(std::array::from_fn(|k| bytes[at + k]));
    (word, half)
}

/// The table of units whose fields were checked.
pub fn write<R: Row>(units: &[AheadUnit]) -> Vec<u8> {
    let mut rows: Vec<R> = (0..).zip(units).flat_map(|(number, unit)| R::of(number, unit)).collect();
    rows.sort_unstable();
    rows.into_iter().flat_map(R::to_bytes).collect()
}

/// Reads a table, which must be the one that [`write`] makes of the same units.
pub fn read<R: Row>(bytes: &[u8], units: &[AheadUnit]) -> Result<Vec<R>, ImageError> {
    let wrong = |reason: String| ImageError::Section { section: R::SECTION, reason };
    let expected: usize = (0..).zip(units).map(|(number, unit)| R::of(number, unit).count()).sum();
    if bytes.len() != expected * ROW {
        return Err(wrong(format!("expected {} bytes, found {}", expected * ROW, bytes.len())));
    }
    let rows: Vec<R> = bytes.as_chunks::<ROW>().0.iter().map(|&bytes| R::of_bytes(bytes)).collect();
    if let Some(at) = rows.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(wrong(format!("expected rows in order, found row {} out of it", at + 1)));
    }
    // Just as many, no two alike, and each row of a unit is there: so each that is there is of a unit.
    for (number, unit) in (0..).zip(units) {
        if R::of(number, unit).any(|row| rows.binary_search(&row).is_err()) {
            return Err(wrong(format!("expected the rows of unit {number}, found others")));
        }
    }
    // A spare byte that is not zero would be a second way to write the same.
    match rows.iter().flat_map(|row| row.to_bytes()).eq(bytes.iter().copied()) {
        true => Ok(rows),
        false => Err(wrong("expected zeros in spare bytes, found others".to_owned())),
    }
}
