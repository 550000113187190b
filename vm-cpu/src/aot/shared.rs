//! An image in memory once for all machines of a user that run it.
//!
//! ```text
//!  first machine:  file ─copied─► sealed memfd ─checked─► mapped
//!  later ones:     note ─► /proc/PID/fd/N ─sealed? checked─► mapped          the same pages
//!
//!  $XDG_RUNTIME_DIR/vm-boot/aot/
//!    a digest of the image's first page/
//!      4711-9 ─► /proc/4711/fd/9            a machine that has it, in its own words
//! ```
//! **Invariant.** A note is a hint and nothing else: whoever follows one checks that what is there is sealed, and
//! then all that it would check of a file, in the very pages that it maps. A note that leads nowhere, or to
//! something else, costs a look; then the machine reads the file by itself.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use vm_codecache::Sealed;

use super::error::ImageError;
use super::header::{self, LONGEST, PAGE};
use super::image::{Host, Image, hex};
use super::trust::Trust;

/// How long a machine waits for another that reads the same image just now.
const PATIENCE: Duration = Duration::from_secs(2);
const TURN: Duration = Duration::from_millis(2);

/// Why there is no image from a file.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The host does not give it.
    #[error("cannot be read: {0}")]
    Host(#[from] io::Error),
    /// It is not taken.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// An image whose bytes cannot change any more.
#[derive(Debug)]
pub struct Loaded {
    image: Image,
    sealed: Arc<Sealed>,
    _note: Option<Note>,
}

impl Deref for Loaded {
    type Target = Image;

    fn deref(&self) -> &Image {
        &self.image
    }
}

impl Loaded {
    /// The image in a file, from another machine's memory if one has left a note below `notes`.
    pub fn open(path: &Path, notes: Option<&Path>, trust: &Trust, host: &Host) -> Result<Loaded, LoadError> {
        let file = File::open(path)?;
        let mut page = Vec::new();
        (&file).take(PAGE as u64).read_to_end(&mut page)?;
        header::whole(&page, file.metadata()?.len())?;
        (&file).rewind()?;
        let dir = notes.and_then(|notes| {
            let dir = notes.join(&hex(blake3::hash(&page).as_bytes())[..32]);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.inspect_err(|error| tracing::debug!(%error, dir = %dir.display(), "no notes")).ok()?;
            Some(dir)
        });
        let Some(dir) = dir else { return Loaded::of(Sealed::copy(file, LONGEST + 1)?, trust, host) };
        let _turn = wait_for_turn(&dir);
        for note in names(&dir) {
            match Loaded::of_note(&note, &page, trust, host) {
                Ok(loaded) => return Ok(loaded.noted(&dir)),
                // What is wrong with the header is wrong with the file.
                Err(LoadError::Image(error)) if !matches!(error, ImageError::Checksum { .. }) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::debug!(note = %note.display(), %error, "a note that leads nowhere");
                    let _ = fs::remove_file(&note);
                }
            }
        }
        Ok(Loaded::of(Sealed::copy(file, LONGEST + 1)?, trust, host)?.noted(&dir))
    }

    fn noted(self, dir: &Path) -> Loaded {
        Loaded { _note: Note::leave(dir, &self.sealed), ..self }
    }

    /// The image that was sealed.
    pub fn of(sealed: Sealed, trust: &Trust, host: &Host) -> Result<Loaded, LoadError> {
        let sealed = Arc::new(sealed);
        Ok(Loaded { image: Image::read(Arc::clone(&sealed), trust, host)?, sealed, _note: None })
    }

    fn of_note(note: &Path, page: &[u8], trust: &Trust, host: &Host) -> Result<Loaded, LoadError> {
        let target = fs::read_link(note)?;
        if !target.starts_with("/proc") {
            return Err(io::Error::from(ErrorKind::InvalidInput).into());
        }
        let sealed = Sealed::open(&target)?;
        if !sealed.starts_with(page) {
            return Err(io::Error::from(ErrorKind::NotFound).into());
        }
        Loaded::of(sealed, trust, host)
    }

    /// Its bytes.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

/// Where machines of this user leave their notes, if the host has a place for such.
pub fn notes_of_user() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = || of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    Some(of("XDG_RUNTIME_DIR").or_else(cache)?.join("vm-boot/aot"))
}

