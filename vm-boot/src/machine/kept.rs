//! A machine as a snapshot keeps it: its devices and its memory. The harts are with their threads.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use vm_cpu::Mail;
use vm_mmu::{Backend, PAGE, Perm};

use super::{Machine, MachineError, temporary};
use crate::snapshot::{
    Content, HartsRecord, MachineRecord, Opened, PageFile, Reason, Refusal, SaveError, Writer,
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
    /// Begins a snapshot with a copy of memory, which may change meanwhile: dirty pages are noted.
    pub fn begin_save(&self, dir: &Path) -> Result<Writer, SaveError> {
        let base = self.base.lock().clone();
        Writer::begin(dir, &self.memory, base.as_deref())
    }

    /// From here on it is noted which pages are written to. The harts rest; before they execute again they give
    /// up their ways to write unnoticed.
    pub fn note_dirty(&self) {
        self.memory.tracker().start_dirty_log();
        for hart in 0..self.config.cpus {
            self.cluster.port(hart).post(Mail::GuardAll);
        }
    }

    /// Nothing is noted any more.
    pub fn forget_dirty(&self) {
        self.memory.tracker().stop_dirty_log();
        self.memory.tracker().take_dirty();
    }

    /// The pages that were written to since they were asked for last, by number. The harts rest.
    pub fn take_dirty(&self) -> Vec<u64> {
        let start = self.ram().start;
        self.memory.tracker().take_dirty().iter().map(|gpa| (gpa - start) / PAGE).collect()
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
        let file = from.memory().file().try_clone();
        self.map_file(file.map_err(|error| from.refuse("ram", Reason::Host(error)))?)?;
        *self.base.lock() = Some(Arc::clone(from.memory().map()));
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
            let saved = from.disks().get(number).and_then(Option::as_ref).map(PageFile::layer).transpose();
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

    /// Maps a file as memory, copied on write. Its pages come in when they are touched.
    fn map_file(&self, file: File) -> Result<(), MachineError> {
        self.memory.unmap(self.ram())?;
        let backend = Backend::File { file, offset: 0, shared: false };
        let mapped = self.memory.map(self.ram(), backend, Perm::RWX);
        if mapped.is_err() {
            self.memory.map(self.ram(), super::ZEROS, Perm::RWX)?;
        }
        Ok(mapped?)
    }
}
