//! The images of a user: a directory for each guest, in it a file for each version and CPU level.
//!
//! ```text
//!  $XDG_DATA_HOME/vm-boot/aot/
//!    debian-13/
//!      00000041-x86-64-v3.aot
//!      00000042-x86-64-v3.aot       version and level, as in the header
//!      .draft-4711-0                being written: locked, synced, then renamed
//! ```
//! What runs have shown of an image is in a file beside it ([`standing`]).
//!
//! **Invariant.** What appears under an image's name is whole and is never changed, so a version is one image. The
//! store vouches for nothing else: whoever runs an image reads it as an outsider's ([`Image::read`]).

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::draft::{Draft, is_left_over};
use super::error::ImageError;
use super::header::{self, Header};
use super::image::{self, Image};
use super::standing::{self, Standing};
use super::trust::Trust;

/// What the names of images end in.
pub const EXTENSION: &str = "aot";

/// Why the store cannot do something.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing says where it is.
    #[error("no place for AOT images: expected a path from / on in XDG_DATA_HOME or HOME, found none")]
    Homeless,
    /// The host does not do it.
    #[error("{}: cannot be {action}: {source}", path.display())]
    Host {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What should go in, or is there, is not taken for an image.
    #[error("{}: {error}", path.display())]
    Image {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: ImageError,
    },
    /// An image under a name that is not its own.
    #[error("{}: expected the image {expected} of its header, found it under another name", path.display())]
    Misplaced {
        /// Which file.
        path: PathBuf,
        /// Where it should be, below the store.
        expected: String,
    },
}

/// A directory of images.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// An image that is there, by its header, which nobody vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// Bytes of the file.
    pub length: u64,
    /// What it says of itself.
    pub header: Header,
}

impl Entry {
    /// What runs have shown of it.
    pub fn standing(&self) -> Result<Standing, StoreError> {
        let mut page = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(header::PAGE as u64).read_to_end(&mut page));
        read.and_then(|_| Standing::of(&self.path, &page)).map_err(host_error("read", &self.path))
    }

    /// Checks every byte of it, and that `trust` takes it, for whatever host.
    pub fn verify(&self, trust: &Trust) -> Result<Image, StoreError> {
        let file = image::bytes_of(&self.path).map_err(host_error("read", &self.path))?;
        let image = Image::open(&file).and_then(|image| trust.admit(image.header()).map(|()| image));
        image.map_err(|error| StoreError::Image { path: self.path.clone(), error })
    }
}

impl Store {
    /// The store of this user, be it there or not.
    pub fn of_user() -> Result<Store, StoreError> {
        let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = of("HOME").map(|home| home.join(".local/share"));
        let data = of("XDG_DATA_HOME").or(home).ok_or(StoreError::Homeless)?;
        Ok(Store::at(data.join("vm-boot/aot")))
    }

    /// The store in a directory, be it there or not.
    pub fn at(dir: impl Into<PathBuf>) -> Store {
        Store { dir: dir.into() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts an image in; where it is then. A version that is there already is not replaced.
    pub fn add(&self, file: &[u8]) -> Result<PathBuf, StoreError> {
        let invalid = |error| StoreError::Image { path: "new image".into(), error };
        let path = self.dir.join(name_of(Image::open(file).map_err(invalid)?.header()));
        let dir = path.parent().unwrap_or(&self.dir);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(host_error("made", dir))?;
        let draft = Draft::write(dir, file).map_err(host_error("written", dir))?;
        draft.put(&path).map_err(host_error("put in place", &path))?;
        Ok(path)
    }

    /// All that lies in it under an image's name: by guest, newest first.
    pub fn list(&self) -> Result<Vec<Result<Entry, StoreError>>, StoreError> {
        let mut found = Vec::new();
        for dir in names(&self.dir)?.into_iter().filter(|path| path.is_dir()) {
            found.extend(self.list_dir(&dir)?);
        }
        Ok(found)
    }

    /// The images for a guest, newest first; what is none is left out.
    pub fn of_guest(&self, guest: &str) -> Result<Vec<Entry>, StoreError> {
        if header::check_guest(guest).is_err() {
            return Ok(Vec::new());
        }
        Ok(self.list_dir(&self.dir.join(guest))?.into_iter().flatten().collect())
    }

    /// The version that the next image for a guest has to have.
    pub fn next_version(&self, guest: &str) -> Result<u64, StoreError> {
        let newest = self.of_guest(guest)?.first().map_or(0, |entry| entry.header.version);
        Ok(newest.saturating_add(1))
    }

    fn list_dir(&self, dir: &Path) -> Result<Vec<Result<Entry, StoreError>>, StoreError> {
        let images =
            names(dir)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == EXTENSION));
        let mut found: Vec<_> = images.map(|path| self.look(path)).collect();
        let age = |entry: &Result<Entry, StoreError>| entry.as_ref().map_or(0, |e| e.header.version);
        found.sort_by_key(|entry| std::cmp::Reverse(age(entry)));
        Ok(found)
    }

