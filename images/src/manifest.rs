//! What an output was made from, and whether it still stands for it.
//!
//! `recipe.toml` beside the files of an output records the hash of the recipe's
//! inputs and the packages; `SHA256SUMS` is what `sha256sum -c` reads.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::apt::Package;

const MANIFEST: &str = "recipe.toml";
const SUMS: &str = "SHA256SUMS";

/// What a recipe is made of: its scripts and its own sources. Each part is
/// hashed with its length, so that moving text from one part to the next shows.
#[derive(Default)]
pub struct Inputs {
    hash: Sha256,
}

impl Inputs {
    /// Adds one part.
    pub fn add(mut self, part: &str) -> Self {
        self.hash.update((part.len() as u64).to_le_bytes());
        self.hash.update(part.as_bytes());
        self
    }

    /// Adds each of a list's parts, and its length.
    pub fn add_all(self, parts: &[&str]) -> Self {
        parts.iter().fold(self.add(&parts.len().to_string()), |inputs, part| inputs.add(part))
    }

    /// The hash of all parts, in hexadecimal.
    pub fn digest(self) -> String {
        hex(&self.hash.finalize())
    }
}

/// The record of one finished output.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`Inputs::digest`] of the recipe that made it.
    pub inputs: String,
    /// The files, with their sizes.
    pub files: Vec<Entry>,
    /// Every package that went into it.
    pub packages: Vec<Package>,
}

/// A file of an output.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the output directory.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

impl Manifest {
    /// Records the files in `directory`, with their checksums.
    pub fn record(directory: &Path, inputs: String, packages: Vec<Package>) -> Result<()> {
        let mut files = Vec::new();
        let mut sums = String::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_file() && !path.is_symlink() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let _ = writeln!(sums, "{}  {name}", checksum(&path)?);
                files.push(Entry { name, size: path.metadata()?.len() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        fs::write(directory.join(SUMS), sums)?;
        let manifest = Self { inputs, files, packages };
        fs::write(directory.join(MANIFEST), toml::to_string(&manifest)?)?;
        Ok(())
    }

    /// Reads the record in an output directory; `None` if there is none to be read.
    pub fn read(directory: &Path) -> Option<Self> {
        toml::from_str(&fs::read_to_string(directory.join(MANIFEST)).ok()?).ok()
    }

    /// Whether the files it names are all there. Sizes suffice: a disk image that
    /// was booted differs from its checksum and is still the user's output.
    pub fn complete(&self, directory: &Path) -> bool {
        self.files.iter().all(|file| {
            directory.join(&file.name).metadata().is_ok_and(|metadata| metadata.len() == file.size)
        })
    }
}

/// The SHA-256 of a file, in hexadecimal.
fn checksum(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_inputs_give_the_same_digest() {
        let digest = || Inputs::default().add("script").add_all(&["a", "b"]).digest();
        assert_eq!(digest(), digest());
        assert_eq!(digest().len(), 64);
    }

    #[test]
    fn moving_text_between_parts_changes_the_digest() {
        let digests = [
            Inputs::default().add("ab").add("c").digest(),
            Inputs::default().add("a").add("bc").digest(),
            Inputs::default().add_all(&["ab", "c"]).digest(),
            Inputs::default().add_all(&["ab"]).add_all(&["c"]).digest(),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "part {index}");
        }
    }

    #[test]
    fn a_record_is_read_back_and_notices_a_lost_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("Image"), "abc").unwrap();
        let package = Package { name: "a".into(), version: "1:2".into(), architecture: "all".into() };
        Manifest::record(directory.path(), "digest".into(), vec![package.clone()]).unwrap();

        let manifest = Manifest::read(directory.path()).unwrap();
        assert_eq!(manifest.packages, [package]);
        assert!(manifest.complete(directory.path()));
        fs::remove_file(directory.path().join("Image")).unwrap();
        assert!(!manifest.complete(directory.path()));
    }

    #[test]
    fn checksums_are_in_the_format_sha256sum_reads() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("Image"), "abc").unwrap();
        Manifest::record(directory.path(), String::new(), Vec::new()).unwrap();
        assert_eq!(
            fs::read_to_string(directory.path().join(SUMS)).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  Image\n"
        );
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(MANIFEST), "inputs = [").unwrap();
        assert_eq!(Manifest::read(directory.path()), None);
    }
}
