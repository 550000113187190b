//! The code of a machine, for whoever goes on from its snapshot.

use std::time::Duration;

use anyhow::Result;
use vm_cpu::aot::{keys, warm};

use super::Machine;
use crate::backfill::keys_of_user;

/// So long code is made for a snapshot at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the image is of.
const GUEST: &str = "snapshot";

impl Machine {
    /// An image of the optimised code that the machine has, if it has some and its snapshots are to hold it. It is
    /// made while the machine runs. A snapshot without is as good, and slower at first.
    pub fn warm_code(&self) -> Option<Vec<u8>> {
        let jit = self.jit.as_ref().filter(|_| self.config.snapshot_code)?;
        let units = jit.resident();
        if units.is_empty() {
            return None;
        }
        let image = || -> Result<Option<Vec<u8>>> {
            let key = keys::own(&keys_of_user()?)?;
            Ok(warm::image_of(units, GUEST, &key, PATIENCE)?)
        };
        image().inspect_err(|error| tracing::warn!("no code in the snapshot: {error:#}")).ok().flatten()
    }
}
