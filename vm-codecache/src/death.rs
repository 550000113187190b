//! How translations die: by a write, by their owner, by being replaced or swept.
//!
//! ```text
//!  claim: state Live ─► Dying, cells ─► stub      under the stripe; from here on nobody enters
//!  bury:  granules, links and entries go back; the translation waits in limbo for the epoch
//! ```
//!
//! **Invariant.** When a kill returns, no cell leads to what it was to kill, even if another thread
//! killed it first: claiming holds the stripe until the cells are back at the stub.

use serde::Serialize;

use crate::core::Core;
use crate::slab::NONE;
use crate::sync::Ordering;
use crate::translation::{Translation, links, state};

/// Why translations die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A hart wrote to the code.
    Store,
    /// A device wrote to the code.
    Dma,
    /// `fence.i` found the code changed.
    Fence,
    /// A breakpoint was set or removed.
    Breakpoint,
    /// A later translation has its entries.
    Replaced,
    /// The engine has no use for it.
    Engine,
    /// The machine was reset, or the engine starts afresh.
    Reset,
    /// It was cold when its segment was swept.
    Swept,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 8] = [
        Cause::Store,
        Cause::Dma,
        Cause::Fence,
        Cause::Breakpoint,
        Cause::Replaced,
        Cause::Engine,
        Cause::Reset,
        Cause::Swept,
    ];
}

/// Dying translations, chained, with their number.
struct Batch {
    first: u32,
    count: usize,
}

impl Core {
    /// Kills what was made from any of `granules` of each page.
    pub fn invalidate(&self, ranges: impl Iterator<Item = (u64, u64)>, cause: Cause) -> usize {
        let mut batch = Batch { first: NONE, count: 0 };
        for (page, granules) in ranges {
            self.granules.page(page).visit(granules, |n| self.claim(n, cause, |_| true, &mut batch));
        }
        self.finish(batch)
    }

    /// Kills what was made from a page and `keep` does not want. `keep` is called under the page's
    /// lock.
    pub fn retain(&self, page: u64, mut keep: impl FnMut(u32) -> bool, cause: Cause) -> usize {
        let mut batch = Batch { first: NONE, count: 0 };
        self.granules.page(page).visit(u64::MAX, |n| {
            if !keep(n) {
                self.claim(n, cause, |_| true, &mut batch);
            }
        });
        self.finish(batch)
    }

    /// Kills one translation, if it is live and `condition` holds under its lock.
    pub fn kill_if(&self, number: u32, cause: Cause, condition: impl Fn(&Translation) -> bool) -> bool {
        let mut batch = Batch { first: NONE, count: 0 };
        if number != NONE && number < self.translations.end() {
            self.claim(number, cause, condition, &mut batch);
        }
        self.finish(batch) > 0
    }

    /// Kills what later translations have left without an entry.
    ///
    /// The collector calls this before it frees what had its grace. An orphan becomes one under the
    /// lock of its last cell, which its killer has to take too: so none that is freed is in the list.
    pub fn kill_orphans(&self) {
        let mut number = self.orphans.take();
        while number != NONE {
            let orphan = self.translations.get(number);
            let next = orphan.orphan.load(Ordering::Relaxed);
            self.kill_if(number, Cause::Replaced, |t| t.owned.load(Ordering::Relaxed) == 0);
            number = next;
        }
    }

    /// Kills every translation that is live when its turn comes.
    pub fn kill_all(&self, cause: Cause) -> usize {
        let mut batch = Batch { first: NONE, count: 0 };
        (1..self.translations.end()).for_each(|n| self.claim(n, cause, |_| true, &mut batch));
        self.finish(batch)
    }

    /// Takes a translation out of the cells, and into the batch unless somebody else has it.
    fn claim(&self, number: u32, cause: Cause, condition: impl Fn(&Translation) -> bool, batch: &mut Batch) {
        let translation = self.translations.get(number);
        let _stripe = self.stripe(number);
        let now = translation.state.load(Ordering::Relaxed);
        if !(now == state::LIVE || now == state::PUBLISHING) || !condition(translation) {
            return;
        }
        self.tally.killed(cause);
        batch.count += 1;
        if now == state::PUBLISHING {
            // Its publisher takes it down.
            translation.state.store(state::DOOMED, Ordering::Relaxed);
            return;
        }
        translation.state.store(state::DYING, Ordering::Relaxed);
        for (_, link) in links(&self.links, translation.entries.load(Ordering::Relaxed)) {
            self.cells.unbind(link.cell.load(Ordering::Relaxed), number);
        }
        translation.next.store(batch.first, Ordering::Relaxed);
        batch.first = number;
    }

    /// Buries a batch: one synchronisation with the collector, however many there are.
    fn finish(&self, batch: Batch) -> usize {
        let (mut number, mut last) = (batch.first, NONE);
        while number != NONE {
            self.dismantle(number);
            last = number;
            number = self.translations.get(number).next.load(Ordering::Relaxed);
        }
        if last != NONE {
            self.dead.push(batch.first, &self.translations.get(last).next);
        }
        batch.count
    }

    /// Buries one dying translation.
    pub fn bury(&self, number: u32) {
        self.dismantle(number);
        self.dead.push(number, &self.translations.get(number).next);
    }

    /// Gives back what a dying translation no longer needs: all but its number, code and metadata.
    fn dismantle(&self, number: u32) {
        let translation = self.translations.get(number);
        let piece = translation.piece();
        self.zones.segment(self.zones.segment_of(piece)).live.fetch_sub(piece.bytes, Ordering::Relaxed);
        self.granules.remove(translation.granules.swap(NONE, Ordering::Relaxed));
        self.drop_links(translation.entries.swap(NONE, Ordering::Relaxed));
        self.drop_links(translation.links.swap(NONE, Ordering::Relaxed));
    }
}
