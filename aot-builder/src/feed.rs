//! `feed`: what runs have left in the store becomes a better image for the next, at low priority.
//!
//! ```text
//!  store/GUEST/run-4711.profile ──merged──► profile ──if it says something new──► 00000002-LEVEL.aot
//! ```
//! `vm-boot run --aot auto` starts it. One at a time works on a guest; who comes while another does leaves its
//! profile to that one's successor.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aot_builder::backend::{Backend, Compiled, HOT, Options};
use vm_cpu::aot::build::{SHARED_WORDS, assemble, plan};
use vm_cpu::aot::profile::Profile;
use vm_cpu::aot::standing::Standing;
use vm_cpu::aot::store::Entry;
use vm_cpu::aot::{About, CpuLevel, Store, image, keys, layout_hash};

use crate::file;

/// Versions that stay in the store.
const KEEP: usize = 2;
/// An image is made anew when so many in a hundred blocks are new.
const NEW_PERCENT: usize = 2;
/// The profile of all runs so far.
const PROFILE: &str = "profile";
/// What runs leave ends in this.
const RUN: &str = "profile";

/// What to feed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The guest, by its directory in the store
    guest: String,
    /// The store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Directory of the key that signs, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Leave out code that ran less often
    #[arg(long, value_name = "N", default_value_t = 16)]
    least: u64,
}

/// Makes an image if there is something new.
pub fn run(args: &Args) -> Result<String> {
    // Whatever else the host does comes first.
    let _ = rustix::process::nice(19);
    let dir = args.store.join(&args.guest);
    ensure!(dir.is_dir(), "{}: expected the directory of a guest, found none", dir.display());
    let lock = File::open(&dir)?;
    if lock.try_lock().is_err() {
        return Ok(format!("{}: another one is at work\n", args.guest));
    }
    let (before, all, taken) = gather(&dir)?;
    let store = Store::at(&args.store);
    if !is_due(&store, &args.guest, &before, &all, args.least)? {
        keep(&dir, &all, &taken)?;
        return Ok(format!("{}: nothing new\n", args.guest));
    }
    let key = keys::own(&args.keys)?;
    let jobs = plan(&all, args.least);
    ensure!(!jobs.is_empty(), "no code ran {} times or more: expected some; see --least", args.least);
    let how = Options { backend: Backend::Auto, hot: HOT, jobs: Some(1) };
    let cpu_level = CpuLevel::of_host();
    let newest = store.of_guest(&args.guest)?.into_iter().find(|entry| is_ours(entry, &cpu_level));
    let earlier = newest.and_then(|entry| file::reuse(&entry.path, &key.verifying_key(), &cpu_level));
    let Compiled { made, reused, .. } = how.compile(&jobs, &cpu_level, earlier.as_ref())?;
    let contents = assemble(jobs.into_iter().zip(made));
    let about = About {
        guest: args.guest.clone(),
        version: store.next_version(&args.guest)?,
        layout_hash: layout_hash(),
        cpu_level,
        shared_words: SHARED_WORDS,
    };
    let path = store.add(&image::write(&contents, &about, &key)?)?;
    keep(&dir, &all, &taken)?;
    store.prune(KEEP)?;
    Ok(format!("{}: {} units, {reused} reused\n", path.display(), contents.units.len()))
}

/// The profile of all runs before, that of all, and the files that the new ones are from. What cannot be read is
/// removed with them: it will not get better.
fn gather(dir: &Path) -> Result<(Profile, Profile, Vec<PathBuf>)> {
    let before = file::read_profiles(&[dir.join(PROFILE)]).unwrap_or_default();
    let mut all = before.clone();
    let mut taken: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    taken.retain(|path| path.extension().is_some_and(|end| end == RUN));
    taken.sort();
    for path in &taken {
        match file::read_profiles(std::slice::from_ref(path)) {
            Ok(profile) => all.merge(&profile),
            Err(error) => eprintln!("aot-builder: {error:#}"),
        }
    }
    Ok((before, all, taken))
}

/// Whether no image suits this program, or runs have shown much that the profile before did not have.
fn is_due(store: &Store, guest: &str, before: &Profile, all: &Profile, least: u64) -> Result<bool> {
    let fits = |entry: &Entry| {
        let level = entry.header.level.parse::<CpuLevel>();
        entry.header.layout == layout_hash()
            && level.is_ok_and(|level| CpuLevel::of_host().covers(&level))
            && !matches!(entry.standing(), Ok(Standing::Quarantined(_)))
    };
    let blocks = |profile: &Profile| -> usize {
        let hot = profile.pages.iter().flat_map(|page| &page.blocks).filter(|block| block.heat >= least);
        hot.count()
    };
    let (old, new) = (blocks(before), blocks(all));
    Ok(!store.of_guest(guest)?.iter().any(fits) || (new - old.min(new)) * 100 > old * NEW_PERCENT)
}

/// Whether this program has made it, for hosts of this level, and nothing is known against it.
fn is_ours(entry: &Entry, level: &CpuLevel) -> bool {
    entry.header.layout == layout_hash()
        && entry.header.level == level.to_string()
        && !matches!(entry.standing(), Ok(Standing::Quarantined(_)))
}

fn keep(dir: &Path, all: &Profile, taken: &[PathBuf]) -> Result<()> {
    let mut bytes = Vec::new();
    all.write(&mut bytes)?;
    file::write(&dir.join(PROFILE), &bytes)?;
    for path in taken {
        fs::remove_file(path).with_context(|| format!("{}: cannot be removed", path.display()))?;
    }
    Ok(())
}
