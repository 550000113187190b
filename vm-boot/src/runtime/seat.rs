//! Where a hart's thread and the control plane meet: the thread waits here while it has nothing to
//! execute, and here it is told what to do next.
//!
//! **Invariant**: a seat that reads as parked executes no guest code until `go`.

use parking_lot::{Condvar, Mutex};
use vm_cpu::hart::Entry;

use crate::snapshot::VcpuRecord;

/// What a thread is to do next.
#[derive(Debug)]
pub(super) enum Order {
    /// Execute.
    Go,
    /// Reset the hart: start it there, or leave it off.
    Begin(Option<Entry>, Sbi),
    /// Make the hart go on from there.
    Load(Box<VcpuRecord>),
    /// Say what the hart's state is, with [`Seat::put`].
    Save,
    /// End the thread.
    End,
}

/// Whether the built-in SBI answers the hart.
pub(super) type Sbi = bool;

#[derive(Default)]
struct Wishes {
    go: bool,
    end: bool,
    begin: Option<Order>,
    save: bool,
    saved: Option<Option<VcpuRecord>>,
    /// Somebody changed something that an idle hart looks at.
    poked: bool,
    parked: bool,
    registers: String,
}

/// One hart's seat.
#[derive(Default)]
pub(super) struct Seat {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

impl Seat {
    /// For the hart's thread: waits for the next thing to do. An idle hart needs a poke to go on.
    pub fn wait(&self, idle: bool, describe: impl FnOnce() -> String) -> Order {
        let mut wishes = self.wishes.lock();
        wishes.registers = describe();
        loop {
            if wishes.end {
                wishes.parked = true;
                self.changed.notify_all();
                return Order::End;
            }
            // A poke stays: another hart, reset before this one, may have meant it for the new life.
            if let Some(order) = wishes.begin.take() {
                return order;
            }
            if std::mem::take(&mut wishes.save) {
                return Order::Save;
            }
            if wishes.go && (!idle || wishes.poked) {
                wishes.poked = false;
                wishes.parked = false;
                return Order::Go;
            }
            wishes.parked = true;
            self.changed.notify_all();
            self.changed.wait(&mut wishes);
        }
    }

    /// Tells an idle hart to look around.
    pub fn poke(&self) {
        self.change(|wishes| wishes.poked = true);
    }

    /// Lets the hart execute.
    pub fn go(&self) {
        self.change(|wishes| wishes.go = true);
    }

    /// Lets the hart execute no more; it may still be on its way to its seat.
    pub fn hold(&self) {
        self.change(|wishes| wishes.go = false);
    }

    /// Waits until a held hart is in its seat.
    pub fn wait_until_parked(&self) {
        let mut wishes = self.wishes.lock();
        while !wishes.parked {
            self.changed.wait(&mut wishes);
        }
    }

    /// Resets a parked hart.
    pub fn begin(&self, entry: Option<Entry>, sbi: Sbi) {
        self.change(|wishes| wishes.begin = Some(Order::Begin(entry, sbi)));
    }

    /// Makes a parked hart go on from a saved state. It looks around, in case that it was to be started.
    pub fn load(&self, record: VcpuRecord) {
        self.change(|wishes| {
            wishes.begin = Some(Order::Load(Box::new(record)));
            wishes.poked = true;
        });
    }

    /// The state of a parked hart; `None` if its thread has failed.
    pub fn save(&self) -> Option<VcpuRecord> {
        self.change(|wishes| wishes.save = true);
        let mut wishes = self.wishes.lock();
        loop {
            match wishes.saved.take() {
                Some(saved) => return saved,
                None => self.changed.wait(&mut wishes),
            }
        }
    }

    /// For the hart's thread: answers [`Order::Save`].
    pub fn put(&self, record: Option<VcpuRecord>) {
        self.change(|wishes| wishes.saved = Some(record));
    }

    /// Ends the thread of a parked hart.
    pub fn end(&self) {
        self.change(|wishes| wishes.end = true);
    }

    /// The registers as they were when the hart took its seat.
    pub fn registers(&self) -> String {
        self.wishes.lock().registers.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut self.wishes.lock());
        self.changed.notify_all();
    }
}
