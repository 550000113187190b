//! What the cache knows of one translation, in one cache line.
//!
//! ```text
//!  reserve ─► Reserved ─► Publishing ─► Live ─► Dying ─(epoch)─► free
//!                              └► Doomed ────────┘
//! ```
//!
//! **Invariant.** `state`, `line` and `bytes` change under the translation's stripe of the cache's
//! locks. The lists belong to whoever holds the ticket, then, from `Dying` on, to who put it there.

use crate::slab::Slab;
use crate::sync::{AtomicU32, Ordering};
use crate::zone::Piece;

/// States of a number.
pub mod state {
    /// Nobody's.
    pub const FREE: u32 = 0;
    /// A ticket holds it.
    pub const RESERVED: u32 = 1;
    /// Known to the granules, not yet to the cells.
    pub const PUBLISHING: u32 = 2;
    /// Was killed while it was being published: who publishes it takes it down.
    pub const DOOMED: u32 = 3;
    /// Can be entered.
    pub const LIVE: u32 = 4;
    /// Cannot be entered any more; may still be running.
    pub const DYING: u32 = 5;
}

/// See the module.
#[derive(Default)]
#[repr(align(64))]
pub struct Translation {
    /// One of [`state`].
    pub state: AtomicU32,
    line: AtomicU32,
    bytes: AtomicU32,
    /// Entries whose cell it still owns.
    pub owned: AtomicU32,
    /// First [`Link`] of the entries.
    pub entries: AtomicU32,
    /// First [`Link`] of the cells its code jumps through.
    pub links: AtomicU32,
    /// First of its granules.
    pub granules: AtomicU32,
    /// How often it is entered, decaying.
    pub heat: AtomicU32,
    /// Window in which it was last entered.
    pub entered: AtomicU32,
    /// Next in a batch of dying translations.
    pub next: AtomicU32,
    /// Next of those that lost their last cell to later ones.
    pub orphan: AtomicU32,
}

impl Translation {
    /// Where its code lies.
    pub fn piece(&self) -> Piece {
        Piece { line: self.line.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Says where its code lies.
    pub fn place(&self, piece: Piece) {
        self.line.store(piece.line, Ordering::Relaxed);
        self.bytes.store(piece.bytes, Ordering::Relaxed);
    }

    /// Whether it is in `state`.
    pub fn is(&self, state: u32) -> bool {
        self.state.load(Ordering::Relaxed) == state
    }
}

/// One cell a translation refers to: as its entry, or as a target of its jumps.
#[derive(Default)]
pub struct Link {
    /// The cell.
    pub cell: AtomicU32,
    /// Of an entry: offset in the code.
    pub offset: AtomicU32,
    /// Next of the same translation.
    pub next: AtomicU32,
}

/// The links of a list.
pub fn links(slab: &Slab<Link>, first: u32) -> impl Iterator<Item = (u32, &Link)> {
    let mut next = first;
    std::iter::from_fn(move || {
        let number = next;
        let link = (number != crate::slab::NONE).then(|| slab.get(number))?;
        next = link.next.load(Ordering::Relaxed);
        Some((number, link))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translation_is_one_cache_line() {
        assert_eq!((size_of::<Translation>(), align_of::<Translation>()), (64, 64));
    }
}
