//! `vm-boot snapshot merge`: a snapshot and all that it stands on, as one that stands alone.

use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;
use vm_mmu::PAGE;

use super::chunks::each_chunk;
use super::error::{Refusal, SaveError};
use super::folder::Draft;
use super::layers::Layers;
use super::opened::Opened;
use super::pages::PageMap;
use super::writer::{self, Rest};
use super::{RAM, disk_name, family, ram};

/// Why snapshots could not be merged. What was there is there still.
#[derive(Debug, Error)]
pub enum MergeError {
    /// One of them is not whole.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The result could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// Others would lose what they stand on.
    #[error("snapshot {}: expected one that no other stands on, found {} on it; give a new place with --into",
        dir.display(), by.display())]
    Needed {
        /// What would be replaced.
        dir: PathBuf,
        /// One that needs it.
        by: PathBuf,
    },
}

/// Makes the snapshot in `dir` stand alone, in its place or as a new one `into` another, with its memory packed or
/// not; gives bytes of memory.
pub fn merge(dir: &Path, into: Option<&Path>, pack: bool) -> Result<u64, MergeError> {
    let opened = Opened::open(dir)?;
    let target = into.unwrap_or(dir);
    if let Some(by) = family::standing_on(target) {
        return Err(MergeError::Needed { dir: target.to_owned(), by });
    }
    let draft = Draft::begin(target)?;
    let file = draft.create(RAM)?;
    let map = flatten(&opened.memory(), &file, opened.content().machine.memory, true)?;
    let memory = map.held();
    let mut disks = Vec::new();
    for (number, own) in opened.disks().iter().enumerate() {
        let merged = match own {
            None => None,
            Some(own) => {
                let file = draft.create(&disk_name(number))?;
                Some((flatten(&opened.disk(number), &file, own.map().size, false)?, file))
            }
        };
        disks.push(merged);
    }
    let rest = Rest { below: None, pack, code: opened.image()? };
    writer::complete(draft, opened.content(), (map, file), disks, rest)?;
    Ok(memory)
}

/// Writes what layers hold to one file. Zeros are left out where they are what a page is anyway.
fn flatten(layers: &Layers, file: &File, size: u64, leave_zeros: bool) -> Result<PageMap, SaveError> {
    let failed = |source| SaveError::Host { action: "write", path: "pages".into(), source };
    file.set_len(size).map_err(failed)?;
    let chunks = each_chunk::<_, SaveError>("merging", size, |index, buf| {
        let mut held = layers.pages(index);
        layers.fill(index, &held, buf).map_err(failed)?;
        let zeros = |page: usize| buf[page * PAGE as usize..][..PAGE as usize].iter().all(|&byte| byte == 0);
        if leave_zeros {
            held.clone().iter().filter(|&page| zeros(page)).for_each(|page| held.remove(page));
        }
        ram::put(index, &held, buf, file).map_err(failed)
    })?;
    Ok(PageMap { size, chunks })
}