    fn look(&self, path: PathBuf) -> Result<Entry, StoreError> {
        let mut page = Vec::new();
        let read = File::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            file.take(header::PAGE as u64).read_to_end(&mut page)?;
            Ok(length)
        });
        let length = read.map_err(host_error("read", &path))?;
        let header = header::whole(&page, length).and_then(|()| Header::read(&page, length));
        let header = header.map_err(|error| StoreError::Image { path: path.clone(), error })?;
        let expected = name_of(&header);
        match path.strip_prefix(&self.dir).is_ok_and(|name| name == Path::new(&expected)) {
            true => Ok(Entry { path, length, header }),
            false => Err(StoreError::Misplaced { path, expected }),
        }
    }

    /// Removes all but the newest `keep` images of each guest and level, what is no image, and drafts that nobody
    /// writes any more; tells what it removed.
    pub fn prune(&self, keep: usize) -> Result<Vec<PathBuf>, StoreError> {
        let mut removed = Vec::new();
        for dir in names(&self.dir)?.into_iter().filter(|path| path.is_dir()) {
            removed.extend(superfluous(self.list_dir(&dir)?, keep));
            removed.extend(names(&dir)?.into_iter().filter(|path| is_left_over(path)));
            // What is known of images that are gone, or go.
            let stays = |image: &PathBuf| image.exists() && !removed.contains(image);
            let forgotten = |path: &PathBuf| standing::image_of(path).is_some_and(|image| !stays(&image));
            let forgotten: Vec<_> = names(&dir)?.into_iter().filter(forgotten).collect();
            removed.extend(forgotten);
        }
        for path in &removed {
            fs::remove_file(path).map_err(host_error("removed", path))?;
        }
        Ok(removed)
    }
}

/// Of the images of a guest, newest first, those not among the first `keep` of their level.
fn superfluous(found: Vec<Result<Entry, StoreError>>, keep: usize) -> Vec<PathBuf> {
    let mut levels: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for entry in found {
        match entry {
            Ok(Entry { path, header, .. }) => {
                if levels.iter().filter(|&level| level == &header.level).count() >= keep {
                    out.push(path);
                }
                levels.push(header.level);
            }
            // What cannot be read now may be read later, or by a newer program.
            Err(StoreError::Image { error: ImageError::Newer { .. }, .. }) => {}
            Err(StoreError::Image { path, .. } | StoreError::Misplaced { path, .. }) => out.push(path),
            Err(StoreError::Host { .. } | StoreError::Homeless) => {}
        }
    }
    out
}

/// Where an image belongs, below the store.
fn name_of(header: &Header) -> String {
    let Header { guest, version, level, .. } = header;
    format!("{guest}/{version:08}-{}.{EXTENSION}", level.replace(',', "+"))
}

/// What is in a directory, in order; nothing if it is not there.
fn names(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let mut paths: Vec<_> =
        entries.map_err(host_error("read", dir))?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths)
}

