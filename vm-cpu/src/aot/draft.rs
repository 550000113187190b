//! Files that come into being whole: written under another name, synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// How names of drafts begin.
const PREFIX: &str = ".draft-";

/// A file that nobody looks at yet.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    /// Keeps the lock.
    held: File,
}

impl Draft {
    /// Writes a draft into a directory.
    pub(super) fn write(dir: &Path, bytes: &[u8]) -> io::Result<Draft> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let path = dir.join(format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed)));
        let held = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut draft = Draft { path, held };
        draft.held.try_lock()?;
        draft.held.write_all(bytes)?;
        draft.held.sync_all()?;
        Ok(draft)
    }

    /// Where it is.
    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it `target`, of the same directory, in place of what is there.
    pub(super) fn replace(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        sync_directory(target)
    }

    /// Makes it `target`, of the same directory, where nothing may be yet.
    pub(super) fn put(self, target: &Path) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            // Not every file system can; a second name is as good, and the first goes with the draft.
            Err(Errno::INVAL) => fs::hard_link(&self.path, target)?,
            renamed => renamed?,
        }
        sync_directory(target)
    }
}

fn sync_directory(of: &Path) -> io::Result<()> {
    let dir = of.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it is in place, no draft is there.
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, draft = %self.path.display(), "left behind");
        }
    }
}

/// Whether it is a draft of a process that was killed.
pub(super) fn is_left_over(path: &Path) -> bool {
    let draft = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    draft && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}
