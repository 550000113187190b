//! `aot-builder merge`: profiles of several runs as one.

use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context, Result};
use vm_cpu::aot::profile::Profile;

/// What to put together.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Profiles
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<PathBuf>,
    /// What comes of them
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Puts them together.
pub fn run(args: &Args) -> Result<String> {
    let mut all = Profile::default();
    for path in &args.profiles {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        all.merge(&Profile::read(&bytes).with_context(|| path.display().to_string())?);
    }
    let file = std::fs::File::create(&args.output).with_context(|| args.output.display().to_string())?;
    all.write(BufWriter::new(file)).with_context(|| args.output.display().to_string())?;
    Ok(format!("{}: {} pages of code\n", args.output.display(), all.pages.len()))
}
