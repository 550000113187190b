//! Writing a snapshot of a machine that runs, and rests for a moment only.
//!
//! ```text
//!  runs     log dirty pages, copy all pages           ram ◄── pages      and the same of disks
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

use super::base::{self, BaseRecord};
use super::code::CodeRecord;
use super::error::{Reason, SaveError};
use super::folder::Draft;
use super::layers::Layers;
use super::opened::Opened;
use super::pages::PageMap;
use super::parts::{self, Part};
use super::ram::{self, Otherwise};
use super::seal;
use super::{
    BASE, CODE, CodecError, Content, DEVICES, DISKS, HARTS, MACHINE, MEMORY, PACKED, RAM, RAM_PACKED, STATE,
    Saved, codec, disk_name, packed,
};

/// What was written to a disk, as far as it is copied.
#[derive(Debug)]
struct DiskCopy {
    map: PageMap,
    file: File,
    below: Layers,
}

impl DiskCopy {
    /// Copies what was stored since the last time.
    fn copy_again(&mut self, disk: &Disk) -> Result<(), SaveError> {
        let stored: Vec<u64> = disk.take_since().iter().collect();
        let read = |at: usize, bytes: &mut [u8]| {
            disk.read_cluster(stored[at], bytes).map_err(SaveError::host("read", "disk".as_ref()))
        };
        self.map = ram::rewrite(&self.map, &self.file, (&self.below, Otherwise::Image), &stored, read)?;
        Ok(())
    }
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    draft: Draft,
    ram: File,
    map: PageMap,
    /// What it stands on.
    base: Option<Arc<Opened>>,
    below: Layers,
    /// Pages by number, as they were while the machine rested, and not yet in the file.
    late: Vec<u64>,
    late_bytes: Vec<u8>,
    /// By number: those that leave their images alone.
    disks: Vec<Option<DiskCopy>>,
    /// Memory is packed in the end.
    pack: bool,
    /// Image of the code that the machine had.
    code: Option<Vec<u8>>,
}

/// What a snapshot has besides pages and the machine's state.
#[derive(Debug, Default)]
pub struct Rest {
    /// What it stands on.
    pub below: Option<BaseRecord>,
    /// Whether memory is packed.
    pub pack: bool,
    /// Image of the code that the machine had.
    pub code: Option<Vec<u8>>,
}

impl Writer {
    /// Begins a snapshot in `dir`, in place of the one that is there, with a copy of memory: of all that is not
    /// zeros, or of what differs from `base`. Pages for which `may_differ` says no certainly do not.
    pub fn begin(
        dir: &Path,
        (memory, disks): (&AddressSpace, &[Arc<Disk>]),
        may_differ: impl Fn(usize) -> bool + Sync,
        base: Option<Arc<Opened>>,
        pack: bool,
    ) -> Result<Writer, SaveError> {
        let below = base.as_ref().map_or_else(Layers::default, |base| base.memory());
        base.iter().try_for_each(|base| check_base(dir, memory, base))?;
        let draft = Draft::begin(dir)?;
        let ram = draft.create(RAM)?;
        let map = ram::write(memory, may_differ, &below, &ram)?;
        let (late, late_bytes) = (Vec::new(), Vec::new());
        let dir = dir.to_owned();
        let mut writer = Writer {
            dir,
            draft,
            ram,
            map,
            base,
            below,
            late,
            late_bytes,
            disks: Vec::new(),
            pack,
            code: None,
        };
        for (number, disk) in disks.iter().enumerate() {
            let copy = disk.kept().map(|_| writer.copy_disk(number, disk)).transpose()?;
            writer.disks.push(copy);
        }
        Ok(writer)
    }

    fn copy_disk(&self, number: usize, disk: &Disk) -> Result<DiskCopy, SaveError> {
        let below = self.disk_below(number, disk)?;
        let file = self.draft.create(&disk_name(number))?;
        disk.take_since();
        let map = ram::write_disk(disk, &below, &file)?;
        Ok(DiskCopy { map, file, below })
    }

    /// Adds an image of the code that the machine has.
    pub fn add_code(&mut self, image: Vec<u8>) {
        self.code = Some(image);
    }

    /// Copies pages again, by number, and what was stored to disks meanwhile.
    pub fn copy_again(
        &mut self,
        (memory, disks): (&AddressSpace, &[Arc<Disk>]),
        pages: &[u64],
    ) -> Result<(), SaveError> {
        let start = memory.range().start;
        let below = (&self.below, Otherwise::Zeros);
        self.map = ram::rewrite(&self.map, &self.ram, below, pages, |at, bytes| {
            Ok(memory.peek(start + pages[at] * PAGE, bytes)?)
        })?;
        self.copy_disks_again(disks)
    }

    fn copy_disks_again(&mut self, disks: &[Arc<Disk>]) -> Result<(), SaveError> {
        let copies = self.disks.iter_mut().zip(disks);
        copies
            .filter_map(|(copy, disk)| Some((copy.as_mut()?, disk)))
            .try_for_each(|(copy, disk)| copy.copy_again(disk))
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
        self.copy_disks_again(disks)
    }

