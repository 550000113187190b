//! `vm-boot snapshot prune`: the newest snapshots of a directory stay, with all that they stand on; others go, and
//! so does what killed saves have left.
//!
//! A snapshot goes as it came, by one rename, and one that stands on another goes before it. So a prune that is
//! killed leaves whole snapshots, none of them without what it stands on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Opened, family, folder};

/// A snapshot that could be read.
struct Member {
    dir: PathBuf,
    saved: SystemTime,
    /// Its own directory, and those of what it stands on.
    chain: Vec<PathBuf>,
}

/// Keeps the `keep` newest snapshots of `dir`; says what became of the others. `dry` only says it.
pub fn prune(dir: &Path, keep: usize, dry: bool) -> io::Result<String> {
    let mut text = String::new();
    let mut members = Vec::new();
    let mut kept = BTreeSet::new();
    for place in family::below(dir)? {
        match Opened::read(&place) {
            Ok(opened) => members.push(Member::of(&opened)?),
            Err(refusal) => {
                let _ = writeln!(text, "left {}: {}: {}", place.display(), refusal.part, refusal.reason);
            }
        }
    }
    members.sort_by_key(|member| std::cmp::Reverse(member.saved));
    members.iter().take(keep).for_each(|member| kept.extend(member.chain.iter().cloned()));
    members.retain(|member| !member.chain.first().is_some_and(|own| kept.contains(own)));
    members.sort_by_key(|member| std::cmp::Reverse(member.chain.len()));
    for member in members {
        let (name, kib) = (member.dir.display().to_string(), size(&member.dir)? >> 10);
        if !dry {
            folder::remove(&member.dir)?;
        }
        let _ = writeln!(text, "{} {name}, {kib} KiB", if dry { "would remove" } else { "removed" });
    }
    for draft in folder::left_over(dir, |_| true) {
        if !dry {
            fs::remove_dir_all(&draft)?;
        }
        let _ = writeln!(text, "{} {}", if dry { "would remove" } else { "removed" }, draft.display());
    }
    Ok(text)
}

impl Member {
    fn of(opened: &Opened) -> io::Result<Member> {
        let dir = opened.dir().to_owned();
        let saved = fs::metadata(dir.join(super::STATE))?.modified()?;
        let chain = opened.chain().map(|layer| layer.dir().canonicalize()).collect::<io::Result<_>>()?;
        Ok(Member { dir, saved, chain })
    }
}

/// Bytes that a snapshot takes on the host.
fn size(dir: &Path) -> io::Result<u64> {
    let blocks = |entry: io::Result<fs::DirEntry>| Ok(entry?.metadata()?.blocks());
    Ok(fs::read_dir(dir)?.map(blocks).sum::<io::Result<u64>>()? * 512)
}
