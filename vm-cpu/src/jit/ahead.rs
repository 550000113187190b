//! Units of an image: found by what the guest's code is, bound to where it is.
//!
//! ```text
//!  block runs ─► offset and first instruction ─► candidates ─► all bytes the same? ─► words set, published
//!  its code is written to ─► unit dies ─► nobody runs it any more ─► may be bound again, anywhere
//! ```
//! **Invariant.** A unit is bound to one place at a time: its words are of that place, and stay until no hart
//! can be in it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vm_codecache::{Adopted, CacheError, CodeCache, New, Zone};
use vm_mmu::{AddressSpace, PAGE};

use super::abi::Site;
use super::enter::Helper;
use super::lift::{LINK_WORDS, NUMBER_WORD, SITES_WORD};
use super::service::Unit;
use super::slots::{FIRST_KEY, FIRST_SLOT};
use crate::aot::unit::{AheadSite, AheadUnit, Contents};
use crate::interp::{Block, granule_mask};
use crate::isa::effects::Effects;
use crate::isa::{self, Extensions, Insn};

/// An image in use.
pub(crate) struct Ahead {
    units: Vec<AheadUnit>,
    adopted: Adopted,
    /// Units by an entry's offset in the page and the bits of its first instruction.
    by_entry: HashMap<(u16, u32), Vec<u32>>,
    /// Which are bound.
    bound: Mutex<Vec<bool>>,
}

/// The hold of a live translation on its unit.
pub(crate) struct Lease {
    ahead: Arc<Ahead>,
    unit: u32,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ahead.bound.lock()[self.unit as usize] = false;
    }
}

impl Ahead {
    /// Lays the code of an image into `cache`.
    pub fn new(contents: Contents, cache: &CodeCache<Unit>) -> Result<Arc<Ahead>, CacheError> {
        let Contents { units, text, words } = contents;
        let adopted = cache.adopt(&text, words as usize)?;
        for helper in Helper::ALL {
            for vectors in [false, true] {
                adopted.set(2 * helper as u32 + u32::from(vectors), helper.address(vectors));
            }
        }
        let mut by_entry: HashMap<(u16, u32), Vec<u32>> = HashMap::new();
        for (number, unit) in units.iter().enumerate() {
            for &(offset, _) in &unit.entries {
                if let Ok(site) = unit.sites.binary_search_by_key(&offset, |site| site.offset) {
                    by_entry.entry((offset, unit.sites[site].bits)).or_default().push(number as u32);
                }
            }
        }
        let bound = Mutex::new(vec![false; units.len()]);
        Ok(Arc::new(Ahead { units, adopted, by_entry, bound }))
    }

    /// Binds a unit that can be entered at `block`, whose first instruction is `first`, and that `suits` what
    /// was learnt of the code in this run; `mark` marks granules of a page as code. Its number, if there is one.
    pub fn bind(
        self: &Arc<Self>,
        cache: &CodeCache<Unit>,
        memory: &AddressSpace,
        extensions: Extensions,
        (block, first): (&Block, &Insn),
        suits: &dyn Fn(u64, &[Site]) -> bool,
        mut mark: impl FnMut(u64, u64),
    ) -> Option<u32> {
        let page = block.gpa & !(PAGE - 1);
        let key = ((block.gpa - page) as u16, first.bits);
        let candidates = self.by_entry.get(&key)?;
        candidates.iter().copied().find(|&number| {
            let sites = sites(&self.units[number as usize], page, memory, extensions);
            sites
                .filter(|sites| suits(page, sites))
                .is_some_and(|sites| self.publish(cache, memory, page, number, sites, &mut mark).is_some())
        })
    }

    /// Basic blocks of a unit: offset, offset behind, and a heat that says nothing.
    pub fn blocks(&self, unit: u32) -> impl Iterator<Item = (u32, u32, u64)> + Clone + '_ {
        let sites = &self.units[unit as usize].sites;
        let starts = sites.iter().enumerate().filter(|&(at, _)| at == 0 || sites[at - 1].rest == 1);
        starts.filter_map(|(at, first)| {
            let last = sites.get(at + usize::from(first.rest) - 1)?;
            let len = if last.bits & 3 == 3 { 4 } else { 2 };
            Some((first.offset.into(), u32::from(last.offset) + len, 0))
        })
    }

    /// The right to use a unit, if nobody has it.
    fn lease(self: &Arc<Self>, unit: u32) -> Option<Lease> {
        let bound = std::mem::replace(&mut self.bound.lock()[unit as usize], true);
        (!bound).then(|| Lease { ahead: self.clone(), unit })
    }

    fn publish(
        self: &Arc<Self>,
        cache: &CodeCache<Unit>,
        memory: &AddressSpace,
        page: u64,
        number: u32,
        sites: Box<[Site]>,
        mark: &mut impl FnMut(u64, u64),
    ) -> Option<()> {
        let lease = self.lease(number)?;
        let unit = &self.units[number as usize];
        let mut ticket = cache.reserve()?;
        self.adopted.set(unit.words + NUMBER_WORD, ticket.number().into());
        self.adopted.set(unit.words + SITES_WORD, sites.as_ptr() as u64);
        for (word, &link) in (unit.words + LINK_WORDS..).zip(&unit.links) {
            self.adopted.set(word, cache.link(&mut ticket, page + u64::from(link)));
        }
        let entries: Vec<(u64, u32)> =
            unit.entries.iter().map(|&(offset, at)| (page + u64::from(offset), at)).collect();
        let spans = sites.iter().map(|site| granule_mask(site.offset.into(), site.insn.len.into()));
        let granules = spans.fold(0, |all, span| all | span);
        mark(page, granules);
        let new = New {
            zone: Zone::Stable,
            code: &[],
            entries: &entries,
            pages: &[(page, granules)],
            meta: Unit { page, sites, slots: None, quick: false, _lease: Some(lease) },
            heat: unit.heat.min(u32::MAX.into()) as u32,
        };
        let holds = |unit: &Unit| memory.tracker().holds(page, granules, || unit.is_true(memory));
        cache.publish_adopted(ticket, &self.adopted, (unit.text, unit.len), new, holds).ok()?;
        Some(())
    }

    /// The first slot, and the first key, that no unit uses.
    pub fn free_slots(units: &[AheadUnit]) -> (u32, u32) {
        let slots = units.iter().filter_map(|unit| unit.slots);
        slots.fold((FIRST_SLOT, FIRST_KEY), |(slot, key), of| {
            (slot.max(u32::from(of.first) + u32::from(of.len)), key.max(of.key + 1))
        })
    }
}

/// The instructions of a unit as they are in `page`. `None` if they are others, or mean something else to this
/// machine.
fn sites(unit: &AheadUnit, page: u64, memory: &AddressSpace, extensions: Extensions) -> Option<Box<[Site]>> {
    let half = |at: u64| memory.read_u16(at).map_or(0, u32::from);
    let place = |site: &AheadSite| {
        let at = page + u64::from(site.offset);
        let low = half(at);
        let bits = if low & 3 == 3 { low | half(at + 2) << 16 } else { low };
        let insn = (bits == site.bits).then(|| isa::decode(bits, extensions)).flatten()?;
        let size = Effects::of(&insn).directly().access.map_or(0, |(size, _)| size as u8);
        (insn.op as u16 == site.op).then_some(Site {
            insn: Insn { at: 0, ..insn },
            offset: site.offset,
            rest: site.rest,
            size,
            slot: site.slot,
            beside: site.beside,
            ahead: true,
        })
    };
    unit.sites.iter().map(place).collect()
}
