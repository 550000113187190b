//! Reading a snapshot, and checking all of it and of what it stands on.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_devices::map::RAM_BASE;
use vm_devices::virtio::block::SECTOR;
use vm_mmu::PAGE;

use super::base::{BaseRecord, short};
use super::code::CodeRecord;
use super::error::{Reason, Refusal};
use super::layers::{Layers, PageFile};
use super::machine::{Asked, DiskRecord};
use super::packed::{self, Frame};
use super::pages::PageMap;
use super::parts::{Parts, Row};
use super::{
    BASE, CODE, CodecError, Content, DEVICES, DISKS, HARTS, MACHINE, MEMORY, PACKED, RAM, RAM_PACKED, STATE,
    codec, disk_name, ram, seal,
};
use crate::config::MachineConfig;

/// More than the maps of the largest memory and of as many disks take.
const MOST_STATE: u64 = 1 << 30;

/// What is wrong, and with which part.
type Found = (String, Reason);

/// A snapshot that was read and found whole.
#[derive(Debug)]
pub struct Opened {
    dir: PathBuf,
    content: Content,
    ram: Arc<PageFile>,
    disks: Vec<Option<Arc<PageFile>>>,
    code: Option<CodeRecord>,
    parts: Vec<Row>,
    digest: [u8; 32],
    sealed: bool,
    base: Option<Box<Opened>>,
}

impl Opened {
    /// Reads the snapshot in `dir` and those that it stands on. Pages are checked unless they are sealed.
    pub fn open(dir: &Path) -> Result<Opened, Refusal> {
        let opened = Self::read(dir)?;
        opened.image()?;
        for layer in opened.chain().filter(|layer| !layer.sealed) {
            layer.verify_own()?;
            seal::renew(&layer.dir, &layer.files(), layer.digest);
        }
        Ok(opened)
    }

    /// Reads all but the pages.
    pub(super) fn read(dir: &Path) -> Result<Opened, Refusal> {
        Self::read_parts(dir, 0, None).map_err(|(part, reason)| reason.of(dir, part))
    }

    /// The same of one on which `depth` others stand that know it by its digest. Nothing else of another one is
    /// looked at, so they cannot stand on each other in a circle.
    pub(super) fn read_below(dir: &Path, depth: usize, digest: [u8; 32]) -> Result<Opened, Refusal> {
        Self::read_parts(dir, depth, Some(digest)).map_err(|(part, reason)| reason.of(dir, part))
    }

    fn read_parts(dir: &Path, depth: usize, known_by: Option<[u8; 32]>) -> Result<Opened, Found> {
        let parts = Parts::read(read_state(&dir.join(STATE))?)?;
        if let Some(digest) = known_by.filter(|&digest| digest != parts.digest()) {
            let (expected, found) = (short(&digest), short(&parts.digest()));
            return Err((STATE.to_owned(), Reason::OtherBase { expected, found }));
        }
        let content = Content {
            machine: value(&parts, MACHINE, codec::decode)?,
            harts: value(&parts, HARTS, codec::decode)?,
            devices: value(&parts, DEVICES, codec::decode)?,
        };
        let machine = &content.machine;
        machine.check().map_err(invalid(MACHINE.0))?;
        let range = RAM_BASE..RAM_BASE + machine.memory;
        let harts = content.harts.check(&machine.cpu, machine.cpus as usize, &range);
        harts.map_err(invalid(HARTS.0))?;
        let map: PageMap = value(&parts, MEMORY, codec::decode_map)?;
        map.check(machine.memory).map_err(invalid(MEMORY.0))?;
        let ram = match parts.has(PACKED.0) {
            false => open(dir, RAM.to_owned(), map, RAM_BASE)?,
            true => open_packed(dir, map, value(&parts, PACKED, codec::decode_map)?)?,
        };
        let maps: Vec<Option<PageMap>> = value(&parts, DISKS, codec::decode_map)?;
        let disks = disks(dir, &machine.disks, maps)?;
        let code = match parts.has(CODE.0) {
            false => None,
            true => Some(value(&parts, CODE, codec::decode)?),
        };
        let base = match parts.has(BASE.0) {
            false => None,
            true => {
                let base: BaseRecord = value(&parts, BASE, codec::decode)?;
                Some(Box::new(base.find(dir, depth + 1)?))
            }
        };
        let rows = parts.rows().to_vec();
        let digest = parts.digest();
        let mut opened = Opened {
            dir: dir.to_owned(),
            content,
            ram,
            disks,
            code,
            parts: rows,
            digest,
            sealed: false,
            base,
        };
        opened.base.iter().try_for_each(|base| opened.stands_on(base))?;
        opened.sealed = seal::holds(dir, &opened.files(), digest);
        Ok(opened)
    }

