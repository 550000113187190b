//! Where things lie, and how outputs come into being.
//!
//! ```text
//! images/cache/apt/NAME   private apt roots: configuration, lists, status
//! images/cache/packages   downloaded packages, verified by apt
//! images/cache/scratch    work under way; emptied at the start of each run
//! images/out/RECIPE/      a finished output, whole or absent
//! ```
//!
//! Invariant: an output directory appears by one rename, so an interrupted run
//! leaves nothing half made in `images/out`.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// The two directories of this crate that git ignores.
pub struct Place {
    root: PathBuf,
}

/// Held while a process works in the place; the kernel drops it with the process.
pub struct Lock {
    _file: File,
}

impl Place {
    /// The place below `root`.
    pub fn new(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("making {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("looking at {}", root.display()))?;
        Ok(Self { root })
    }

    /// A directory in the cache, made if it is absent.
    pub fn cache(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join("cache").join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// Where the output of a recipe is, or will be.
    pub fn output(&self, recipe: &str) -> PathBuf {
        self.root.join("out").join(recipe)
    }

    /// Keeps other runs out, and clears away what an interrupted run left.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.cache("")?.join("lock");
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another run of this program to end");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => bail!("locking {}: {error}", path.display()),
        }
        remove(&self.cache("scratch")?)?;
        Ok(Lock { _file: file })
    }

    /// A directory to work in, on the file system of the outputs.
    pub fn scratch(&self) -> Result<TempDir> {
        Ok(TempDir::new_in(self.cache("scratch")?)?)
    }

    /// Makes a finished directory the output of a recipe, in place of an older one.
    pub fn publish(&self, finished: TempDir, recipe: &str) -> Result<()> {
        let output = self.output(recipe);
        let old = self.scratch()?;
        fs::create_dir_all(self.root.join("out"))?;
        if output.exists() {
            fs::rename(&output, old.path().join("old"))?;
        }
        // The guard must not remove the directory from under its new name.
        let finished = finished.keep();
        fs::rename(&finished, &output)
            .with_context(|| format!("renaming {} to {}", finished.display(), output.display()))
    }

    /// Removes the cache and every output.
    pub fn clean(&self) -> Result<()> {
        let _lock = self.lock()?;
        remove(&self.root.join("out"))?;
        remove(&self.root.join("cache"))
    }
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (TempDir, Place) {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path()).unwrap();
        (root, place)
    }

    #[test]
    fn publishing_replaces_an_output_whole() {
        let (_root, place) = place();
        for (file, text) in [("old", "1"), ("new", "2")] {
            let scratch = place.scratch().unwrap();
            fs::write(scratch.path().join(file), text).unwrap();
            place.publish(scratch, "guest").unwrap();
        }
        let names: Vec<_> =
            fs::read_dir(place.output("guest")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["new"]);
    }

    #[test]
    fn a_dropped_scratch_directory_leaves_no_output() {
        let (_root, place) = place();
        drop(place.scratch().unwrap());
        assert!(!place.output("guest").exists());
    }

    #[test]
    fn the_lock_clears_what_an_interrupted_run_left() {
        let (_root, place) = place();
        let left = place.scratch().unwrap().keep();
        let _lock = place.lock().unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn cleaning_removes_cache_and_outputs() {
        let (root, place) = place();
        place.publish(place.scratch().unwrap(), "guest").unwrap();
        place.clean().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
