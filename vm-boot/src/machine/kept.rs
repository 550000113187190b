//! A machine as a snapshot keeps it: its devices and its memory. The harts are with their threads.

use std::path::Path;
use std::sync::Arc;

use vm_cpu::Mail;
use vm_devices::virtio::Disk;
use vm_mmu::{AddressSpace, PAGE};

use super::origin::{Log, Origin};
use super::{Machine, MachineError, temporary};
use crate::snapshot::{
    Content, HartsRecord, MachineRecord, Opened, Reason, Refusal, SaveError, Saved, Writer,
};

/// Why a snapshot could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not one of this machine.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The host does not map its memory.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl Machine {
    /// Begins a snapshot with a copy of memory, or of what of it differs from `base`. It may change meanwhile:
    /// dirty pages are noted.
    pub fn begin_save(&self, dir: &Path, base: Option<Arc<Opened>>) -> Result<Writer, SaveError> {
        let (changed, origin, log) =
            (self.memory.changed_pages(&self.ram())?, self.origin.lock().clone(), self.log.lock().clone());
        let held = |layers: &crate::snapshot::Layers, page: usize| layers.holds(page as u64);
        let pack = self.config.snapshot_zstd;
        match base {
            None => {
                let may_hold = |page| changed[page] || origin.as_ref().is_some_and(|o| held(&o.layers, page));
                Writer::begin(dir, self.copied(), may_hold, None, pack)
            }
            Some(base) => {
                let digest = base.digest();
                let noted = log.as_ref().filter(|log| log.since == digest);
                let below = base.memory();
                let restored = origin.as_ref().is_some_and(|origin| origin.digest == digest);
                let may_differ = |page| match noted {
                    Some(log) => log.contains(page),
                    None if restored => changed[page],
                    None => {
                        let held_before = origin.as_ref().is_some_and(|o| held(&o.layers, page));
                        changed[page] || held_before || held(&below, page)
                    }
                };
                Writer::begin(dir, self.copied(), may_differ, Some(base.clone()), pack)
            }
        }
    }

    /// What is copied while the machine runs.
    pub fn copied(&self) -> (&AddressSpace, &[Arc<Disk>]) {
        (&self.memory, self.board.disks())
    }

    /// From here on it is noted which pages are written to. The harts rest; before they execute again they give
    /// up their ways to write unnoticed.
    pub fn note_dirty(&self) {
        match self.log.lock().as_ref() {
            // Noted all the while, and what was noted so far is not lost.
            Some(_) => {}
            None => self.memory.tracker().start_dirty_log(),
        }
        self.take_dirty();
    }

    /// After a save that was given up: nothing is noted any more, unless it was before.
    pub fn forget_dirty(&self) {
        if self.log.lock().is_none() {
            self.memory.tracker().stop_dirty_log();
            self.memory.tracker().take_dirty();
        }
    }

    /// After a save: what is written to from the moment it is of is noted, for one on top of it.
    pub fn note_since(&self, saved: &Saved) {
        *self.log.lock() = Some(Log::new(saved.digest, self.config.memory));
    }

    /// Nothing is known of what was written to.
    pub(super) fn forget_log(&self) {
        *self.log.lock() = None;
        self.forget_dirty();
    }

    /// The pages that were written to since they were asked for last, by number, ascending. The harts rest; before
    /// they execute again they give up their ways to write unnoticed.
    pub fn take_dirty(&self) -> Vec<u64> {
        let start = self.ram().start;
        let dirty: Vec<u64> =
            self.memory.tracker().take_dirty().iter().map(|gpa| (gpa - start) / PAGE).collect();
        if let Some(log) = self.log.lock().as_mut() {
            dirty.iter().for_each(|&page| log.insert(page as usize));
        }
        for hart in 0..self.config.cpus {
            self.cluster.port(hart).post(Mail::GuardAll);
        }
        dirty
    }

    /// Takes in all that is left to save of a machine at rest. `harts` are as they rest; the clock is part of
    /// them.
    pub fn save_at_rest(&self, writer: &mut Writer, harts: HartsRecord) -> Result<Content, SaveError> {
        let _nothing_typed = self.input.lock();
        self.board.quiesce();
        let devices = self.board.save().map_err(|(part, error)| SaveError::Codec { part, error })?;
        let machine = MachineRecord::of(&self.config).map_err(|source| SaveError::Host {
            action: "look at the disks for",
            path: "machine".into(),
            source,
        })?;
        writer.take(&self.memory, self.take_dirty(), self.board.disks())?;
        Ok(Content { machine, harts, devices })
    }

    /// Puts memory, devices and the SBI's view of the harts in place, all but the harts. None executes.
    pub fn restore(&self, from: &Opened) -> Result<(), RestoreError> {
        let Content { harts, devices, .. } = from.content();
        self.board.quiesce();
        self.forget_posted();
        self.set_clock(harts.clock);
        self.forget_log();
        self.lay_out(from)?;
        *self.origin.lock() = Some(Origin { digest: from.digest(), layers: from.memory() });
        self.restore_disks(from)?;
        if let Some(jit) = &self.jit {
            jit.forget();
        }
        self.board.restore(devices).map_err(|(device, reason)| from.refuse(device, reason))?;
        self.harts.restore(&harts.slots);
        Ok(())
    }

    /// Makes disks that leave their images alone read as they did.
    fn restore_disks(&self, from: &Opened) -> Result<(), RestoreError> {
        for (number, disk) in self.board.disks().iter().enumerate() {
            let saved = from.disk(number).of_disk();
            let saved = saved.map_err(|error| from.refuse(format!("disk{number}"), Reason::Host(error)))?;
            if disk.kept().is_some() {
                disk.go_back(saved, temporary::file().map_err(MachineError::Overlay)?);
            }
        }
        Ok(())
    }

    /// Lets the devices go on with what was waiting when they were saved, and the guest know that it may not
    /// be the only one that does. The harts are in place.
    pub fn resume(&self) {
        self.board.resume();
        if let Some(id) = super::random() {
            self.board.generation().renew(id);
        }
    }
}