    /// Checks that the pages of `base` can be below these.
    fn stands_on(&self, base: &Opened) -> Result<(), Found> {
        let fits = |part: String, expected: u64, found: u64| match expected == found {
            true => Ok(()),
            false => {
                let (expected, found) = (format!("{expected} bytes"), format!("{found} bytes"));
                let part = format!("base {}: {part}", base.dir.display());
                Err((part, Reason::Mismatch { expected, found }))
            }
        };
        fits("memory".to_owned(), self.content.machine.memory, base.content.machine.memory)?;
        for (number, (own, below)) in self.disks.iter().zip(&base.disks).enumerate() {
            if let (Some(own), Some(below)) = (own, below) {
                fits(disk_name(number), own.map.size, below.map.size)?;
            }
        }
        Ok(())
    }

    /// This snapshot, the one below, and so on.
    pub fn chain(&self) -> impl Iterator<Item = &Opened> {
        std::iter::successors(Some(self), |layer| layer.base.as_deref())
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// By what it is known: the digest of its header.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The snapshot right below, if it does not stand alone.
    pub fn base(&self) -> Option<&Opened> {
        self.base.as_deref()
    }

    /// All files of pages of its own.
    fn pages(&self) -> impl Iterator<Item = &Arc<PageFile>> {
        [&self.ram].into_iter().chain(self.disks.iter().flatten())
    }

    fn files(&self) -> Vec<&File> {
        self.pages().map(|pages| &pages.file).collect()
    }

    /// Whether all pages, also those below, were checked and have not changed since.
    pub fn is_sealed(&self) -> bool {
        self.chain().all(|layer| layer.sealed)
    }

    /// Checks every byte of every page, also of those below.
    pub fn verify(&self) -> Result<(), Refusal> {
        self.chain().try_for_each(Opened::verify_own)
    }

    fn verify_own(&self) -> Result<(), Refusal> {
        self.image_of_own()?;
        self.pages().try_for_each(|pages| {
            let checked = ram::verify(pages);
            checked.map_err(|reason| reason.of(&self.dir, &pages.name))
        })
    }

    /// The newest one that holds code, of those that this snapshot stands on and itself.
    fn with_code(&self) -> Option<&Opened> {
        self.chain().find(|layer| layer.code.is_some())
    }

    /// Where the image of the machine's code is, if there is one.
    pub fn code(&self) -> Option<PathBuf> {
        self.with_code().map(|layer| layer.dir.join(CODE.0))
    }

    /// That image.
    pub fn image(&self) -> Result<Option<Vec<u8>>, Refusal> {
        self.with_code().map_or(Ok(None), Opened::image_of_own)
    }

    fn image_of_own(&self) -> Result<Option<Vec<u8>>, Refusal> {
        let image = self.code.as_ref().map(|code| code.read(&self.dir)).transpose();
        image.map_err(|reason| reason.of(&self.dir, CODE.0))
    }

    /// The machine to be put together, if it is what is asked for.
    pub fn config(&self, asked: &Asked) -> Result<MachineConfig, Refusal> {
        self.content.machine.config(asked).map_err(|(part, reason)| reason.of(&self.dir, part))
    }

    /// What was saved, apart from pages.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What the file `state` consists of.
    pub fn parts(&self) -> &[Row] {
        &self.parts
    }

    /// Guest memory, as far as this snapshot itself holds it.
    pub fn ram(&self) -> &PageFile {
        &self.ram
    }

    /// What was written to each disk that leaves its image alone, as far as this snapshot itself holds it.
    pub fn disks(&self) -> &[Option<Arc<PageFile>>] {
        &self.disks
    }

    /// Guest memory.
    pub fn memory(&self) -> Layers {
        let mut files: Vec<_> = self.chain().map(|layer| layer.ram.clone()).collect();
        files.reverse();
        Layers::new(files)
    }

    /// What was written to a disk, by its number: nothing if the disk does not leave its image alone.
    pub fn disk(&self, number: usize) -> Layers {
        let own = |layer: &Opened| layer.disks.get(number).cloned().flatten();
        // One that had no layer of its own at some time was written to in its image.
        let mut files: Vec<_> = self.chain().map_while(own).collect();
        files.reverse();
        Layers::new(files)
    }

    /// Refuses a part for a reason that only the machine finds.
    pub(crate) fn refuse(&self, part: impl Into<String>, reason: Reason) -> Refusal {
        reason.of(&self.dir, part)
    }
}

fn read_state(path: &Path) -> Result<Vec<u8>, Found> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_STATE + 1).read_to_end(&mut bytes));
    match read.map_err(absent(STATE))? as u64 > MOST_STATE {
        true => Err((STATE.to_owned(), Reason::Invalid(format!("expected at most {MOST_STATE} bytes")))),
        false => Ok(bytes),
    }
}

