//! The epoch: when nobody can be inside what was unlinked.
//!
//! A hart pins while it is in generated code and repins at its safepoint. A *grace* starts when
//! something was unlinked and passes when every reader that was pinned then has unpinned or repinned;
//! `crossbeam-epoch` decides that, and nothing is freed on any other ground. There is one deferred
//! function a grace, whatever the number of dead things it waits for.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam_epoch::{Collector, Guard, LocalHandle};

/// See the module.
pub struct Epoch {
    collector: Collector,
    passed: Arc<AtomicU64>,
}

thread_local! {
    /// This thread's handle to the collector it used last: graces are mostly started by one thread.
    static HANDLE: RefCell<Option<LocalHandle>> = const { RefCell::new(None) };
}

impl Epoch {
    /// With no readers.
    pub fn new() -> Self {
        Self { collector: Collector::new(), passed: Arc::default() }
    }

    /// Starts grace `number`; numbers grow.
    pub fn start(&self, number: u64) {
        let passed = self.passed.clone();
        let guard = self.pin();
        guard.defer(move || passed.fetch_max(number, Ordering::Release));
        guard.flush();
    }

    /// Greatest number of a grace that passed. Tries to bring the next one about.
    pub fn advance(&self) -> u64 {
        // Two advances make a grace pass; without a pinned reader both succeed at once.
        (0..3).for_each(|_| self.pin().flush());
        self.passed.load(Ordering::Acquire)
    }

    fn pin(&self) -> Guard {
        HANDLE.with_borrow_mut(|slot| match slot {
            Some(handle) if handle.collector() == &self.collector => handle.pin(),
            _ => slot.insert(self.collector.register()).pin(),
        })
    }
}

/// A thread's part in the epoch.
pub struct Pin {
    handle: LocalHandle,
    guard: Option<Guard>,
}

impl Pin {
    /// Unpinned, for this thread.
    pub fn new(epoch: &Epoch) -> Self {
        Self { handle: epoch.collector.register(), guard: None }
    }

    /// From here on, nothing that can be found now is freed.
    pub fn pin(&mut self) {
        if self.guard.is_none() {
            self.guard = Some(self.handle.pin());
        }
    }

    /// Whatever was found may be freed.
    pub fn unpin(&mut self) {
        self.guard = None;
    }

    /// Whatever was found may be freed; what is found from here on is not.
    pub fn repin(&mut self) {
        match &mut self.guard {
            Some(guard) => guard.repin(),
            None => self.pin(),
        }
        // What was counted as dead before the epoch moved on is seen to be.
        fence(Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_waits_for_pinned_readers_only() {
        let epoch = Epoch::new();
        let (mut reader, _idle) = (Pin::new(&epoch), Pin::new(&epoch));
        epoch.start(1);
        assert_eq!(epoch.advance(), 1, "nobody is pinned");
        reader.pin();
        epoch.start(2);
        assert_eq!((0..10).map(|_| epoch.advance()).max(), Some(1));
        reader.repin();
        epoch.advance();
        reader.repin();
        assert_eq!(epoch.advance(), 2);
        epoch.start(3);
        assert_eq!(epoch.advance(), 2);
        reader.unpin();
        assert_eq!(epoch.advance(), 3);
    }

    #[test]
    fn epochs_of_two_caches_are_apart() {
        let (one, two) = (Epoch::new(), Epoch::new());
        let mut reader = Pin::new(&one);
        reader.pin();
        two.start(1);
        assert_eq!(two.advance(), 1);
        one.start(1);
        assert_eq!(one.advance(), 0);
    }
}
