//! What code has run, written for the builder of images: at the end, at intervals and on command.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Runtime, RuntimeError};
use crate::profile;

impl Runtime {
    /// Writes it where `--profile` says, if that is wanted.
    pub fn write_profile(&self) -> Result<(), RuntimeError> {
        match &self.machine.config().profile {
            Some(path) => self.write_profile_to(path).map(drop),
            None => Ok(()),
        }
    }

    /// False if nothing is noted.
    fn write_profile_to(&self, path: &Path) -> Result<bool, RuntimeError> {
        let Some(profile) = self.machine.jit().and_then(|jit| jit.profile()) else { return Ok(false) };
        profile::write(&profile, path)
            .map_err(|source| RuntimeError::Profile { path: path.to_owned(), source })?;
        Ok(true)
    }

    /// The same if `--profile-every` says that it is time. A failure is told, and tried again.
    pub(super) fn profile_if_due(&mut self) {
        let Some(every) = self.machine.config().profile_every else { return };
        if self.profiled.elapsed() < every {
            return;
        }
        if let Err(error) = self.write_profile() {
            tracing::warn!(%error, "no profile");
        }
        self.profiled = Instant::now();
    }

    /// Writes it to a file, or where `--profile` says; says how that went.
    pub(super) fn profile_as_asked(&self, file: Option<PathBuf>) -> String {
        let Some(path) = file.as_ref().or(self.machine.config().profile.as_ref()) else {
            return "expected profile FILE, found no file\n".to_owned();
        };
        match self.write_profile_to(path) {
            Ok(true) => format!("profile written to {}\n", path.display()),
            Ok(false) => "nothing is noted; start with --profile FILE\n".to_owned(),
            Err(error) => format!("{error}\n"),
        }
    }
}
