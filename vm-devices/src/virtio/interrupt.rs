//! The interrupt of a virtio-mmio device: two status bits and a level.
//!
//! It has a lock of its own, so that a driver's interrupt handler never waits for
//! a request that another hart's doorbell is serving.

use crate::wires::IrqLine;
use parking_lot::Mutex;
use std::sync::Arc;

/// Buffers were given back.
pub(super) const USED: u32 = 1;
/// The configuration changed.
pub(super) const CONFIG: u32 = 2;
const ALL: u32 = USED | CONFIG;

/// InterruptStatus and the wire, which is high while a bit is set.
pub(super) struct Interrupt {
    status: Mutex<u32>,
    line: Arc<dyn IrqLine>,
}

impl Interrupt {
    pub(super) fn new(line: Arc<dyn IrqLine>) -> Interrupt {
        Interrupt { status: Mutex::new(0), line }
    }

    pub(super) fn status(&self) -> u32 {
        *self.status.lock()
    }

    pub(super) fn raise(&self, bits: u32) {
        self.change(|status| status | bits);
    }

    pub(super) fn acknowledge(&self, bits: u32) {
        self.change(|status| status & !bits);
    }

    /// Puts the status in place and drives the wire, whatever it was.
    pub(super) fn set(&self, bits: u32) {
        let mut status = self.status.lock();
        *status = bits & ALL;
        self.line.set(*status != 0);
    }

    fn change(&self, to: impl FnOnce(u32) -> u32) {
        let mut status = self.status.lock();
        let old = *status;
        *status = to(old);
        if (old != 0) != (*status != 0) {
            self.line.set(*status != 0);
        }
    }
}
