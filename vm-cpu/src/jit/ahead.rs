//! Units of an image: found by what the guest's code is, bound to where it is.
//!
//! ```text
//!  block runs ─► offset and first instruction ─► candidates ─► what comes behind it ─► all bytes the same?
//!             ─► words set, published
//!  its code is written to ─► unit dies ─► nobody runs it any more ─► may be bound again, anywhere
//! ```
//! **Invariant.** A unit is bound to one place at a time: its words are of that place, and stay until no hart
//! can be in it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use vm_codecache::{Adopted, CacheError, CodeCache, New, Zone};
use vm_mmu::{AddressSpace, PAGE};

use super::abi::Site;
use super::enter::Helper;
use super::lift::{LINK_WORDS, NUMBER_WORD, SITES_WORD};
use super::region::Shape;
use super::service::Unit;
use super::slots::{FIRST_KEY, FIRST_SLOT};
use super::strays::PATIENCE_AHEAD;
use crate::aot::Image;
use crate::aot::index::{Sieve, bits_at};
use crate::aot::profile::Seen;
use crate::aot::shared::Loaded;
use crate::aot::unit::{AheadSite, AheadUnit};
use crate::interp::{Block, granule_mask};
use crate::isa::effects::Effects;
use crate::isa::{self, Extensions, Insn};

/// An image in use.
pub(crate) struct Ahead {
    image: Loaded,
    adopted: Adopted,
    /// Spares most searches that find nothing.
    sieve: Sieve,
    /// Which units are bound, or never to be.
    bound: Mutex<Vec<bool>>,
    /// How it was wrong, once it was.
    report: OnceLock<String>,
}

/// The hold of a live translation on its unit.
pub(crate) struct Lease {
    ahead: Arc<Ahead>,
    unit: u32,
    /// Times its slots were found to be of no use.
    useless: AtomicU32,
}

impl Lease {
    /// Its slots are of no use once more; true if that is borne.
    pub fn bears_useless_slots(&self) -> bool {
        self.useless.fetch_add(1, Relaxed) + 1 < PATIENCE_AHEAD
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ahead.bound.lock()[self.unit as usize] = false;
    }
}

impl Ahead {
    /// Maps the code of an image into `cache`.
    pub fn new(image: Loaded, cache: &CodeCache<Unit>) -> Result<Arc<Ahead>, CacheError> {
        let adopted = cache.adopt(image.sealed(), &image.text(), image.words() as usize)?;
        for helper in Helper::ALL {
            for vectors in [false, true] {
                adopted.set(2 * helper as u32 + u32::from(vectors), helper.address(vectors));
            }
        }
        let (bound, sieve) = (Mutex::new(vec![false; image.len()]), image.sieve());
        Ok(Arc::new(Ahead { image, adopted, sieve, bound, report: OnceLock::new() }))
    }

    /// Whether it is used no more.
    pub fn is_quarantined(&self) -> bool {
        self.report.get().is_some()
    }

    /// It was wrong: nothing of it is bound from here on.
    pub fn quarantine(&self, report: String) {
        // The first difference is the one to look at.
        let _ = self.report.set(report);
    }

    /// How it was wrong, once it was.
    pub fn report(&self) -> Option<&str> {
        self.report.get().map(String::as_str)
    }

    /// Whether its code is at a host address.
    pub fn holds(&self, cache: &CodeCache<Unit>, host_pc: u64) -> bool {
        cache.offset_in(&self.adopted, host_pc).is_some_and(|at| at < self.image.text().len() as u64)
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
        let offset = (block.gpa - page) as u16;
        if !self.sieve.lets_through(first.bits, offset) {
            return None;
        }
        let mut bytes = [0; PAGE as usize];
        memory.read(page, &mut bytes).ok()?;
        let ways = self.image.ways(offset, first.bits);
        ways.filter(|way| way.behind.is_in(&bytes, offset)).map(|way| way.unit).find(|&number| {
            let Some(unit) = self.unit(number) else { return false };
            let sites = sites(&unit, &bytes, extensions);
            sites.filter(|sites| suits(page, sites)).is_some_and(|sites| {
                self.publish(cache, memory, page, (number, &unit), sites, &mut mark).is_some()
            })
        })
    }

    /// A unit that is not bound. One that cannot be is said once in the log, and never bound.
    fn unit(&self, number: u32) -> Option<AheadUnit> {
        if self.is_quarantined() || *self.bound.lock().get(number as usize)? {
            return None;
        }
        let unit = self.image.unit(number as usize);
        unit.inspect_err(|error| {
            tracing::warn!(%error, "a unit of the image is left out");
            self.bound.lock()[number as usize] = true;
        })
        .ok()
    }

