//! A hart thread's part in the cache.

use std::sync::Arc;

use crate::cache::CodeCache;
use crate::epoch::Pin;
use crate::heat::Touches;
use crate::sync::Ordering;

/// Belongs to one hart's thread. Pinned while that runs or may run generated code: what it can reach
/// is not freed until it repins or unpins.
pub struct Reader<M: Send + Sync + 'static> {
    pin: Pin,
    touches: Arc<Touches>,
    /// Cells retired when the reader pinned last.
    retired: u64,
    // Last: the memory of the code outlives the pin.
    cache: Arc<CodeCache<M>>,
}

impl<M: Send + Sync + 'static> Reader<M> {
    pub(crate) fn new(cache: Arc<CodeCache<M>>) -> Self {
        let core = &cache.core;
        Self { pin: Pin::new(&core.epoch), touches: core.heat.reader(), retired: 0, cache }
    }

    /// Pins: before generated code is entered, or a cell looked up that is to be used. Answers as
    /// [`Reader::repin`].
    pub fn pin(&mut self) -> bool {
        self.pin.pin();
        self.cells_retired()
    }

    /// Unpins: before waiting, and when generated code is left for long.
    pub fn unpin(&mut self) {
        self.pin.unpin();
    }

    /// The safepoint: generated code was left, and what is found from here on is safe anew. Whether
    /// cells were retired since the last time: then addresses of cells that are kept anywhere but in
    /// translations (in a jump cache, say) have to be forgotten.
    #[must_use = "kept addresses of cells may have become invalid"]
    pub fn repin(&mut self) -> bool {
        self.pin.repin();
        self.cells_retired()
    }

    /// Base of an array of one byte for each translation's number: generated code stores 1 there when
    /// it is entered.
    pub fn touched(&self) -> *const u8 {
        self.touches.base()
    }

    fn cells_retired(&mut self) -> bool {
        let retired = self.cache.core.cells_retired.load(Ordering::Acquire);
        std::mem::replace(&mut self.retired, retired) != retired
    }
}
