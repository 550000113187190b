//! Where the lower tables are: a small direct-mapped cache of non-leaf entries for each level.
//!
//! A walk that misses the soft-TLB mostly needs one load instead of three to five. Entries carry the
//! number of the address space they belong to, which the owner sets before a walk; a number that dies
//! takes its entries along, so nothing is ever swept. The index is the address alone, so that a fence
//! by address finds what it must drop.

/// Entries per level.
const ENTRIES: usize = 64;
/// Levels whose tables can be cached: those below the root of the deepest format.
const LEVELS: usize = 4;

/// The table of `level` for the addresses that share `prefix`.
#[derive(Clone, Copy, Default)]
struct Slot {
    prefix: u64,
    table: u64,
    /// 0 = empty.
    space: u32,
}

/// Non-leaf entries seen by walks.
pub struct WalkCache {
    space: u32,
    slots: Box<[[Slot; ENTRIES]; LEVELS]>,
}

impl Default for WalkCache {
    fn default() -> WalkCache {
        WalkCache { space: 1, slots: Box::new([[Slot::default(); ENTRIES]; LEVELS]) }
    }
}

impl WalkCache {
    /// An empty cache, for one address space until [`WalkCache::enter`] says otherwise.
    pub fn new() -> WalkCache {
        WalkCache::default()
    }

    /// Walks from now on are of address space `space`, which is not 0.
    #[inline]
    pub fn enter(&mut self, space: u32) {
        self.space = space;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.as_flattened_mut().fill(Slot::default());
    }

    /// Forgets what leads to `va`, in every address space.
    pub fn drop_page(&mut self, va: u64) {
        for level in 0..LEVELS {
            let slot = self.slot(va, level);
            if slot.prefix == prefix(va, level) {
                slot.space = 0;
            }
        }
    }

    /// The lowest known table below `root` for `va`, with its level.
    #[inline]
    pub(super) fn find(&self, va: u64, root: usize) -> Option<(usize, u64)> {
        (0..root.min(LEVELS)).find_map(|level| {
            let prefix = prefix(va, level);
            let slot = &self.slots[level][prefix as usize % ENTRIES];
            (slot.prefix == prefix && slot.space == self.space).then_some((level, slot.table))
        })
    }

    /// Notes the table of `level` that leads to `va`.
    #[inline]
    pub(super) fn keep(&mut self, va: u64, level: usize, table: u64) {
        let space = self.space;
        *self.slot(va, level) = Slot { prefix: prefix(va, level), table, space };
    }

    #[inline]
    fn slot(&mut self, va: u64, level: usize) -> &mut Slot {
        &mut self.slots[level][prefix(va, level) as usize % ENTRIES]
    }
}

/// The bits of `va` that choose the table of `level`.
#[inline]
fn prefix(va: u64, level: usize) -> u64 {
    va >> (12 + 9 * (level + 1))
}
