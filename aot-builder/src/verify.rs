//! `verify`: whether images are whole, and whose.

use std::path::PathBuf;

use anyhow::{Context, Result};
use vm_cpu::aot::day::Day;
use vm_cpu::aot::{CpuLevel, Trust};

use crate::file;

/// Notes at the end of the help.
pub const NOTES: &str = "\
DIR holds public keys, *.pub, and may hold trust.toml, which limits what they are trusted for;
docs/format-aot.md says what is in it. All must be such that their owner alone can change them.";

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The images
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Directory of the public keys that are trusted
    #[arg(long, value_name = "DIR")]
    aot_trust: PathBuf,
}

/// Checks them; the first that is refused ends it.
pub fn run(args: &Args) -> Result<String> {
    let trust = Trust::read(&args.aot_trust, Day::today())?;
    let host = CpuLevel::of_host();
    let mut text = String::new();
    for path in &args.images {
        let (_, image) = file::read(path)?;
        let (header, level) = (image.header(), image.level());
        trust.admit(header).with_context(|| path.display().to_string())?;
        let fits = if host.covers(level) { "which this host has" } else { "which this host does not have" };
        text += &format!(
            "{}: whole, {} version {}, signed by {}, for {level}, {fits}\n",
            path.display(),
            header.guest,
            header.version,
            image.key()
        );
    }
    Ok(text)
}
