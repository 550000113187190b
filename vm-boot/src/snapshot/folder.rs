//! A snapshot's directory comes into being by one rename, so that whoever looks sees the old one or the
//! new one, whole.
//!
//! ```text
//!  .NAME.draft-PID-N   written, each file synced, then the directory
//!        │ rename, or exchanged with the NAME that is there
//!        ▼
//!      NAME            then the directory that holds it is synced, and the old one removed
//! ```
//! A save that was killed leaves its draft, which the next save removes: drafts in use are locked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::SaveError;

/// What the name of a draft has behind that of the snapshot.
const MARK: &str = ".draft-";

/// A directory that is being written.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
    /// Keeps the lock.
    held: File,
}

impl Draft {
    /// Begins a draft for `target`, which must be a snapshot, an empty directory, or nothing.
    pub fn begin(target: &Path) -> Result<Draft, SaveError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let target = std::path::absolute(target).map_err(SaveError::host("find", target))?;
        if !may_be_replaced(&target).map_err(SaveError::host("look at", &target))? {
            return Err(SaveError::Occupied(target));
        }
        let parent = parent(&target);
        fs::create_dir_all(parent).map_err(SaveError::host("make", parent))?;
        let prefix = prefix(&target);
        remove_left_over(parent, &prefix);
        let number = NUMBER.fetch_add(1, Relaxed);
        let path = parent.join(format!("{prefix}{}-{number}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path).and_then(|()| {
            let held = File::open(&path)?;
            held.try_lock()?;
            Ok(held)
        });
        let held = made.map_err(SaveError::host("make", &path))?;
        Ok(Draft { path, target, held })
    }

    /// Makes a file in it, for this user alone: memory holds secrets.
    pub fn create(&self, name: &str) -> Result<File, SaveError> {
        let path = self.path.join(name);
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        options.map_err(SaveError::host("make", &path))
    }

    /// Takes a file out again.
    pub fn remove(&self, name: &str) -> Result<(), SaveError> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(SaveError::host("remove", &path))
    }

    /// What it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Makes it the snapshot. All its files are synced.
    pub fn commit(self) -> Result<(), SaveError> {
        self.held.sync_all().map_err(SaveError::host("sync", &self.path))?;
        let put = match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => self.exchange(),
            other => other.map_err(io::Error::from),
        };
        put.map_err(SaveError::host("put in place", &self.target))?;
        let parent = parent(&self.target);
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(SaveError::host("sync", parent))
        // What was there before is now the draft, which goes when this is dropped.
    }

    fn exchange(&self) -> io::Result<()> {
        if !may_be_replaced(&self.target)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::EXCHANGE).map_err(
            |error| match error {
                rustix::io::Errno::INVAL => io::Error::new(
                    ErrorKind::Unsupported,
                    "this file system cannot replace a directory in one step; choose a new name",
                ),
                error => error.into(),
            },
        )
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, draft = %self.path.display(), "left behind");
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"))
}

fn prefix(target: &Path) -> String {
    format!(".{}{MARK}", target.file_name().unwrap_or_default().to_string_lossy())
}

/// Whether nothing is lost but a snapshot.
fn may_be_replaced(target: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(false),
        other => other?,
    };
    Ok(is_snapshot(target) || entries.count() == 0)
}

/// Whether a directory has the mark of a snapshot, be it whole or not.
pub fn is_snapshot(dir: &Path) -> bool {
    let mut mark = [0; 8];
    let read = File::open(dir.join(super::STATE)).and_then(|mut file| file.read_exact(&mut mark));
    read.is_ok() && mark.starts_with(b"VMBSNAP")
}

/// Drafts of saves that were killed, and what they were about to remove.
fn remove_left_over(parent: &Path, prefix: &str) {
    for draft in left_over(parent, |name| name.starts_with(prefix)) {
        if let Err(error) = fs::remove_dir_all(&draft) {
            tracing::warn!(%error, draft = %draft.display(), "left behind");
        }
    }
}

/// Drafts in a directory that nobody is at, of those names that are `wanted`.
pub fn left_over(parent: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let drafts = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with('.') && name.contains(MARK) && wanted(&name)
    });
    let free = |draft: &PathBuf| File::open(draft).is_ok_and(|dir| dir.try_lock().is_ok());
    drafts.map(|entry| entry.path()).filter(free).collect()
}

/// Removes a snapshot: it is gone at once, and then its files.
pub fn remove(dir: &Path) -> io::Result<()> {
    let dir = std::path::absolute(dir)?;
    let gone = parent(&dir).join(format!("{}{}-gone", prefix(&dir), std::process::id()));
    fs::rename(&dir, &gone)?;
    fs::remove_dir_all(&gone)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn save(target: &Path, text: &str) -> Result<(), SaveError> {
        let draft = Draft::begin(target)?;
        let mut file = draft.create("state")?;
        file.write_all(b"VMBSNAP\0").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        draft.commit()
    }

    fn read(target: &Path) -> String {
        fs::read_to_string(target.join("state")).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_save_replaces_the_one_before_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("deep/er/snap");
        save(&target, "one").unwrap();
        save(&target, "two").unwrap();
        assert_eq!(read(&target), "VMBSNAP\0two");
        assert_eq!(names(target.parent().unwrap()), ["snap"]);
        fs::create_dir(dir.path().join("empty")).unwrap();
        save(&dir.path().join("empty"), "three").unwrap();
    }

    #[test]
    fn a_draft_that_is_given_up_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("snap");
        save(&target, "one").unwrap();
        let draft = Draft::begin(&target).unwrap();
        draft.create("state").unwrap();
        // What a killed save leaves is not locked.
        fs::create_dir(dir.path().join(".snap.draft-1-1")).unwrap();
        fs::create_dir(dir.path().join(".other.draft-1-1")).unwrap();
        let second = Draft::begin(&target).unwrap();
        assert_eq!(names(dir.path()).len(), 4, "two drafts in use, another's, the snapshot");
        drop((draft, second));
        assert_eq!(read(&target), "VMBSNAP\0one");
        assert_eq!(names(dir.path()), [".other.draft-1-1", "snap"]);
    }

    #[test]
    fn nothing_but_a_snapshot_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("snap");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("letter"), "dear").unwrap();
        assert!(matches!(Draft::begin(&target), Err(SaveError::Occupied(_))));
        let file = dir.path().join("file");
        fs::write(&file, "text").unwrap();
        assert!(matches!(Draft::begin(&file), Err(SaveError::Occupied(_))));
        assert_eq!(fs::read_to_string(target.join("letter")).unwrap(), "dear");
    }
}
