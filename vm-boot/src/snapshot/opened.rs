//! Reading a snapshot, and checking all of it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_devices::map::RAM_BASE;
use vm_devices::virtio::block::SECTOR;
use vm_devices::virtio::block::overlay::{Clusters, Layer};
use vm_mmu::PAGE;

use super::error::{Reason, Refusal};
use super::machine::{Asked, DiskRecord};
use super::pages::PageMap;
use super::parts::{Parts, Row};
use super::{
    CodecError, Content, DEVICES, DISKS, HARTS, MACHINE, MEMORY, RAM, STATE, codec, disk_name, ram, seal,
};
use crate::config::MachineConfig;

/// What is wrong, and with which part.
type Found = (String, Reason);

/// A file of pages.
#[derive(Debug)]
pub struct PageFile {
    /// What it is called.
    name: String,
    file: File,
    map: Arc<PageMap>,
    /// Where its first page is, for people.
    start: u64,
}

/// A snapshot that was read and found whole.
#[derive(Debug)]
pub struct Opened {
    dir: PathBuf,
    content: Content,
    ram: PageFile,
    disks: Vec<Option<PageFile>>,
    parts: Vec<Row>,
    digest: [u8; 32],
    sealed: bool,
}

impl Opened {
    /// Reads the snapshot in `dir`. Pages are checked unless they are sealed.
    pub fn open(dir: &Path) -> Result<Opened, Refusal> {
        let opened = Self::read(dir)?;
        if !opened.sealed {
            opened.verify()?;
            seal::renew(dir, &opened.files(), opened.digest);
        }
        Ok(opened)
    }

    /// Reads all but the pages.
    pub(super) fn read(dir: &Path) -> Result<Opened, Refusal> {
        Self::read_parts(dir).map_err(|(part, reason)| reason.of(dir, part))
    }

    fn read_parts(dir: &Path) -> Result<Opened, Found> {
        let parts = Parts::read(fs::read(dir.join(STATE)).map_err(absent(STATE))?)?;
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
        let ram = PageFile::open(dir, RAM.to_owned(), map, RAM_BASE)?;
        let maps: Vec<Option<PageMap>> = value(&parts, DISKS, codec::decode_map)?;
        let disks = disks(dir, &machine.disks, maps)?;
        let rows = parts.rows().to_vec();
        let digest = parts.digest();
        let mut opened =
            Opened { dir: dir.to_owned(), content, ram, disks, parts: rows, digest, sealed: false };
        opened.sealed = seal::holds(dir, &opened.files(), digest);
        Ok(opened)
    }

    /// All files of pages.
    fn pages(&self) -> impl Iterator<Item = &PageFile> {
        [&self.ram].into_iter().chain(self.disks.iter().flatten())
    }

    fn files(&self) -> Vec<&File> {
        self.pages().map(|pages| &pages.file).collect()
    }

    /// Whether all pages were checked, and have not changed since.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Checks every byte of every page.
    pub fn verify(&self) -> Result<(), Refusal> {
        self.pages().try_for_each(|pages| {
            let checked = ram::verify(&pages.file, &pages.map, pages.start);
            checked.map_err(|reason| reason.of(&self.dir, &pages.name))
        })
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

    /// Guest memory.
    pub fn memory(&self) -> &PageFile {
        &self.ram
    }

    /// What was written to each disk that leaves its image alone, by the number of the disk.
    pub fn disks(&self) -> &[Option<PageFile>] {
        &self.disks
    }

    /// Refuses a part for a reason that only the machine finds.
    pub(crate) fn refuse(&self, part: impl Into<String>, reason: Reason) -> Refusal {
        reason.of(&self.dir, part)
    }
}

impl PageFile {
    fn open(dir: &Path, name: String, map: PageMap, start: u64) -> Result<PageFile, Found> {
        let file = File::open(dir.join(&name)).map_err(absent(&name))?;
        let found = file.metadata().map_err(absent(&name))?.len();
        match found == map.size {
            true => Ok(PageFile { name, file, map: Arc::new(map), start }),
            false => Err((name, Reason::Length { expected: map.size, found })),
        }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What it holds.
    pub fn map(&self) -> &Arc<PageMap> {
        &self.map
    }

    /// The same as a layer of a disk.
    pub fn layer(&self) -> io::Result<Layer> {
        let mut clusters = Clusters::default();
        self.map.iter().for_each(|page| clusters.insert(page));
        Ok(Layer { file: self.file.try_clone()?, clusters })
    }
}

/// The files of those disks that have one.
fn disks(
    dir: &Path,
    records: &[DiskRecord],
    maps: Vec<Option<PageMap>>,
) -> Result<Vec<Option<PageFile>>, Found> {
    let invalid = invalid(DISKS.0);
    if maps.len() != records.len() {
        return Err(invalid(format!("expected {} disks, found {}", records.len(), maps.len())));
    }
    let open = |(number, (record, map)): (usize, (&DiskRecord, Option<PageMap>))| {
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
        PageFile::open(dir, disk_name(number), map, 0).map(Some)
    };
    records.iter().zip(maps).enumerate().map(open).collect()
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
    move |error| match error.kind() {
        ErrorKind::NotFound => (part.to_owned(), Reason::Missing),
        _ => (part.to_owned(), Reason::Host(error)),
    }
}

fn invalid(part: &str) -> impl Fn(String) -> Found + '_ {
    move |reason| (part.to_owned(), Reason::Invalid(reason))
}