    /// Basic blocks of a unit; how often they ran is not known.
    pub fn blocks(&self, unit: u32) -> Vec<Seen> {
        let sites = self.image.unit(unit as usize).map(|unit| unit.sites).unwrap_or_default();
        let starts = sites.iter().enumerate().filter(|&(at, _)| at == 0 || sites[at - 1].rest == 1);
        let blocks = starts.filter_map(|(at, first)| {
            let of_block = sites.get(at..at + usize::from(first.rest))?;
            let (last, optimised) = (of_block.last()?, of_block.iter().any(|site| site.slot != 0));
            let (offset, end) = (first.offset.into(), u32::from(last.offset + last.bytes()));
            Some(Seen { offset, end, optimised, ..Seen::default() })
        });
        blocks.collect()
    }

    /// The right to use a unit, if nobody has it.
    fn lease(self: &Arc<Self>, unit: u32) -> Option<Lease> {
        let bound = std::mem::replace(&mut self.bound.lock()[unit as usize], true);
        (!bound).then(|| Lease { ahead: self.clone(), unit, useless: AtomicU32::new(0) })
    }

    fn publish(
        self: &Arc<Self>,
        cache: &CodeCache<Unit>,
        memory: &AddressSpace,
        page: u64,
        (number, unit): (u32, &AheadUnit),
        sites: Box<[Site]>,
        mark: &mut impl FnMut(u64, u64),
    ) -> Option<()> {
        let lease = self.lease(number)?;
        let mut ticket = cache.reserve()?;
        self.adopted.set(unit.words + NUMBER_WORD, ticket.number().into());
        self.adopted.set(unit.words + SITES_WORD, sites.as_ptr() as u64);
        for (word, &link) in (unit.words + LINK_WORDS..).zip(&unit.links) {
            self.adopted.set(word, cache.link(&mut ticket, page + u64::from(link)));
        }
        let shape = Shape::of(unit.entries.iter().map(|&(offset, _)| offset).collect(), &sites);
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
            meta: Unit { page, tail: 0, sites, slots: None, quick: false, shape, lease: Some(lease) },
            heat: unit.heat.min(u32::MAX.into()) as u32,
        };
        let holds = |unit: &Unit| memory.tracker().holds(page, granules, || unit.is_true(memory));
        cache.publish_adopted(ticket, &self.adopted, (unit.text, unit.len), new, holds).ok()?;
        Some(())
    }

    /// The first slot, and the first key, that no unit uses.
    pub fn free_slots(image: &Image) -> (u32, u32) {
        let ranges = (0..image.len()).rev().map(|unit| image.range(unit));
        let last = ranges.into_iter().find(|range| range.slots > 0);
        last.map_or((FIRST_SLOT, FIRST_KEY), |last| {
            (u32::from(last.slot) + u32::from(last.slots), last.key.saturating_add(1))
        })
    }

    /// The guest-physical address of the instruction that the code at a host address is of.
    pub fn guest_pc(&self, cache: &CodeCache<Unit>, host_pc: u64) -> Option<u64> {
        let text = u32::try_from(cache.offset_in(&self.adopted, host_pc)?).ok()?;
        let place = self.image.resolve(text)?;
        let unit = self.image.unit(place.unit).ok()?;
        let page = cache.meta(cache.resolve(host_pc)?, |unit| unit.page)?;
        Some(page + u64::from(unit.site_at(place.code)?.offset))
    }
}

/// The instructions of a unit, if they are in `page`. `None` if there are others, or they mean something else to
/// this machine.
fn sites(unit: &AheadUnit, page: &[u8; PAGE as usize], extensions: Extensions) -> Option<Box<[Site]>> {
    if !unit.sites.iter().all(|site| bits_at(page, site.offset.into()) == Some(site.bits)) {
        return None;
    }
    let mut sites = Vec::with_capacity(unit.sites.len());
    for site in &unit.sites {
        let insn = isa::decode(site.bits, extensions).filter(|insn| insn.op as u16 == site.op)?;
        let size = Effects::of(&insn).directly().access.map_or(0, |(size, _)| size as u8);
        let AheadSite { offset, rest, slot, beside, apart, .. } = *site;
        let insn = Insn { at: 0, ..insn };
        sites.push(Site { insn, offset, rest, size, slot, beside, apart, ahead: true });
    }
    Some(sites.into())
}
