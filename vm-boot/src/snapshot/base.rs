//! The part `base`: the snapshot that a differential one stands on, known by the BLAKE3 of its header, which
//! covers all that is in it.
//!
//! It is looked for beside the snapshot, under the name it had, and then where it was; so folders can be moved
//! together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Reason, Refusal};
use super::machine::HostPath;
use super::opened::Opened;

/// So many snapshots may stand on one another.
pub const DEEPEST: usize = 128;

/// Which snapshot is below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// Where it was.
    pub dir: HostPath,
    /// Digest of its header.
    pub digest: [u8; 32],
}

impl BaseRecord {
    /// The record of this snapshot.
    pub fn of(base: &Opened) -> std::io::Result<BaseRecord> {
        Ok(BaseRecord { dir: HostPath::of(base.dir())?, digest: base.digest() })
    }

    /// Finds and reads the base of the snapshot in `dir`, above which `depth` snapshots stand.
    pub fn find(&self, dir: &Path, depth: usize) -> Result<Opened, (String, Reason)> {
        if depth >= DEEPEST {
            let most = format!("expected at most {DEEPEST} snapshots on one another");
            return Err(("base".to_owned(), Reason::Invalid(most)));
        }
        let mut refused = None;
        for place in self.places(dir) {
            match Opened::read_below(&place, depth, self.digest) {
                Ok(base) => return Ok(base),
                // What is said of a place where something is comes before what is said of one where nothing is.
                Err(refusal) if refused.is_none() || !is_missing(&refusal) => refused = Some(refusal),
                Err(_) => {}
            }
        }
        let Some(refusal) = refused else { return Err(("base".to_owned(), Reason::Missing)) };
        let part = match is_missing(&refusal) || matches!(refusal.reason, Reason::OtherBase { .. }) {
            true => format!("base {}", refusal.dir.display()),
            false => format!("base {}: {}", refusal.dir.display(), refusal.part),
        };
        Err((part, refusal.reason))
    }

    fn places(&self, dir: &Path) -> Vec<PathBuf> {
        let was = self.dir.path();
        let parent = std::path::absolute(dir).ok().and_then(|dir| dir.parent().map(Path::to_owned));
        let beside = parent.zip(was.file_name()).map(|(parent, name)| parent.join(name));
        let other = beside.filter(|beside| *beside != was);
        other.into_iter().chain([was]).collect()
    }
}

fn is_missing(refusal: &Refusal) -> bool {
    refusal.part == super::STATE && matches!(refusal.reason, Reason::Missing)
}

/// As much of a digest as people compare.
pub fn short(digest: &[u8; 32]) -> String {
    let text: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    text + "…"
}
