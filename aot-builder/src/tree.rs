//! The files that a guest boots from: of a folder, of an archive, or of a disk with an ext4 file system.
//!
//! Only files that begin as ELF files do are read. A disk or an archive is an outsider's: what is wrong with it
//! ends in an error that names it, and nothing is read that is larger than [`LARGEST`].

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ext4_view::{Ext4, Ext4Read, FileType};

use crate::cpio;

/// Bytes of a file that is read.
pub const LARGEST: u64 = 256 << 20;
/// Directories below each other.
const DEEPEST: usize = 64;
/// Files and directories of a disk.
const MOST: usize = 4 << 20;
const ELF: &[u8; 4] = b"\x7fELF";
/// Where an ext4 file system has its magic number, and what it is.
const EXT4: (usize, [u8; 2]) = (0x438, [0x53, 0xef]);

/// Where files come from.
pub enum Tree {
    /// Files of a folder.
    Folder(Vec<PathBuf>),
    /// An archive.
    Archive(Vec<u8>),
    /// A file system, and paths in it.
    Disk(Ext4, Vec<ext4_view::PathBuf>),
}

impl Tree {
    /// What is at a path of the host.
    pub fn open(source: &Path) -> Result<Tree> {
        if source.is_dir() {
            let mut files = Vec::new();
            walk(source, 0, &mut files)?;
            return Ok(Tree::Folder(files));
        }
        let mut file = File::open(source)?;
        let mut head = Vec::new();
        (&mut file).take(EXT4.0 as u64 + 2).read_to_end(&mut head)?;
        if head.get(EXT4.0..).is_some_and(|magic| magic == EXT4.1) {
            let disk = Ext4::load(Box::new(Disk(file)))?;
            let files = files_of(&disk)?;
            return Ok(Tree::Disk(disk, files));
        }
        if !head.starts_with(b"07070") {
            bail!(
                "expected a folder, a cpio archive (newc, uncompressed) or an ext4 file system, found none"
            );
        }
        Ok(Tree::Archive(fs::read(source)?))
    }

    /// How many files there are to look at; nobody knows for an archive.
    pub fn len(&self) -> usize {
        match self {
            Tree::Folder(files) => files.len(),
            Tree::Archive(_) => 0,
            Tree::Disk(_, files) => files.len(),
        }
    }

    /// Shows all ELF files to `see`, by name, in the same order each time. What it does not want by name is not read.
    pub fn each(&self, wants: &dyn Fn(&str) -> bool, mut see: impl FnMut(&str, &[u8])) -> Result<()> {
        match self {
            Tree::Folder(files) => {
                for path in files {
                    let name = path.display().to_string();
                    let file = File::open(path).with_context(|| name.clone())?;
                    let len = file.metadata()?.len();
                    if wants(&name) && is_elf(&file, len)? {
                        see(&name, &fs::read(path).with_context(|| name.clone())?);
                    }
                }
            }
            Tree::Archive(bytes) => {
                for entry in cpio::entries(bytes) {
                    let entry = entry?;
                    if entry.data.starts_with(ELF) && wants(entry.name) {
                        see(entry.name, entry.data);
                    }
                }
            }
            Tree::Disk(disk, files) => {
                for path in files {
                    let name = path.display().to_string();
                    if wants(&name)
                        && let Some(bytes) = elf_of(disk, path).with_context(|| name.clone())?
                    {
                        see(&name, &bytes);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A disk, of which only so much is read as is asked for.
struct Disk(File);

impl Ext4Read for Disk {
    fn read(
        &mut self,
        from: u64,
        to: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        use std::os::unix::fs::FileExt;
        Ok(self.0.read_exact_at(to, from)?)
    }
}

fn is_elf(file: &File, len: u64) -> Result<bool> {
    let mut magic = Vec::new();
    file.take(ELF.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == ELF && len <= LARGEST)
}

/// The bytes of a file of a disk, if it is an ELF file.
fn elf_of(disk: &Ext4, path: &ext4_view::PathBuf) -> Result<Option<Vec<u8>>> {
    let mut file = disk.open(path.as_path())?;
    let mut magic = [0; 4];
    let short = file.read_bytes(&mut magic)? < magic.len();
    let wanted = !short && &magic == ELF && file.metadata().len() <= LARGEST;
    Ok(if wanted { Some(disk.read(path.as_path())?) } else { None })
}

/// The plain files of a disk, in order.
fn files_of(disk: &Ext4) -> Result<Vec<ext4_view::PathBuf>> {
    let mut files = Vec::new();
    let mut work = vec![(ext4_view::PathBuf::new("/"), 0)];
    let mut seen = 0;
    while let Some((dir, depth)) = work.pop() {
        let about = || dir.display().to_string();
        ensure!(depth < DEEPEST, "{}: expected at most {DEEPEST} directories below each other", about());
        for entry in disk.read_dir(dir.as_path()).with_context(about)? {
            let entry = entry.with_context(about)?;
            seen += 1;
            ensure!(seen <= MOST, "expected at most {MOST} files");
            let name = entry.file_name();
            match entry.file_type()? {
                FileType::Directory if name != "." && name != ".." => work.push((entry.path(), depth + 1)),
                FileType::Regular => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The files below a directory, in order; links are left to where they lead.
fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    ensure!(depth < DEEPEST, "{}: expected at most {DEEPEST} directories below each other", dir.display());
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
