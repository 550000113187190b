//! The file `seal`: that the files of pages were whole, and how the host's file system knew them then.
//!
//! Reading all of guest memory to check it takes longer than everything else about a restore. So what was
//! checked once is not checked again as long as each file is the same one (device, number, length) and the
//! host has noted no change to it since (`mtime`, `ctime`). Anything else (another disk, a copied file, a
//! seal that is missing or damaged) only means that memory is checked again. What the medium itself
//! forgets, `vm-boot snapshot verify` finds.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::codec;

/// The name of the file.
pub const SEAL: &str = "seal";
/// Coarser than the clock by which a host's file system tells one change from the next.
const GRAIN: Duration = Duration::from_millis(20);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    /// The header's digest: which snapshot it is of.
    snapshot: [u8; 32],
    files: Vec<Facts>,
}

/// What the host knows of a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    device: u64,
    number: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seal {
    fn of(files: &[&File], snapshot: [u8; 32]) -> io::Result<Seal> {
        let files = files.iter().map(|file| Facts::of(file)).collect::<io::Result<_>>()?;
        Ok(Seal { snapshot, files })
    }
}

impl Facts {
    fn of(file: &File) -> io::Result<Facts> {
        let facts = file.metadata()?;
        Ok(Facts {
            device: facts.dev(),
            number: facts.ino(),
            length: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }

    /// Waits until a change from now on has another time than the last one.
    fn settle(&self) {
        let (seconds, nanos) = self.changed;
        let changed = UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanos.max(0) as u32);
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        sleep(GRAIN.saturating_sub(age));
    }
}

/// The bytes of a seal for `files`, which are whole and synced.
pub fn make(files: &[&File], snapshot: [u8; 32]) -> io::Result<Vec<u8>> {
    let seal = Seal::of(files, snapshot)?;
    seal.files.iter().for_each(Facts::settle);
    codec::encode(&seal).map_err(io::Error::other)
}

/// Whether `files` are what was sealed in `dir`.
pub fn holds(dir: &Path, files: &[&File], snapshot: [u8; 32]) -> bool {
    let sealed = fs::read(dir.join(SEAL)).ok().and_then(|bytes| codec::decode::<Seal>(&bytes).ok());
    sealed.is_some_and(|sealed| Seal::of(files, snapshot).is_ok_and(|now| now == sealed))
}

/// Seals `files` anew, which were checked. A directory that cannot be written to is checked again next time.
pub fn renew(dir: &Path, files: &[&File], snapshot: [u8; 32]) {
    let draft = dir.join(format!(".{SEAL}-{}", std::process::id()));
    let put = make(files, snapshot)
        .and_then(|bytes| fs::write(&draft, bytes))
        .and_then(|()| fs::rename(&draft, dir.join(SEAL)));
    if let Err(error) = put {
        tracing::debug!(%error, "the snapshot is not sealed");
        // Most likely it was never made.
        let _ = fs::remove_file(&draft);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_seal_holds_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ram");
        fs::write(&path, [1; 8192]).unwrap();
        let ram = File::options().read(true).write(true).open(&path).unwrap();
        assert!(!holds(dir.path(), &[&ram], [1; 32]));
        renew(dir.path(), &[&ram], [1; 32]);
        assert!(holds(dir.path(), &[&ram], [1; 32]) && !holds(dir.path(), &[&ram], [2; 32]));
        // Also with its old time put back.
        let before = ram.metadata().unwrap().modified().unwrap();
        ram.write_all_at(&[2], 77).unwrap();
        assert!(!holds(dir.path(), &[&ram], [1; 32]));
        ram.set_modified(before).unwrap();
        assert!(!holds(dir.path(), &[&ram], [1; 32]));
        renew(dir.path(), &[&ram], [1; 32]);
        assert!(holds(dir.path(), &[&ram], [1; 32]));
        assert!(!holds(dir.path(), &[&ram, &ram], [1; 32]) && !holds(dir.path(), &[], [1; 32]));
        fs::write(dir.path().join(SEAL), "broken").unwrap();
        assert!(!holds(dir.path(), &[&ram], [1; 32]));
        fs::copy(&path, dir.path().join("copy")).unwrap();
        renew(dir.path(), &[&ram], [1; 32]);
        assert!(!holds(dir.path(), &[&File::open(dir.path().join("copy")).unwrap()], [1; 32]));
    }
}
