//! How a translation comes to be: a number, its links, its code, its entries.
//!
//! ```text
//!  reserve ─► link link link … ─► publish:  code ─► granules ─► does it hold? ─► cells
//! ```
//!
//! The order of publishing matters. The granules know the translation before any cell leads to it, so
//! a write either finds and kills it, or came before; so between the two whoever publishes has the
//! guest's bytes compared once more.

use std::sync::Arc;

use crate::core::Core;
use crate::error::Full;
use crate::slab::NONE;
use crate::sync::{AtomicU32, Ordering};
use crate::translation::{links, state};
use crate::zone::{Piece, Purpose, Zone};

/// The number of a translation to be, and the cells its code will jump through. Dropped, it gives
/// both back.
pub struct Ticket {
    core: Arc<Core>,
    number: u32,
}

impl Ticket {
    /// The number, for generated code to say that it was entered.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.number != NONE {
            let translation = self.core.translations.get(self.number);
            self.core.drop_links(translation.links.load(Ordering::Relaxed));
            translation.state.store(state::FREE, Ordering::Relaxed);
            self.core.translations.give(self.number);
        }
    }
}

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct New<'a, M> {
    /// Where the code belongs.
    pub zone: Zone,
    /// Position-independent code: it is moved by copying, without notice.
    pub code: &'a [u8],
    /// Guest-physical addresses at which it can be entered, with offsets in the code: at least one,
    /// each once.
    pub entries: &'a [(u64, u32)],
    /// Guest-physical pages it was made from, with a bit for each 64 bytes of them.
    pub pages: &'a [(u64, u64)],
    /// The engine's own.
    pub meta: M,
    /// Heat to start with, in executions.
    pub heat: u32,
}

impl Core {
    pub fn reserve(self: &Arc<Self>) -> Option<Ticket> {
        let number = self.translations.take()?;
        let translation = self.translations.get(number);
        translation.state.store(state::RESERVED, Ordering::Relaxed);
        for list in [&translation.entries, &translation.links, &translation.granules] {
            list.store(NONE, Ordering::Relaxed);
        }
        Some(Ticket { core: self.clone(), number })
    }

    /// Address of the cell of `gpa`. If there is no room for another, of the one that always holds
    /// the stub.
    pub fn link(&self, ticket: &Ticket, gpa: u64) -> u64 {
        let list = &self.translations.get(ticket.number).links;
        self.cells.address(self.refer(list, gpa, 0).unwrap_or(NONE))
    }

    /// Adds the cell of `gpa` to a list of links.
    fn refer(&self, list: &AtomicU32, gpa: u64, offset: u32) -> Option<u32> {
        let number = self.links.take()?;
        let Some(cell) = self.cells.acquire(gpa) else {
            self.links.give(number);
            return None;
        };
        let link = self.links.get(number);
        link.cell.store(cell, Ordering::Relaxed);
        link.offset.store(offset, Ordering::Relaxed);
        link.next.store(list.swap(number, Ordering::Relaxed), Ordering::Relaxed);
        Some(cell)
    }

    /// Publishes; `keep` stores the metadata under the number before anybody can find it, `holds` is asked
    /// when a write would.
    pub fn publish<M>(
        &self,
        ticket: Ticket,
        new: New<'_, M>,
        keep: impl FnOnce(u32, M),
        holds: impl FnOnce(u32) -> bool,
    ) -> Result<u32, Full> {
        assert!(std::ptr::eq(&*ticket.core, self), "the ticket is another cache's");
        let piece = self.write(new.zone, new.code).inspect_err(|_| self.tally.full(new.zone))?;
        self.publish_piece(ticket, piece, new, keep, holds)
    }

    /// Publishes code that is in its place.
    pub fn publish_piece<M>(
        &self,
        mut ticket: Ticket,
        piece: Piece,
        new: New<'_, M>,
        keep: impl FnOnce(u32, M),
        holds: impl FnOnce(u32) -> bool,
    ) -> Result<u32, Full> {
        let number = ticket.number;
        // From here on the number goes the way of all translations, whatever fails.
        ticket.number = NONE;
        self.zones.own(piece, number);
        keep(number, new.meta);
        let known = self.enter(number, new.entries) && self.remember(number, new.pages);
        let holds = known && holds(number);
        self.go_live(number, piece, new.heat, holds);
        if !known {
            self.tally.full(new.zone);
            return Err(Full::Lists);
        }
        if !holds {
            return Err(Full::Stale);
        }
        self.tally.published(new.zone, piece.bytes);
        self.heat.regret(new.entries, piece.bytes, &self.tally);
        Ok(number)
    }

    /// Finds room for code and writes it there.
    fn write(&self, zone: Zone, code: &[u8]) -> Result<Piece, Full> {
        let bytes = code.len();
        if bytes == 0 || bytes > self.zones.segment_size() {
            return Err(Full::Size(bytes));
        }
        let piece = self
            .zones
            .allot(zone, Purpose::Fresh, bytes, |s| self.report_emptied(s))
            .ok_or(Full::Zone(bytes))?;
        if self.arena.write(piece.offset(), code).is_err() {
            self.zones.drop_piece(piece, |s| self.report_emptied(s));
            return Err(Full::Host);
        }
        Ok(piece)
    }

    fn enter(&self, number: u32, entries: &[(u64, u32)]) -> bool {
        let list = &self.translations.get(number).entries;
        entries.iter().all(|&(gpa, offset)| self.refer(list, gpa, offset).is_some())
    }

    fn remember(&self, number: u32, pages: &[(u64, u64)]) -> bool {
        let translation = self.translations.get(number);
        translation.state.store(state::PUBLISHING, Ordering::Release);
        let list = &translation.granules;
        pages.iter().all(|&(page, granules)| self.granules.page(page).add(granules, number, list))
    }

    /// Switches the cells of a translation to it, if it `holds` and was not killed meanwhile.
    fn go_live(&self, number: u32, piece: Piece, heat: u32, holds: bool) {
        let translation = self.translations.get(number);
        let stripe = self.stripe(number);
        translation.place(piece);
        let segment = self.zones.segment(self.zones.segment_of(piece));
        segment.live.fetch_add(piece.bytes, Ordering::Relaxed);
        // Counts as hot until a window has shown how it is.
        segment.hot.fetch_add(piece.bytes, Ordering::Relaxed);
        self.heat.start(translation, heat);
        if !holds || translation.is(state::DOOMED) {
            translation.state.store(state::DYING, Ordering::Relaxed);
            drop(stripe);
            self.bury(number);
            return;
        }
        self.bind_entries(number, piece);
        translation.state.store(state::LIVE, Ordering::Release);
    }

    /// Leads the cells of the entries here. Translations that lose their last one by that are left to
    /// the collector.
    fn bind_entries(&self, number: u32, piece: Piece) {
        let translation = self.translations.get(number);
        let first = translation.entries.load(Ordering::Relaxed);
        translation.owned.store(links(&self.links, first).count() as u32, Ordering::Relaxed);
        for (_, link) in links(&self.links, first) {
            let target = self.address(piece) + u64::from(link.offset.load(Ordering::Relaxed));
            self.cells.bind(link.cell.load(Ordering::Relaxed), number, target, |displaced| {
                let old = self.translations.get(displaced);
                if old.owned.fetch_sub(1, Ordering::Relaxed) == 1 {
                    self.orphans.push(displaced, &old.orphan);
                }
            });
        }
    }
}
