//! Reading memory in before the guest asks for it, when a machine goes on from a snapshot.
//!
//! What the first machine touches in its first moments is noted beside the snapshot; for those that follow it is
//! read in on a thread of its own, while they run.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use vm_mmu::{AddressSpace, PAGE, Populate};

use super::Machine;
use crate::snapshot::{Opened, working_set};

/// The moments that count.
const WINDOW: Duration = Duration::from_millis(500);

impl Machine {
    /// Begins to read in what is known to be touched soon, and to note it if it is not known. The harts run.
    pub fn prefetch(self: &Arc<Self>, from: &Opened) {
        if from.memory().files().iter().any(|file| file.is_packed()) {
            // All of it is there.
            return;
        }
        let ram = self.ram();
        let (dir, digest) = (from.dir().to_owned(), from.digest());
        let known = working_set::read(&dir, digest, self.config.memory);
        let held = from.memory().held();
        let (memory, machine) = (Arc::downgrade(&self.memory), Arc::downgrade(self));
        let work = move || {
            let noted = known.is_some();
            bring_in(&memory, ram.start, known.unwrap_or_default());
            thread::sleep(WINDOW);
            let Some(touched) = touched(&machine, digest) else { return };
            let bytes: u64 = touched.iter().map(|run| run.end - run.start).sum();
            tracing::debug!(bytes, held, noted, "touched first");
            if !noted {
                let runs: Vec<_> =
                    touched.iter().map(|run| run.start - ram.start..run.end - ram.start).collect();
                working_set::write(&dir, digest, &runs);
            }
            // A guest that wants most of it wants the rest too, and is not kept by faults.
            if bytes > held / 2 {
                tracing::info!(bytes, held, "most of the memory is in use: all of it is read in");
                bring_in(&memory, ram.start, std::iter::once(0..ram.end - ram.start).collect());
            }
        };
        if let Err(error) = thread::Builder::new().name("prefetch".into()).spawn(work) {
            tracing::debug!(%error, "memory comes in when it is touched");
        }
    }
}

/// Brings runs in that are counted from `start`, for as long as the machine is there.
fn bring_in(memory: &Weak<AddressSpace>, start: u64, runs: Vec<Range<u64>>) {
    for run in runs {
        let Some(memory) = memory.upgrade() else { return };
        if let Err(error) = memory.populate(&(start + run.start..start + run.end), Populate::Read, 1) {
            tracing::debug!(%error, "memory comes in when it is touched");
            return;
        }
    }
}

/// What was touched so far, unless the machine is gone or has other memory now.
fn touched(machine: &Weak<Machine>, digest: [u8; 32]) -> Option<Vec<Range<u64>>> {
    let machine = machine.upgrade()?;
    let same = machine.origin.lock().as_ref().is_some_and(|origin| origin.digest == digest);
    // A fault brings in its neighbours too: gaps of a page or two are no gaps.
    let mut runs: Vec<Range<u64>> = Vec::new();
    for run in same.then(|| machine.memory.touched_in(&machine.ram()))? {
        match runs.last_mut() {
            Some(last) if run.start - last.end <= 4 * PAGE => last.end = run.end,
            _ => runs.push(run),
        }
    }
    Some(runs)
}