fn host_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Host { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aot::image::{About, sign, write};
    use crate::aot::sample;

    fn image(guest: &str, version: u64, level: &str) -> Vec<u8> {
        let about =
            About { guest: guest.into(), version, cpu_level: level.parse().unwrap(), ..sample::about() };
        write(&sample::contents(), &about, &sample::key()).unwrap()
    }

    /// A store with four images of two guests.
    fn filled(dir: &Path) -> Store {
        let store = Store::at(dir.join("deep/aot"));
        for (guest, version, level) in
            [("a", 2, "x86-64-v2"), ("b", 9, "x86-64-v1,aes"), ("a", 10, "x86-64-v2"), ("a", 2, "x86-64-v3")]
        {
            store.add(&image(guest, version, level)).unwrap();
        }
        store
    }

    fn below(store: &Store, paths: &[PathBuf]) -> Vec<String> {
        let name = |path: &PathBuf| path.strip_prefix(store.dir()).unwrap().display().to_string();
        paths.iter().map(name).collect()
    }

    fn listed(store: &Store) -> Vec<String> {
        let paths: Vec<_> = store.list().unwrap().into_iter().map(|entry| entry.unwrap().path).collect();
        below(store, &paths)
    }

    #[test]
    fn images_are_found_by_guest_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let none = Store::at(dir.path().join("none"));
        assert!(none.list().unwrap().is_empty() && none.prune(0).unwrap().is_empty());
        assert_eq!(none.next_version("a").unwrap(), 1);
        let store = filled(dir.path());
        let [a10, a2, a2v3, b9] = [
            "a/00000010-x86-64-v2.aot",
            "a/00000002-x86-64-v2.aot",
            "a/00000002-x86-64-v3.aot",
            "b/00000009-x86-64-v1+aes.aot",
        ];
        assert_eq!(listed(&store), [a10, a2, a2v3, b9]);
        let versions = |guest: &str| -> Vec<u64> {
            store.of_guest(guest).unwrap().iter().map(|entry| entry.header.version).collect()
        };
        assert_eq!((versions("a"), versions("b"), versions("c")), (vec![10, 2, 2], vec![9], vec![]));
        assert!(versions("../aot/a").is_empty());
        assert_eq!(store.next_version("a").unwrap(), 11);
        let entries = store.of_guest("a").unwrap();
        for entry in &entries[..2] {
            let page = fs::read(&entry.path).unwrap()[..header::PAGE].to_vec();
            Standing::Proven.note(&entry.path, &page).unwrap();
        }
        assert_eq!(entries[1].standing().unwrap(), Standing::Proven);
        assert_eq!(entries[2].standing().unwrap(), Standing::Canary);
        assert_eq!(below(&store, &store.prune(1).unwrap()), [a2.to_owned(), format!("{a2}.proven")]);
        assert_eq!(listed(&store), [a10, a2v3, b9]);
    }

    #[test]
    fn a_version_is_never_replaced_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let other = sign(&image("b", 9, "x86-64-v1,aes"), 9, &sample::key()).unwrap();
        assert!(store.add(&other).unwrap_err().to_string().contains("cannot be put in place"));
        assert_eq!(names(&store.dir().join("b")).unwrap().len(), 1);
        assert!(store.add(&other[..5000]).unwrap_err().to_string().contains("is truncated"));
    }

    #[test]
    fn what_is_no_image_is_told_and_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let guest = store.dir().join("b");
        fs::write(guest.join("letter.aot"), "dear").unwrap();
        fs::copy(guest.join("00000009-x86-64-v1+aes.aot"), guest.join("00000010-x86-64-v1+aes.aot")).unwrap();
        let mut newer = image("b", 3, "x86-64-v1");
        newer[8] = 9;
        fs::write(guest.join("newer.aot"), newer).unwrap();
        fs::write(guest.join("notes"), "mine").unwrap();
        fs::write(guest.join(".draft-1-1"), "killed").unwrap();
        let draft = Draft::write(&guest, b"in use").unwrap();
        let told: Vec<String> =
            store.list().unwrap().into_iter().filter_map(|entry| Some(entry.err()?.to_string())).collect();
        assert_eq!(told.len(), 3);
        assert!(
            told[0].contains("expected the image b/00000009-x86-64-v1+aes.aot of its header"),
            "{told:?}"
        );
        assert!(told[2].contains("newer.aot: was written by a newer aot-builder"), "{told:?}");
        assert!(told[1].contains("letter.aot: is no AOT image"), "{told:?}");
        let removed = below(&store, &store.prune(9).unwrap());
        assert_eq!(removed, ["b/00000010-x86-64-v1+aes.aot", "b/letter.aot", "b/.draft-1-1"]);
        assert!(guest.join("notes").exists() && draft.path().exists());
        drop(draft);
        assert_eq!(names(&guest).unwrap().len(), 3, "an image, one of the future, notes");
    }

    #[test]
    fn an_image_is_verified_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let entry = &store.of_guest("b").unwrap()[0];
        entry.verify(&sample::trust()).unwrap();
        assert!(entry.verify(&Trust::of([])).unwrap_err().to_string().contains("which is not trusted"));
        let mut bytes = fs::read(&entry.path).unwrap();
        bytes[5000] ^= 1;
        fs::write(&entry.path, &bytes).unwrap();
        let refused = entry.verify(&sample::trust()).unwrap_err().to_string();
        assert!(refused.contains("aot: is damaged: the BLAKE3 of section text"), "{refused}");
        assert_eq!(&store.of_guest("b").unwrap()[0], entry, "the header is as it was");
    }
}
