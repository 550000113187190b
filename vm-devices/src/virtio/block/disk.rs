//! A raw disk image: a file or a block device of the host.
//!
//! The image is locked while it is open, exclusively if it can be written, so two
//! machines cannot damage it. Its capacity is rounded up to whole sectors; what
//! lies behind the file's end reads as zeroes.

use super::super::host;
use super::overlay::{Clusters, Layer, Layers};
use parking_lot::RwLock;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use vm_memory::bitmap::BitmapSlice;
use vm_memory::{Bytes, VolatileSlice};

/// Bytes of a sector, the unit of all requests.
pub const SECTOR: u64 = 512;

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The host refuses the file.
    #[error("cannot open disk image {path}: {source}")]
    Open {
        /// The image.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// Somebody else has it open.
    #[error("disk image {path} is in use by another machine")]
    InUse {
        /// The image.
        path: PathBuf,
    },
    /// It is a directory, a pipe or the like.
    #[error("expected a file or a block device as disk image, found something else at {path}")]
    Kind {
        /// The image.
        path: PathBuf,
    },
}

/// An open image.
#[derive(Debug)]
pub struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
    /// Where stores go, if the image is to stay as it is.
    layers: Option<RwLock<Layers>>,
}

/// What may become of an image.
#[derive(Debug)]
pub enum Access {
    /// Nothing: the guest cannot store.
    Read,
    /// The guest's stores go to it.
    Write,
    /// It stays as it is: stores go to this empty file.
    Over(File),
}

/// Gives the lock back at once: a process that is just being started from this one holds what it had open until it
/// becomes another program, and with it the lock.
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Disk {
    /// Opens and locks the image at `path`.
    pub fn open(path: &Path, access: Access) -> Result<Disk, DiskError> {
        let alone = matches!(access, Access::Write);
        let open = |source| DiskError::Open { path: path.to_owned(), source };
        let kind = path.metadata().map_err(open)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(DiskError::Kind { path: path.to_owned() });
        }
        let mut file = OpenOptions::new().read(true).write(alone).open(path).map_err(open)?;
        match if alone { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(open(source)),
        }
        // The length of a block device is not in its metadata.
        let bytes = file.seek(SeekFrom::End(0)).map_err(open)?;
        let read_only = matches!(access, Access::Read);
        let layers = match access {
            Access::Over(top) => Some(RwLock::new(Layers::new(Vec::new(), top))),
            Access::Read | Access::Write => None,
        };
        Ok(Disk { file, sectors: bytes.div_ceil(SECTOR), read_only, layers })
    }

    /// Capacity in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether stores are refused.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The clusters that differ from the image; `None` if stores go to the image itself.
    pub fn kept(&self) -> Option<Clusters> {
        self.layers.as_ref().map(|layers| layers.read().kept())
    }

    /// The clusters of a disk that leaves its image alone which may have been stored to since the last call.
    pub fn take_since(&self) -> Clusters {
        self.layers.as_ref().map_or_else(Clusters::default, |layers| layers.read().take_since())
    }

    /// What a cluster of a disk that leaves its image alone reads as.
    pub fn read_cluster(&self, cluster: u64, bytes: &mut [u8]) -> io::Result<()> {
        match &self.layers {
            Some(layers) => layers.read().read_cluster(&self.file, cluster, bytes),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes a disk that leaves its image alone read as the image under what was `saved`, the oldest first; `top`
    /// is an empty file for what is stored from now on.
    pub fn go_back(&self, saved: Vec<Layer>, top: File) {
        if let Some(layers) = &self.layers {
            *layers.write() = Layers::new(saved, top);
        }
    }

    /// Fills `slices` from `sector` on.
    pub(super) fn read<B: BitmapSlice>(&self, sector: u64, slices: &[VolatileSlice<B>]) -> io::Result<()> {
        let mut there = match &self.layers {
            Some(layers) => layers.read().read(&self.file, slices, sector * SECTOR)?,
            None => host::read_at(&self.file, slices, sector * SECTOR)?,
        };
        for slice in slices {
            let len = slice.len() as u64;
            if there < len {
                zero(slice, there as usize)?;
            }
            there = there.saturating_sub(len);
        }
        Ok(())
    }

    /// Stores `slices` from `sector` on.
    pub(super) fn write<B: BitmapSlice>(&self, sector: u64, slices: &[VolatileSlice<B>]) -> io::Result<()> {
        match &self.layers {
            Some(layers) => layers.read().write(&self.file, slices, sector * SECTOR),
            None => host::write_at(&self.file, slices, sector * SECTOR),
        }
    }

    /// Returns once everything stored is on stable storage; what goes with the machine needs none.
    pub(super) fn flush(&self) -> io::Result<()> {
        if self.layers.is_some() { Ok(()) } else { self.file.sync_data() }
    }

    /// Gives the range back to the host; its content no longer matters. A host
    /// that cannot do so has nothing to do.
    pub(super) fn discard(&self, sector: u64, sectors: u64) -> io::Result<()> {
        if self.layers.is_some() {
            return Ok(());
        }
        match host::punch_hole(&self.file, sector * SECTOR, sectors * SECTOR) {
            Err(error) if unsupported(&error) => Ok(()),
            result => result,
        }
    }

    /// Makes the range read as zeroes; with `unmap` its blocks may be given back.
    pub(super) fn write_zeroes(&self, sector: u64, sectors: u64, unmap: bool) -> io::Result<()> {
        let (offset, len) = (sector * SECTOR, sectors * SECTOR);
        if let Some(layers) = &self.layers {
            return layers.read().zero(&self.file, offset, len);
        }
        let result = match unmap {
            true => host::punch_hole(&self.file, offset, len),
            false => host::zero_range(&self.file, offset, len),
        };
        match result {
            Err(error) if unsupported(&error) => self.store_zeroes(offset, len),
            result => result,
        }
    }

    fn store_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
        let mut done = 0;
        while done < len {
            let count = (len - done).min(ZEROES.len() as u64);
            self.file.write_all_at(&ZEROES[..count as usize], offset + done)?;
            done += count;
        }
        Ok(())
    }
}

fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV))
}

/// Zeroes `slice` from byte `from` on.
fn zero<B: BitmapSlice>(slice: &VolatileSlice<B>, from: usize) -> io::Result<()> {
    const ZEROES: [u8; SECTOR as usize] = [0; SECTOR as usize];
    let mut at = from;
    while at < slice.len() {
        at += slice.write(&ZEROES[..ZEROES.len().min(slice.len() - at)], at).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn capacity_is_rounded_up_to_sectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        for (bytes, sectors) in [(0, 0), (1, 1), (512, 1), (513, 2), (1 << 20, 2048)] {
            fs::write(&path, vec![1; bytes]).unwrap();
            assert_eq!(Disk::open(&path, Access::Read).unwrap().sectors(), sectors);
        }
    }

    #[test]
    fn image_in_use_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, [0; 512]).unwrap();
        let writer = Disk::open(&path, Access::Write).unwrap();
        for access in [Access::Read, Access::Write, Access::Over(tempfile::tempfile().unwrap())] {
            let error = Disk::open(&path, access).unwrap_err();
            assert!(matches!(&error, DiskError::InUse { path: in_use } if *in_use == path), "{error}");
        }
        drop(writer);
        let _readers = [Disk::open(&path, Access::Read).unwrap(), Disk::open(&path, Access::Read).unwrap()];
        assert!(matches!(Disk::open(&path, Access::Write), Err(DiskError::InUse { .. })));
    }

    #[test]
    fn an_image_is_free_at_once_though_its_file_is_still_open_somewhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, [0; 512]).unwrap();
        let writer = Disk::open(&path, Access::Write).unwrap();
        // As a process has it that is about to become another program.
        let _inherited = writer.file.try_clone().unwrap();
        drop(writer);
        Disk::open(&path, Access::Write).unwrap();
    }

    #[test]
    fn what_is_no_disk_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Disk::open(dir.path(), Access::Read), Err(DiskError::Kind { .. })));
        assert!(matches!(Disk::open(&dir.path().join("none"), Access::Read), Err(DiskError::Open { .. })));
    }

    #[test]
    fn zeroes_and_discards_stay_inside_their_range() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, [0xaa; 16 * 512]).unwrap();
        let disk = Disk::open(&path, Access::Write).unwrap();
        disk.write_zeroes(1, 2, false).unwrap();
        disk.write_zeroes(4, 2, true).unwrap();
        disk.store_zeroes(7 * SECTOR, 2 * SECTOR).unwrap();
        disk.discard(10, 2).unwrap();
        disk.flush().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 16 * 512);
        let zeroed: Vec<bool> =
            bytes.chunks(512).map(|sector| sector.iter().all(|&byte| byte == 0)).collect();
        for (sector, zeroed) in zeroed.into_iter().enumerate() {
            let expected = matches!(sector, 1 | 2 | 4 | 5 | 7 | 8);
            let discarded = matches!(sector, 10 | 11);
            assert!(discarded || zeroed == expected, "sector {sector}");
        }
    }
}