    /// What is below of a disk, if that is a disk of the same size.
    fn disk_below(&self, number: usize, disk: &Disk) -> Result<Layers, SaveError> {
        let Some(base) = &self.base else { return Ok(Layers::default()) };
        let (below, size) = (base.disk(number), ram::disk_size(disk));
        match below.files().iter().find(|file| file.map().size != size) {
            None => Ok(below),
            Some(file) => {
                let (expected, found) = (format!("{size} bytes"), format!("{} bytes", file.map().size));
                Err(base.refuse(disk_name(number), Reason::Mismatch { expected, found }).into())
            }
        }
    }

    /// Writes what was taken in and makes it the snapshot.
    pub fn finish(self, content: &Content) -> Result<Saved, SaveError> {
        let Writer { dir, draft, ram, map, base, below, late, late_bytes, disks, pack, code } = self;
        let map = ram::rewrite(&map, &ram, (&below, Otherwise::Zeros), &late, |at, bytes| {
            bytes.copy_from_slice(&late_bytes[at * PAGE as usize..][..PAGE as usize]);
            Ok(())
        })?;
        let disks = disks.into_iter().map(|copy| copy.map(|copy| (copy.map, copy.file))).collect();
        let below = base.as_deref().map(BaseRecord::of).transpose();
        let below = below.map_err(SaveError::host("find what is below", &dir))?;
        // What a disk of the guest held is not lost by a crash that the snapshot survives.
        for disk in &content.machine.disks {
            let path = disk.file.path();
            File::open(&path).and_then(|image| image.sync_all()).map_err(SaveError::host("sync", &path))?;
        }
        let memory = map.held();
        let digest = complete(draft, content, (map, ram), disks, Rest { below, pack, code })?;
        Ok(Saved { dir, memory, digest, base: base.map(|base| base.dir().to_owned()) })
    }
}

/// Completes a draft with all that is not pages, and makes it the snapshot. Gives its digest.
pub fn complete(
    draft: Draft,
    content: &Content,
    (map, ram): (PageMap, File),
    disks: Vec<Option<(PageMap, File)>>,
    Rest { below, pack, code }: Rest,
) -> Result<[u8; 32], SaveError> {
    let maps: Vec<Option<&PageMap>> = disks.iter().map(|disk| disk.as_ref().map(|(map, _)| map)).collect();
    let mut parts = vec![
        part(MACHINE, codec::encode(&content.machine))?,
        part(HARTS, codec::encode(&content.harts))?,
        part(DEVICES, codec::encode(&content.devices))?,
        part(MEMORY, codec::encode(&map))?,
        part(DISKS, codec::encode(&maps))?,
    ];
    let mut format = parts::OLDEST;
    let mut ram = ram;
    if pack {
        let to = draft.create(RAM_PACKED)?;
        let frames = packed::pack(&ram, &map, &to).map_err(SaveError::host("pack", draft.target()))?;
        draft.remove(RAM)?;
        parts.push(part(PACKED, codec::encode(&frames))?);
        (ram, format) = (to, parts::FORMAT);
    }
    if let Some(code) = code {
        write_file(&draft, CODE.0, &code)?;
        parts.push(part(CODE, codec::encode(&CodeRecord::of(&code)))?);
    }
    if let Some(below) = below {
        parts.push(part(BASE, codec::encode(&below))?);
        format = parts::FORMAT;
    }
    let (bytes, digest) = parts::write(format, &parts);
    write_file(&draft, STATE, &bytes)?;
    let files: Vec<&File> = [&ram].into_iter().chain(disks.iter().flatten().map(|(_, file)| file)).collect();
    for file in &files {
        file.sync_all().map_err(SaveError::host("sync", draft.target()))?;
    }
    let seal = seal::make(&files, digest).map_err(SaveError::host("seal", draft.target()))?;
    write_file(&draft, seal::SEAL, &seal)?;
    draft.commit()?;
    Ok(digest)
}

/// Checks that a snapshot of `memory` in `dir` can stand on `base`.
fn check_base(dir: &Path, memory: &AddressSpace, base: &Opened) -> Result<(), SaveError> {
    let (own, range) = (base.content().machine.memory, memory.range());
    if own != range.end - range.start {
        let expected = format!("{} bytes", range.end - range.start);
        return Err(base
            .refuse("memory", Reason::Mismatch { expected, found: format!("{own} bytes") })
            .into());
    }
    if base.chain().count() >= base::DEEPEST {
        let most = format!("expected at most {} snapshots on one another; merge it first", base::DEEPEST);
        return Err(base.refuse("base", Reason::Invalid(most)).into());
    }
    let there = dir.canonicalize().ok();
    let below = |layer: &Opened| there.is_some() && layer.dir().canonicalize().ok() == there;
    match base.chain().any(below) {
        true => Err(SaveError::OnItself(dir.to_owned())),
        false => Ok(()),
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
