//! Files that have no name and go when nobody has them open any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A new, empty one, in `$TMPDIR` or where large temporary files go.
pub(super) fn file() -> io::Result<File> {
    file_in(&std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from))
}

/// The same in a directory.
pub(super) fn file_in(dir: &Path) -> io::Result<File> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!(".vm-boot-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let path = dir.join(name);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
