//! Snapshots of one directory: which there are, and which stand on which.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Opened, is_snapshot};

/// The snapshots right below a directory, by name, but for drafts of saves.
pub fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && is_snapshot(&entry.path()) {
            found.push(if dir == Path::new(".") { entry.file_name().into() } else { entry.path() });
        }
    }
    found.sort();
    Ok(found)
}

/// One of the snapshots beside the one in `dir` that stands on it, if there is any.
pub fn standing_on(dir: &Path) -> Option<PathBuf> {
    let own = dir.canonicalize().ok()?;
    let others = below(own.parent()?).ok()?;
    others.into_iter().filter(|other| *other != own).find(|other| {
        Opened::read(other).is_ok_and(|opened| {
            opened.chain().skip(1).any(|layer| layer.dir().canonicalize().is_ok_and(|dir| dir == own))
        })
    })
}