fn open(dir: &Path, name: String, map: PageMap, start: u64) -> Result<Arc<PageFile>, Found> {
    let file = File::open(dir.join(&name)).map_err(absent(&name))?;
    let found = file.metadata().map_err(absent(&name))?.len();
    match found == map.size {
        true => Ok(Arc::new(PageFile { name, file, map, start, frames: None })),
        false => Err((name, Reason::Length { expected: map.size, found })),
    }
}

fn open_packed(dir: &Path, map: PageMap, frames: Vec<Frame>) -> Result<Arc<PageFile>, Found> {
    let name = RAM_PACKED.to_owned();
    let file = File::open(dir.join(&name)).map_err(absent(&name))?;
    let found = file.metadata().map_err(absent(&name))?.len();
    let no_frames = || invalid(PACKED.0)("expected a frame for each chunk of memory".to_owned());
    match packed::length(&frames, &map).ok_or_else(no_frames)? {
        expected if expected != found => Err((name, Reason::Length { expected, found })),
        _ => Ok(Arc::new(PageFile { name, file, map, start: RAM_BASE, frames: Some(frames) })),
    }
}

/// The files of those disks that have one.
fn disks(
    dir: &Path,
    records: &[DiskRecord],
    maps: Vec<Option<PageMap>>,
) -> Result<Vec<Option<Arc<PageFile>>>, Found> {
    let invalid = invalid(DISKS.0);
    if maps.len() != records.len() {
        return Err(invalid(format!("expected {} disks, found {}", records.len(), maps.len())));
    }
    let of_disk = |(number, (record, map)): (usize, (&DiskRecord, Option<PageMap>))| {
        let Some(map) = map else { return Ok(None) };
        let size = record
            .length
            .div_ceil(SECTOR)
            .checked_mul(SECTOR)
            .and_then(|bytes| bytes.checked_next_multiple_of(PAGE));
        map.check(size.unwrap_or(0)).map_err(&invalid)?;
        if !record.overlay {
            return Err(invalid(format!("disk {number} has no layer of its own")));
        }
        open(dir, disk_name(number), map, 0).map(Some)
    };
    records.iter().zip(maps).enumerate().map(of_disk).collect()
}

fn value<T>(
    parts: &Parts,
    (name, version): (&str, u32),
    decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<T, Found> {
    let value = parts.part(name, version).and_then(|bytes| decode(bytes).map_err(Reason::from));
    value.map_err(|reason| (name.to_owned(), reason))
}

fn absent(part: &str) -> impl Fn(io::Error) -> Found + '_ {
    move |error| (part.to_owned(), Reason::of_file(error))
}

fn invalid(part: &str) -> impl Fn(String) -> Found + '_ {
    move |reason| (part.to_owned(), Reason::Invalid(reason))
}
