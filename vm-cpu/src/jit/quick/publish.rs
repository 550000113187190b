//! From blocks to a live unit of the quick tier, on the hart's own thread.

use std::time::Instant;

use vm_codecache::{Full, New, Ticket, Zone};
use vm_mmu::PAGE;

use super::exits::Target;
use super::registers::Registers;
use super::select::Chosen;
use super::{Quick, Writer};
use crate::aot::profile::Seen;
use crate::interp::{Block, Blocks, granule_mask};
use crate::jit::region::Shape;
use crate::jit::service::{Jit, Unit};
use crate::lockstep::Lockstep;

/// Code that nearly every unit fits into: there is no point in making one before there is room.
const ROOM: usize = 8 << 10;

/// Whether there is a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Translated {
    /// From now on.
    Now,
    /// When the cache has room.
    Later,
    /// There will be none as long as the code is what it is.
    Not,
}

impl Quick {
    /// Writes the code of the blocks that were chosen. False if that is not possible.
    fn translate(&mut self, unit: &Unit, number: u32, jit: &Jit, now: u64) -> bool {
        let Quick { chosen, effects, hot, cold, groups, jumps, links, cold_links, bodies, entries, .. } =
            self;
        hot.bytes.clear();
        cold.bytes.clear();
        jumps.clear();
        links.clear();
        cold_links.clear();
        bodies.clear();
        entries.clear();
        let alone = jit.config().lockstep == Some(Lockstep::Units);
        let mut writer = Writer {
            page: unit.page,
            number,
            sites: &unit.sites,
            chosen,
            effects,
            heat: &jit.quick.heat,
            patience: jit.config().threshold,
            float_patience: jit.config().threshold_of_float(),
            counted: jit.counts_here(),
            now,
            hot,
            cold,
            groups,
            jumps,
            links,
            cold_links,
            bodies,
            entries,
            regs: Registers::new(),
            at: 0,
            insn: 0,
            alone,
            returns: jit.config().options.returns && !alone,
            failed: false,
        };
        writer.unit();
        writer.finish();
        !writer.failed
    }

    /// Fills in the addresses of cells.
    fn connect(&mut self, jit: &Jit, ticket: &mut Ticket) {
        let mut before = (0, 0);
        self.links.sort_unstable_by_key(|&(_, gpa)| gpa);
        for &(at, gpa) in &self.links {
            if before.0 != gpa {
                before = (gpa, jit.cache.link(ticket, gpa));
            }
            self.hot.bytes[at..at + 8].copy_from_slice(&before.1.to_le_bytes());
        }
    }

    /// Guest-physical addresses of the blocks of the last unit.
    pub(crate) fn addresses(&self, page: u64) -> impl Iterator<Item = u64> + '_ {
        self.chosen.iter().map(move |block| page + u64::from(block.offset))
    }
}

impl Jit {
    /// Translates the block `seed` and what it leads to, for a hart that has retired `now` instructions. Whether
    /// there is a unit now.
    pub(crate) fn translate(&self, quick: &mut Quick, blocks: &Blocks, seed: &Block, now: u64) -> Translated {
        if !self.cache.has_room(Zone::Short, ROOM) {
            self.want_room();
            return Translated::Later;
        }
        let start = Instant::now();
        let made = self.make(quick, blocks, seed, now);
        self.quick.spent(start.elapsed());
        made.unwrap_or(Translated::Not)
    }

    fn make(&self, quick: &mut Quick, blocks: &Blocks, seed: &Block, now: u64) -> Option<Translated> {
        let memory = self.memory.upgrade()?;
        let taken = |gpa| self.cache.lookup(gpa).is_some();
        let sites = quick.select(blocks, seed, taken, &self.learnt.lock())?;
        let page = seed.gpa & !(PAGE - 1);
        let (tail, shape) = (seed.tail_page, Shape::default());
        let unit = Unit { page, tail, sites, slots: None, quick: true, shape, lease: None };
        let mut ticket = self.cache.reserve()?;
        if !quick.translate(&unit, ticket.number(), self, now) {
            return None;
        }
        quick.connect(self, &mut ticket);
        let mut entries = [(0, 0); 16];
        let mut count = 0;
        for (to, from) in entries.iter_mut().zip(quick.addresses(page).zip(&quick.entries)) {
            let &Target::Hot(at) = from.1 else { return None };
            *to = (from.0, at as u32);
            count += 1;
        }
        if tail != 0 {
            entries[0].0 = seed.key()?;
        }
        let span = |b: &Chosen| granule_mask(b.offset.into(), (b.end.min(PAGE as u32) - b.offset).into());
        let granules = quick.chosen.iter().fold(0, |all, block| all | span(block));
        let pages = [(page, granules), (tail, granule_mask(0, 2))];
        let pages = &pages[..if tail == 0 { 1 } else { 2 }];
        let (insns, bytes) = (unit.sites.len() as u64, quick.code().len() as u64);
        let new = New {
            zone: Zone::Short,
            code: quick.code(),
            entries: &entries[..count],
            pages,
            meta: unit,
            heat: seed.heat.min(u32::MAX.into()) as u32,
        };
        let holds = |unit: &Unit| {
            let mut pages = pages.iter();
            pages.all(|&(page, granules)| memory.tracker().holds(page, granules, || unit.is_true(&memory)))
        };
        match self.cache.publish_if(ticket, new, holds) {
            Ok(_) => {}
            Err(Full::Stale) => return None,
            Err(_) => {
                self.want_room();
                return Some(Translated::Later);
            }
        }
        if let Some(collector) = self.collector.as_ref().filter(|_| tail == 0) {
            let seen = quick.chosen.iter().map(|block| Seen {
                offset: block.offset,
                end: block.end,
                heat: seed.heat,
                ways: block.ways,
                ..Seen::default()
            });
            collector.saw(&memory, page, seen, Some(seed.gpa));
        }
        self.quick.made(insns, bytes);
        Some(Translated::Now)
    }
}
