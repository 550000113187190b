//! Where a machine's memory comes from: the snapshot whose files it was made of, and what was written since one was
//! saved. Both tell a save on top of another what it need not look at.

use std::io;
use std::sync::Arc;

use vm_mmu::{Backend, MapError, PAGE, Perm, Populate};

use super::{Machine, MachineError, RestoreError};
use crate::snapshot::{Layers, Opened, PageFile, Reason, Run};

/// Pieces of fewer pages are copied and not mapped: that is cheaper, and the host has mappings for some ten
/// thousand pieces only.
const MAPPED_FROM: u64 = 16 * PAGE;
/// So many pieces are mapped at most.
const MOST_MAPPINGS: usize = 4096;

/// The snapshot that a machine goes on from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// By what it is known.
    pub digest: [u8; 32],
    /// What memory was made of.
    pub layers: Layers,
}

/// Pages that were written to since a snapshot was taken.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// By what that snapshot is known.
    pub since: [u8; 32],
    /// A bit each.
    pages: Vec<u64>,
}

/// Why memory was not unpacked.
enum Failed {
    Host(io::Error),
    Map(MapError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Host(error)
    }
}

impl From<MapError> for Failed {
    fn from(error: MapError) -> Self {
        Failed::Map(error)
    }
}

impl Log {
    /// Nothing so far, of memory of so many bytes.
    pub fn new(since: [u8; 32], memory: u64) -> Log {
        Log { since, pages: vec![0; (memory / PAGE).div_ceil(64) as usize] }
    }

    pub fn insert(&mut self, page: usize) {
        self.pages[page / 64] |= 1 << (page % 64);
    }

    pub fn contains(&self, page: usize) -> bool {
        self.pages[page / 64] >> (page % 64) & 1 == 1
    }
}

impl Machine {
    /// Makes memory of a snapshot's files: the oldest is mapped, with what is newer above it. Pages come in when they
    /// are touched.
    pub(super) fn lay_out(&self, from: &Opened) -> Result<(), RestoreError> {
        let layers = from.memory();
        self.memory.unmap(self.ram()).map_err(MachineError::from)?;
        let laid = self.lay_files(from, &layers);
        if laid.is_err() {
            // Some of it may be in place; a machine without memory could not even be stopped in order.
            let _ = self.memory.unmap(self.ram());
            self.map_zeros()?;
        }
        laid?;
        // Of what a file holds there is one copy on the host, whoever reads it.
        Ok(self.settle_memory(Populate::Read)?)
    }

    fn lay_files(&self, from: &Opened, layers: &Layers) -> Result<(), RestoreError> {
        let files = layers.files();
        if files.iter().any(|file| file.is_packed()) {
            return self.unpack(from, layers);
        }
        if let Some(lowest) = files.first() {
            let file = lowest.file().try_clone().map_err(|error| from.refuse("ram", Reason::Host(error)))?;
            let backend = Backend::File { file, offset: 0, shared: false };
            self.memory.map(self.ram(), backend, Perm::RWX).map_err(MachineError::from)?;
        }
        let mut runs = layers.runs_above();
        runs.sort_by_key(|run| std::cmp::Reverse(run.bytes.end - run.bytes.start));
        let mapped = runs.partition_point(|run| run.bytes.end - run.bytes.start >= MAPPED_FROM);
        let (mapped, copied) = runs.split_at(mapped.min(MOST_MAPPINGS));
        mapped.iter().try_for_each(|run| self.lay(files, run, true))?;
        copied.iter().try_for_each(|run| self.lay(files, run, false))?;
        Ok(())
    }

    /// Memory that is packed is read at once: pages that were unpacked one by one would be nobody's to share either,
    /// and each fault would cost its whole chunk.
    fn unpack(&self, from: &Opened, layers: &Layers) -> Result<(), RestoreError> {
        self.map_zeros()?;
        let start = self.ram().start;
        let read = layers.read_all::<Failed>(|at, bytes| Ok(self.memory.fill_over(start + at, bytes)?));
        read.map_err(|failed| match failed {
            Failed::Host(error) => from.refuse("ram.zst", Reason::Host(error)).into(),
            Failed::Map(error) => MachineError::from(error).into(),
        })
    }

    fn lay(&self, files: &[Arc<PageFile>], run: &Run, mapped: bool) -> Result<(), MachineError> {
        let start = self.ram().start;
        let range = start + run.bytes.start..start + run.bytes.end;
        let file = files[run.layer].file();
        let laid: Result<(), MapError> = match mapped {
            true => self.memory.lay_over(range, file, run.bytes.start),
            false => self.memory.copy_over(range, file, run.bytes.start),
        };
        Ok(laid?)
    }
}
