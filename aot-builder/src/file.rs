//! Images as files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;
use vm_cpu::aot::profile::Profile;
use vm_cpu::aot::{Image, image};

/// Reads an image, whoever signed it.
pub fn read(path: &Path) -> Result<(Vec<u8>, Image)> {
    let bytes = image::bytes_of(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let image = Image::open(&bytes).with_context(|| path.display().to_string())?;
    Ok((bytes, image))
}

/// Reads profiles, as one.
pub fn read_profiles(paths: &[PathBuf]) -> Result<Profile> {
    let mut all = Profile::default();
    for path in paths {
        let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        all.merge(&Profile::read(&bytes).with_context(|| path.display().to_string())?);
    }
    Ok(all)
}

/// Puts a file in place, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("{}: cannot be written", path.display());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = NamedTempFile::new_in(dir).with_context(cannot)?;
    draft.write_all(bytes).and_then(|()| draft.as_file().sync_all()).with_context(cannot)?;
    draft.persist(path).with_context(cannot)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).with_context(cannot)
}
