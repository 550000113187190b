//! `--aot auto`: the loop from one run to the next by itself.
//!
//! ```text
//!  start: the store's image of this guest ─► run, noting what ran ─► end: the profile, to a child of its own
//!                     ▲                                                            │
//!                     └──────── image, signed by the user's key ◄── aot-builder feed, nice 19
//! ```
//! A guest is told from others by its kernel or firmware.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;
use vm_cpu::aot::Store;
use vm_cpu::aot::profile::Profile;
use vm_cpu::aot::standing::image_of;
use vm_cpu::aot::store::StoreError;

use crate::config::MachineConfig;
use crate::loader::Blob;
use crate::profile;

/// The program that makes images.
const BUILDER: &str = "aot-builder";
/// Where the user's keys are, beside the store.
const KEYS: &str = "keys";

/// Why the loop does not go on.
#[derive(Debug, Error)]
pub enum BackfillError {
    /// There is no store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guest cannot be told from others.
    #[error("{}: cannot be read: {source}", path.display())]
    Guest {
        /// Its kernel or firmware.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The profile does not get there.
    #[error("{}: cannot be written: {source}", path.display())]
    Profile {
        /// Where it should go.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody makes images.
    #[error("expected {BUILDER} beside vm-boot or in PATH, found none: no image is made")]
    NoBuilder,
    /// The host does not start it.
    #[error("{}: cannot be started: {source}", program.display())]
    Start {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The user's own keys: they sign what this program makes for itself, and what they signed is run.
pub fn keys_of_user() -> Result<PathBuf, StoreError> {
    Ok(Store::of_user()?.dir().with_file_name(KEYS))
}

/// Where images of a guest are.
pub struct Place {
    store: Store,
    guest: String,
}

impl Place {
    /// Of the guest that a machine runs.
    pub fn of(config: &MachineConfig) -> Result<Place, BackfillError> {
        let payload = &config.payload;
        let blob = payload.kernel.as_ref().or(payload.firmware.as_ref());
        let mut hasher = blake3::Hasher::new();
        let name = match blob {
            Some(Blob::File(path)) => {
                let failed = |source| BackfillError::Guest { path: path.clone(), source };
                hasher.update_reader(File::open(path).map_err(failed)?).map_err(failed)?;
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Some(Blob::Embedded { bytes, .. }) => {
                hasher.update(bytes);
                "demo".to_owned()
            }
            None => "nothing".to_owned(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
        let name: String = name.chars().filter(|&c| plain(c)).take(32).collect();
        let digest = hasher.finalize().to_hex();
        Ok(Place { store: Store::of_user()?, guest: format!("{name}-{}", &digest[..16]) })
    }

    /// Images of the guest, newest first.
    pub fn images(&self) -> Vec<PathBuf> {
        let found = self.store.of_guest(&self.guest);
        let found = found.inspect_err(|error| tracing::warn!(%error, "no images of this guest"));
        found.into_iter().flatten().map(|entry| entry.path).filter(|path| image_of(path).is_none()).collect()
    }

    /// The keys that are trusted if nobody says otherwise: the user's own.
    pub fn keys(&self) -> PathBuf {
        self.store.dir().with_file_name(KEYS)
    }

    /// Hands a profile to a child that makes an image of it, and goes on when this process has ended.
    pub fn feed(&self, profile: &Profile) -> Result<(), BackfillError> {
        let program = builder().ok_or(BackfillError::NoBuilder)?;
        let dir = self.store.dir().join(&self.guest);
        let path = dir.join(format!("run-{}.profile", std::process::id()));
        let failed = |source| BackfillError::Profile { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        profile::write(profile, &path).map_err(failed)?;
        let mut command = Command::new(&program);
        command
            .arg("feed")
            .arg(&self.guest)
            .arg("--store")
            .arg(self.store.dir())
            .arg("--keys")
            .arg(self.keys());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(|source| BackfillError::Start { program, source })?;
        tracing::info!(child = child.id(), guest = self.guest, "an image is made in the background");
        Ok(())
    }
}

/// The program that makes images: the one that came with this, or the user's.
fn builder() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name(BUILDER));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join(BUILDER)).collect::<Vec<_>>();
    beside.into_iter().chain(in_path).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
