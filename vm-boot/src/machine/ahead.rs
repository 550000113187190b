//! The image of code that was translated ahead, if one is asked for and may be run.
//!
//! ```text
//!  --aot FILE   that one
//!  --aot auto   the newest of the store that is made for this guest and host, and was not quarantined
//! ```
//! **Invariant.** What is verified and what is run are the same bytes, which nobody can change. An image of the
//! store that is new runs as a canary, or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use vm_cpu::aot::build::SHARED_WORDS;
use vm_cpu::aot::day::Day;
use vm_cpu::aot::shared::{Loaded, notes_of_user};
use vm_cpu::aot::standing::Standing;
use vm_cpu::aot::{CpuLevel, Host, PAGE, Trust, layout_hash};

use crate::backfill::{Place, keys_of_user};
use crate::cli::value::{Aot, Serial};
use crate::config::{MachineConfig, TRUST_DIR};

/// One in so many entries into a new image's code is compared with the interpreter.
const EVERY: u64 = 64;
/// Comparisons after which an image is proven, if all were clean.
const ENOUGH: u64 = 500;

/// An image that a machine runs.
pub struct Chosen {
    image: Loaded,
    /// What is to be said of it in the end.
    pub origin: Origin,
}

/// Where an image is from.
pub struct Origin {
    path: PathBuf,
    /// Its first page.
    page: Vec<u8>,
    /// One in how many entries is compared, if it is a canary.
    pub canary: Option<u64>,
}

impl Chosen {
    /// What harts run.
    pub fn into_parts(self) -> (Loaded, Origin) {
        (self.image, self.origin)
    }
}

/// Reads and verifies the image. A refusal is said in the log, and costs nothing else.
pub fn load(config: &MachineConfig) -> Option<Chosen> {
    let Some(aot) = &config.aot else { return of_snapshot(config) };
    match aot {
        Aot::File(path) => {
            let trust = config.aot_trust.clone().unwrap_or_else(|| TRUST_DIR.into());
            said(path, read(path, &trust, |_| Ok(config.aot_canary)))
        }
        Aot::Auto => {
            let place = Place::of(config).map_err(|error| tracing::warn!(%error, "no images of this guest"));
            let place = place.ok()?;
            let trust = config.aot_trust.clone().unwrap_or_else(|| place.keys());
            let entries = place.images();
            entries.into_iter().find_map(|path| {
                let taken = read(&path, &trust, |standing| match standing {
                    Standing::Proven => Ok(config.aot_canary),
                    _ if may_be_compared(config) => Ok(Some(config.aot_canary.unwrap_or(EVERY))),
                    _ => {
                        bail!("is new, and is compared on a machine of one hart and no virtio console first")
                    }
                });
                said(&path, taken)
            })
        }
    }
}

/// The code of the snapshot that the machine goes on from: this user's own, or it is made again.
fn of_snapshot(config: &MachineConfig) -> Option<Chosen> {
    let path = config.code.as_ref().filter(|_| config.jit.is_some())?;
    let trust = keys_of_user().map_err(anyhow::Error::from);
    said(path, trust.and_then(|trust| read(path, &trust, |_| Ok(None))))
}

/// Whether what units do can be taken back unseen.
pub fn may_be_compared(config: &MachineConfig) -> bool {
    config.cpus == 1 && config.virtio_console == Serial::None
}

fn said(path: &Path, read: Result<Chosen>) -> Option<Chosen> {
    let refused = |error: &anyhow::Error| {
        let (image, error) = (path.display(), format!("{error:#}"));
        tracing::warn!(%image, error, "no code from the image: it is compiled as the guest runs");
    };
    read.inspect_err(refused).ok()
}

fn read(path: &Path, trust: &Path, canary: impl FnOnce(&Standing) -> Result<Option<u64>>) -> Result<Chosen> {
    let trust = Trust::read(trust, Day::today())?;
    let host =
        Host { layout_hash: layout_hash(), cpu_level: CpuLevel::of_host(), shared_words: SHARED_WORDS };
    let image = Loaded::open(path, notes_of_user().as_deref(), &trust, &host)?;
    let page = image.bytes()[..PAGE].to_vec();
    let standing = Standing::of(path, &page).context("what is known of it")?;
    if let Standing::Quarantined(report) = &standing {
        bail!("was quarantined: {}", report.lines().next().unwrap_or_default());
    }
    let canary = canary(&standing)?;
    Ok(Chosen { image, origin: Origin { path: path.to_owned(), page, canary } })
}

impl Origin {
    /// Notes what a run has shown: `report` if it was wrong, else how many `steps` were compared.
    pub fn settle(&self, report: Option<&str>, steps: u64) {
        let standing = match report {
            Some(report) => Standing::Quarantined(report.to_owned()),
            None if self.canary.is_some() && steps >= ENOUGH => Standing::Proven,
            None => return,
        };
        match standing.note(&self.path, &self.page) {
            Ok(Some(note)) => tracing::info!(note = %note.display(), "what was found of the image"),
            Ok(None) => {}
            Err(error) => {
                let image = self.path.display();
                tracing::warn!(%image, %error, "what was found of the image is not noted");
            }
        }
    }
}
