//! The instructions of a region as its metadata keeps them, and which of their accesses have inline caches.

use super::abi::Site;
use super::groups::checks;
use super::region::{Region, RegionBlock};
use super::slots::SlotSpan;
use crate::isa::Insn;

/// The instructions of a region as places that helpers are called from.
pub(crate) fn sites_of(region: &Region) -> Box<[Site]> {
    let site = |block: &RegionBlock, index: usize| Site {
        insn: Insn { at: 0, ..block.insns[index] },
        offset: block.offset as u16 + 2 * u16::from(block.insns[index].at),
        rest: (block.insns.len() - index) as u16,
        size: block.effects[index].access.map_or(0, |(size, _)| size as u8),
        slot: 0,
        beside: false,
        apart: false,
        ahead: false,
    };
    region.blocks.iter().flat_map(|b| (0..b.insns.len()).map(move |index| site(b, index))).collect()
}

/// What is known of accesses, by offset in the page.
pub(crate) struct Known<'a> {
    /// Their pages change too often for an inline cache.
    pub roams: &'a dyn Fn(u16) -> bool,
    /// They store to pages that hold code.
    pub beside: &'a dyn Fn(u16) -> bool,
}

/// Gives the accesses of a region their inline caches, of those that `take` has for so many.
pub(crate) fn assign_slots(
    sites: &mut [Site],
    region: &Region,
    group: bool,
    known: &Known<'_>,
    take: impl FnOnce(u32) -> Option<SlotSpan>,
) -> Option<SlotSpan> {
    let mut of_all: Vec<Option<bool>> = Vec::new();
    for block in &region.blocks {
        of_all.extend(checks(&block.effects, &sites[of_all.len()..], group));
    }
    let checked = sites.iter_mut().zip(of_all).filter_map(|(site, check)| Some((site, check?)));
    let mut wanted: Vec<(&mut Site, bool)> = Vec::new();
    for (site, store) in checked {
        site.beside = store && (known.beside)(site.offset);
        if !(known.roams)(site.offset) {
            wanted.push((site, store));
        }
    }
    wanted.sort_by_key(|&(_, store)| store);
    if wanted.is_empty() {
        return None;
    }
    let mut span = take(wanted.len() as u32 + 1)?;
    span.stores = wanted.iter().filter(|&&(_, store)| store).count() as u32;
    for ((site, _), slot) in wanted.iter_mut().zip(span.first + 1..) {
        site.slot = slot as u16;
    }
    Some(span)
}
