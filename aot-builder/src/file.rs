//! Images as files.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ed25519_dalek::VerifyingKey;
use tempfile::NamedTempFile;
use vm_cpu::aot::profile::{PROFILE_MAGIC, Profile};
use vm_cpu::aot::reuse::Reuse;
use vm_cpu::aot::standing::Standing;
use vm_cpu::aot::{CpuLevel, Image, PAGE, image};

/// Reads an image, whoever signed it.
pub fn read(path: &Path) -> Result<(Vec<u8>, Image)> {
    let bytes = image::bytes_of(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let image = Image::open(&bytes).with_context(|| path.display().to_string())?;
    Ok((bytes, image))
}

/// The units of an image that `key` has signed, for a build for `level`. If they cannot be used, it says why.
pub fn reuse(path: &Path, key: &VerifyingKey, level: &CpuLevel) -> Option<Reuse> {
    let open = || -> Result<Reuse> {
        let bytes = image::bytes_of(path).context("cannot be read")?;
        if let Standing::Quarantined(report) = Standing::of(path, &bytes[..bytes.len().min(PAGE)])? {
            bail!("was quarantined: {}", report.lines().next().unwrap_or_default());
        }
        Ok(Reuse::of(bytes, key, level)?)
    };
    let refused =
        |error: &anyhow::Error| eprintln!("aot-builder: nothing is reused: {}: {error:#}", path.display());
    open().inspect_err(refused).ok()
}

/// The profile that a file is, and its length; `None` if it is something else.
pub fn profile(path: &Path) -> Result<Option<(Profile, usize)>> {
    let cannot = || format!("{}: cannot be read", path.display());
    let mut start = Vec::new();
    let file = fs::File::open(path).with_context(cannot)?;
    file.take(PROFILE_MAGIC.len() as u64).read_to_end(&mut start).with_context(cannot)?;
    if start != PROFILE_MAGIC {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(cannot)?;
    Ok(Some((Profile::read(&bytes).with_context(|| path.display().to_string())?, bytes.len())))
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
