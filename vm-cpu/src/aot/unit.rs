//! The translations of an image.
//!
//! ```text
//!  text:  unit │ unit │ …   64-byte lines, hottest first; shared, read and execute only
//!  words: helpers │ unit: number, sites, cell, cell, … │ unit: …   private, behind the text's last page
//! ```
//! Text reaches the words relative to its own address, and holds no address of any process.

use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// One translation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AheadUnit {
    /// Offset of its code in the text, a multiple of 64.
    pub text: u32,
    /// Bytes of its code.
    pub len: u32,
    /// Ways in: offset in the guest's page, and in the code.
    pub entries: Vec<(u16, u32)>,
    /// The guest's instructions that it was made from.
    pub sites: Vec<AheadSite>,
    /// Offsets in the page that it leaves for; each has a cell among its words.
    pub links: Vec<u16>,
    /// The first of its words: number, address of its sites, and a cell for each link.
    pub words: u32,
    /// Its inline caches.
    pub slots: Option<AheadSlots>,
    /// Executions of its hottest block in the profile.
    pub heat: u64,
    /// Whose code lies where: bytes behind the begin of the one before, and the site. The first begins at 0.
    pub places: Vec<(u32, u16)>,
}

impl AheadUnit {
    /// The instruction that the code at an offset is of.
    pub fn site_at(&self, code: u32) -> Option<&AheadSite> {
        let mut at = 0u32;
        let begun = self.places.iter().take_while(|place| {
            at = at.saturating_add(place.0);
            at <= code
        });
        let (_, site) = begun.last()?;
        self.sites.get(usize::from(*site)).filter(|_| code < self.len)
    }
}

/// One instruction of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AheadSite {
    /// As in memory; the upper half is 0 if it is compressed.
    pub bits: u32,
    /// What it was taken for, as a number of [`Op`](crate::isa::Op): where a machine decodes the bits otherwise,
    /// the unit is not for it.
    pub op: u16,
    /// Offset in the page.
    pub offset: u16,
    /// Instructions of its basic block from this one on.
    pub rest: u16,
    /// Its inline cache; 0 is none.
    pub slot: u16,
    /// It looks for code after each store.
    pub beside: bool,
    /// It is checked by itself, not with others.
    pub apart: bool,
}

/// The inline caches of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AheadSlots {
    /// The header's number.
    pub first: u16,
    /// Slots, the header included.
    pub len: u16,
    /// Added to the stamp in the header.
    pub key: u32,
    /// How many of them, at the end, are of stores.
    pub stores: u16,
}

/// All translations of an image, and their code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the order of their code; the hottest come first.
    pub units: Vec<AheadUnit>,
    /// Their code.
    pub text: Vec<u8>,
    /// Words behind the text.
    pub words: u32,
    /// What the next build may need to know of units, in their order; of some, all or none.
    pub origins: Vec<Origin>,
}