/// Says where this process has an image, for as long as it has.
#[derive(Debug)]
struct Note(PathBuf);

impl Note {
    fn leave(dir: &Path, sealed: &Sealed) -> Option<Note> {
        let target = sealed.path();
        let name: Vec<_> = target.iter().skip(2).step_by(2).map(|part| part.to_string_lossy()).collect();
        let path = dir.join(name.join("-"));
        // A process that had this number may have left one.
        let _ = fs::remove_file(&path);
        symlink(&target, &path).inspect_err(|error| tracing::debug!(%error, "no note is left")).ok()?;
        Some(Note(path))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        // While there are others it stays.
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

/// The directory, locked; unlocked if whoever has it takes long.
fn wait_for_turn(dir: &Path) -> Option<File> {
    let lock = File::open(dir).ok()?;
    let end = Instant::now() + PATIENCE;
    while lock.try_lock().is_err() && Instant::now() < end {
        thread::sleep(TURN);
    }
    Some(lock)
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aot::sample;

    /// An image as a file, and a place for notes.
    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (file, notes) = (dir.path().join("image.aot"), dir.path().join("notes"));
        fs::write(&file, sample::file()).unwrap();
        (dir, file, notes)
    }

    fn load(file: &Path, notes: &Path) -> Result<Loaded, LoadError> {
        Loaded::open(file, Some(notes), &sample::trust(), &sample::host())
    }

    fn all_notes(notes: &Path) -> Vec<PathBuf> {
        names(notes).iter().flat_map(|dir| names(dir)).collect()
    }

    fn inode(loaded: &Loaded) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(loaded.sealed().path()).unwrap().ino()
    }

    #[test]
    fn the_second_has_the_memory_of_the_first_also_when_that_is_gone() {
        let (_dir, file, notes) = place();
        let first = load(&file, &notes).unwrap();
        let second = load(&file, &notes).unwrap();
        assert_eq!(inode(&first), inode(&second));
        assert_eq!(all_notes(&notes).len(), 2);
        let one = inode(&first);
        drop(first);
        let third = load(&file, &notes).unwrap();
        assert_eq!((inode(&third), third.contents().unwrap()), (one, sample::contents()));
        drop((second, third));
        assert!(names(&notes).is_empty(), "nothing is left behind");
        assert_ne!(inode(&load(&file, &notes).unwrap()), one);
    }

    #[test]
    fn notes_that_lead_astray_are_cleared_away_and_the_file_is_read() {
        let (_dir, file, notes) = place();
        let dir = {
            let _loaded = load(&file, &notes).unwrap();
            names(&notes)[0].clone()
        };
        let mut other = sample::file();
        other[PAGE] ^= 1;
        let forged = Sealed::of(&other).unwrap();
        let foreign = Sealed::of(&[7; 9000]).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let targets =
            [forged.path(), foreign.path(), "/proc/1/fd/0".into(), "/proc/self/exe".into(), file.clone()];
        for (number, target) in targets.iter().enumerate() {
            symlink(target, dir.join(format!("{number}"))).unwrap();
        }
        fs::write(dir.join("letter"), "dear").unwrap();
        let loaded = load(&file, &notes).unwrap();
        assert_eq!(loaded.contents().unwrap(), sample::contents());
        assert_eq!(all_notes(&notes).len(), 1, "its own");
    }

    #[test]
    fn what_a_file_is_refused_for_it_is_refused_for_here() {
        let (_dir, file, notes) = place();
        let stranger = Trust::of([]);
        let refused = Loaded::open(&file, Some(&notes), &stranger, &sample::host()).unwrap_err();
        assert!(refused.to_string().contains("not trusted"), "{refused}");
        let _good = load(&file, &notes).unwrap();
        assert!(Loaded::open(&file, Some(&notes), &stranger, &sample::host()).is_err(), "a shared one too");
        fs::write(&file, &sample::file()[..5000]).unwrap();
        assert!(load(&file, &notes).unwrap_err().to_string().contains("is truncated"));
    }
}
