//! Writing a snapshot of a machine that runs, and rests for a moment only.
//!
//! ```text
//!  runs     log dirty pages, copy all pages           ram ◄── pages
//!           copy those again that were dirtied        ram ◄── pages      while they are many
//!  rests    harts, devices, what is dirty now         into memory
//!  runs     write that, digests, sync, rename         ram, state
//! ```
//! A page that changes while it is copied is dirty and is copied again, so that in the end `ram` is what memory
//! was while the machine rested.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_devices::virtio::Disk;
use vm_mmu::{AddressSpace, PAGE};

use super::error::SaveError;
use super::folder::Draft;
use super::pages::PageMap;
use super::parts::{self, Part};
use super::{
    CodecError, Content, DEVICES, DISKS, HARTS, MACHINE, MEMORY, RAM, STATE, Saved, codec, disk_name,
};
use super::{ram, seal};

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    draft: Draft,
    ram: File,
    map: PageMap,
    /// Pages by number, as they were while the machine rested, and not yet in the file.
    late: Vec<u64>,
    late_bytes: Vec<u8>,
    disks: Vec<Option<(PageMap, File)>>,
}

impl Writer {
    /// Begins a snapshot in `dir`, in place of the one that is there, with a copy of memory. `base` is the map of
    /// the file that it was restored from, if it was.
    pub fn begin(dir: &Path, memory: &AddressSpace, base: Option<&PageMap>) -> Result<Writer, SaveError> {
        let draft = Draft::begin(dir)?;
        let ram = draft.create(RAM)?;
        let map = ram::write(memory, base, &ram)?;
        let (late, late_bytes, disks) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Writer { dir: dir.to_owned(), draft, ram, map, late, late_bytes, disks })
    }

    /// Copies pages again, by number.
    pub fn copy_again(&mut self, memory: &AddressSpace, pages: &[u64]) -> Result<(), SaveError> {
        let start = memory.range().start;
        self.map = ram::rewrite(&self.map, &self.ram, pages, |at, bytes| {
            Ok(memory.peek(start + pages[at] * PAGE, bytes)?)
        })?;
        Ok(())
    }

    /// Takes in what is left to copy while the machine rests: `pages` by number, and what was written to disks.
    pub fn take(
        &mut self,
        memory: &AddressSpace,
        pages: Vec<u64>,
        disks: &[Arc<Disk>],
    ) -> Result<(), SaveError> {
        let start = memory.range().start;
        self.late_bytes = vec![0; pages.len() * PAGE as usize];
        for (page, bytes) in pages.iter().zip(self.late_bytes.chunks_exact_mut(PAGE as usize)) {
            memory.peek(start + page * PAGE, bytes)?;
        }
        self.late = pages;
        for (number, disk) in disks.iter().enumerate() {
            let layer = match disk.kept() {
                Some(kept) => {
                    let file = self.draft.create(&disk_name(number))?;
                    Some((ram::write_disk(disk, &kept, &file)?, file))
                }
                None => None,
            };
            self.disks.push(layer);
        }
        Ok(())
    }

    /// Writes what was taken in and makes it the snapshot.
    pub fn finish(self, content: &Content) -> Result<Saved, SaveError> {
        let Writer { dir, draft, ram, map, late, late_bytes, disks } = self;
        let map = ram::rewrite(&map, &ram, &late, |at, bytes| {
            bytes.copy_from_slice(&late_bytes[at * PAGE as usize..][..PAGE as usize]);
            Ok(())
        })?;
        let maps: Vec<Option<&PageMap>> =
            disks.iter().map(|disk| disk.as_ref().map(|(map, _)| map)).collect();
        let parts = [
            part(MACHINE, codec::encode(&content.machine))?,
            part(HARTS, codec::encode(&content.harts))?,
            part(DEVICES, codec::encode(&content.devices))?,
            part(MEMORY, codec::encode(&map))?,
            part(DISKS, codec::encode(&maps))?,
        ];
        let (bytes, digest) = parts::write(&parts);
        write_file(&draft, STATE, &bytes)?;
        // What a disk of the guest held is not lost by a crash that the snapshot survives.
        for disk in &content.machine.disks {
            let path = disk.file.path();
            File::open(&path).and_then(|image| image.sync_all()).map_err(SaveError::host("sync", &path))?;
        }
        let files: Vec<&File> =
            [&ram].into_iter().chain(disks.iter().flatten().map(|(_, file)| file)).collect();
        for file in &files {
            file.sync_all().map_err(SaveError::host("sync", &dir))?;
        }
        let seal = seal::make(&files, digest).map_err(SaveError::host("seal", &dir))?;
        write_file(&draft, seal::SEAL, &seal)?;
        draft.commit()?;
        Ok(Saved { dir, memory: map.held() })
    }
}

fn part((name, version): (&'static str, u32), bytes: Result<Vec<u8>, CodecError>) -> Result<Part, SaveError> {
    let bytes = bytes.map_err(|error| SaveError::Codec { part: name.to_owned(), error })?;
    Ok(Part { name, version, bytes })
}

fn write_file(draft: &Draft, name: &str, bytes: &[u8]) -> Result<(), SaveError> {
    let mut file = draft.create(name)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(SaveError::host("write", name.as_ref()))
}
