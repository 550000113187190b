//! `aot-builder merge`: profiles of several runs as one.

use std::path::PathBuf;

use anyhow::Result;

use crate::file;

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
    let all = file::read_profiles(&args.profiles)?;
    let mut bytes = Vec::new();
    all.write(&mut bytes)?;
    file::write(&args.output, &bytes)?;
    Ok(format!("{}: {} pages of code\n", args.output.display(), all.pages.len()))
}
