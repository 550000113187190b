//! Two tables over the units of an image, used where they lie: nobody has to read all units to run some.
//!
//! ```text
//!  ranges   by unit, which is by place in the text:  what of text, words, slots and records is whose
//!  lookup   by instruction, offset, unit:            instruction of the guest → way in, and what follows there
//! ```
//! Numbers are little-endian.

use vm_mmu::PAGE;

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
    /// What of the unit comes behind that instruction.
    pub behind: Behind,
}

/// How many instructions are next to one without a gap, up to [`Behind::MOST`], and 13 bits of a hash of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behind(u16);

impl Behind {
    /// How many are looked at.
    const MOST: usize = 7;

    fn of(insns: impl Iterator<Item = u32>) -> Behind {
        let step = |(count, hash): (u16, u32), bits: u32| {
            (count + 1, (hash.rotate_left(5) ^ bits).wrapping_mul(0x9e37_79b1))
        };
        let (count, hash) = insns.take(Behind::MOST).fold((0, 0), step);
        Behind((hash >> 19) as u16 | count << 13)
    }

    /// Whether a page may have the same behind the instruction at an offset: what it has there is it, or has the
    /// same hash.
    pub fn is_in(self, page: &[u8; PAGE as usize], offset: u16) -> bool {
        let mut at = usize::from(offset);
        let mut next = || {
            let bits = bits_at(page, at)?;
            at += if bits & 3 == 3 { 4 } else { 2 };
            Some(bits)
        };
        let _ = next();
        self == Behind::of(std::iter::from_fn(next).take(usize::from(self.0 >> 13)))
    }
}

/// The instruction at an offset of a page, if it ends there: the upper half is 0 if it is compressed.
pub fn bits_at(page: &[u8; PAGE as usize], at: usize) -> Option<u32> {
    let half = |at: usize| Some(u32::from(u16::from_le_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let low = half(at)?;
    if low & 3 == 3 { Some(low | half(at + 2)? << 16) } else { Some(low) }
}

/// Tells of most instructions that no unit begins with that it is so, without a search: a bit for each hash.
#[derive(Debug)]
pub struct Sieve {
    bits: Box<[u64]>,
    /// Bits of a hash that do not count.
    shift: u32,
}

impl Sieve {
    /// Bits for each way in.
    const SPACE: usize = 16;

    /// Of instructions at offsets of pages.
    pub fn of(ways: impl ExactSizeIterator<Item = (u32, u16)>) -> Sieve {
        let size = (ways.len() * Sieve::SPACE).next_power_of_two().max(64);
        let mut sieve = Sieve { bits: vec![0; size / 64].into(), shift: 64 - size.trailing_zeros() };
        for (bits, offset) in ways {
            let (at, bit) = sieve.place(bits, offset);
            sieve.bits[at] |= bit;
        }
        sieve
    }

    /// Whether there may be one.
    pub fn lets_through(&self, bits: u32, offset: u16) -> bool {
        let (at, bit) = self.place(bits, offset);
        self.bits[at] & bit != 0
    }

    fn place(&self, bits: u32, offset: u16) -> (usize, u64) {
        let key = u64::from(offset) << 32 | u64::from(bits);
        let hash = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        (hash / 64, 1 << (hash % 64))
    }
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
            let next = unit.sites[at..].windows(2);
            let next = next.take_while(|pair| pair[0].offset + pair[0].bytes() == pair[1].offset);
            let behind = Behind::of(next.map(|pair| pair[1].bits));
            Some(Way { bits: unit.sites[at].bits, offset, unit: number, code, behind })
        })
    }

    fn to_bytes(self) -> [u8; Way::BYTES] {
        let mut bytes = [0; Way::BYTES];
        bytes[..12].copy_from_slice([self.bits, self.unit, self.code].map(u32::to_le_bytes).as_flattened());
        bytes[12..].copy_from_slice([self.offset, self.behind.0].map(u16::to_le_bytes).as_flattened());
        bytes
    }

    /// What the table is sorted by, of a way in whose bytes these are: first its instruction, then its offset.
    #[inline]
    pub fn key_of(bytes: &[u8; Way::BYTES]) -> u64 {
        let (at, half) = readers(bytes);
        Way::key(at(0), half(12))
    }

    /// The same of an instruction at an offset.
    #[inline]
    pub fn key(bits: u32, offset: u16) -> u64 {
        u64::from(bits) << 16 | u64::from(offset)
    }

    /// Of bytes, whatever they are.
    pub fn of_bytes(bytes: &[u8; Way::BYTES]) -> Way {
        let (at, half) = readers(bytes);
        Way { bits: at(0), unit: at(4), code: at(8), offset: half(12), behind: Behind(half(14)) }
    }
}

#[inline]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aot::sample;

    fn page(at: usize, code: &[u8]) -> [u8; PAGE as usize] {
        let mut page = [0; PAGE as usize];
        page[at..at + code.len()].copy_from_slice(code);
        page
    }

    #[test]
    fn what_comes_behind_an_instruction_tells_pages_apart() {
        let unit = &sample::contents().units[1];
        let ways: Vec<Way> = Way::of(1, unit).collect();
        // c.li, sd, ret.
        let code = [0x01, 0x45, 0x23, 0x30, 0x05, 0x00, 0x82, 0x80];
        let here = page(0x100, &code);
        assert!(ways.iter().all(|way| way.behind.is_in(&here, way.offset)));
        for at in 2..8 {
            let mut other = code;
            other[at] ^= 4;
            assert!(!ways[0].behind.is_in(&page(0x100, &other), 0x100), "byte {at}");
        }
        assert!(Behind::default().is_in(&here, 0x100), "what has nothing behind fits everywhere");
        assert!(!ways[0].behind.is_in(&page(0xffc, &code[..4]), 0xffc), "the page ends");
        // Whatever a file says, and of whatever offset.
        for any in 0..=u16::MAX {
            let _ = Behind(any).is_in(&here, any);
        }
    }

    #[test]
    fn a_sieve_lets_through_what_there_is_and_little_else() {
        let ways = || (0..1000u32).map(|n| (n.wrapping_mul(0x0123_4567), (n * 2) as u16));
        let sieve = Sieve::of(ways().collect::<Vec<_>>().into_iter());
        assert!(ways().all(|(bits, offset)| sieve.lets_through(bits, offset)));
        let strays = ways().filter(|&(bits, offset)| sieve.lets_through(bits ^ 0x80, offset)).count();
        assert!(strays < 150, "{strays} of 1000");
        assert!(!Sieve::of([].into_iter()).lets_through(0x13, 0));
    }
}
