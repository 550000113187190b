//! Profiles of what code ran, as files.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use vm_cpu::aot::profile::Profile;

/// Writes a profile to a file, which is whole at any time: a run may be killed while it does this. What is not a
/// regular file, a pipe for instance, is just written to.
pub fn write(profile: &Profile, path: &Path) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|data| !data.is_file()) {
        return fill(profile, &target);
    }
    let draft = draft_of(&target);
    let placed = fill(profile, &draft).and_then(|()| fs::rename(&draft, &target));
    if placed.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&draft);
    }
    placed
}

fn fill(profile: &Profile, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    profile.write(&mut file)?;
    file.flush()
}

fn draft_of(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(".part");
    name.into()
}
