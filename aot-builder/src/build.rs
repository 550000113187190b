//! `aot-builder build`: profiles to a signed image. What an earlier one has of it is not compiled again, and the
//! bytes are the same.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use vm_cpu::aot::build::{SHARED_WORDS, assemble, plan};
use vm_cpu::aot::{About, CpuLevel, image, keys, layout_hash};

use crate::file;
use aot_builder::backend::{Compiled, Options};

/// What to build.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Profiles; several are taken together
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<PathBuf>,
    /// The image
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Secret key that signs it (`aot-builder keygen` makes one)
    #[arg(short, long, value_name = "FILE")]
    key: PathBuf,
    /// What the image is of; versions are counted for each by itself
    #[arg(long, value_name = "NAME", default_value = "guest")]
    guest: String,
    /// Its version: an image that is older than permitted is not run
    #[arg(long, value_name = "N", default_value_t = 1)]
    image_version: u64,
    /// Leave out code that ran less often
    #[arg(long, value_name = "N", default_value_t = 16)]
    least: u64,
    /// Take what has not changed from this image [default: the output, if it is there]
    #[arg(long, value_name = "IMAGE", conflicts_with = "from_scratch")]
    reuse: Option<PathBuf>,
    /// Compile all of it
    #[arg(long)]
    from_scratch: bool,
    #[command(flatten)]
    compile: Options,
}

/// Builds the image.
pub fn run(args: &Args) -> Result<String> {
    let key = keys::read_secret(&args.key).with_context(|| format!("--key {}", args.key.display()))?;
    let profile = file::read_profiles(&args.profiles)?;
    let jobs = plan(&profile, args.least);
    ensure!(!jobs.is_empty(), "no code ran {} times or more: expected some; see --least", args.least);
    let cpu_level = CpuLevel::of_host();
    let earlier = match &args.reuse {
        Some(path) => Some(path),
        None => Some(&args.output).filter(|path| !args.from_scratch && path.exists()),
    };
    let earlier = earlier.and_then(|path| file::reuse(path, &key.verifying_key(), &cpu_level));
    let Compiled { made, told, reused, .. } = args.compile.compile(&jobs, &cpu_level, earlier.as_ref())?;
    let contents = assemble(jobs.into_iter().zip(made));
    let about = About {
        guest: args.guest.clone(),
        version: args.image_version,
        layout_hash: layout_hash(),
        cpu_level,
        shared_words: SHARED_WORDS,
    };
    let image = image::write(&contents, &about, &key)?;
    file::write(&args.output, &image)?;
    let insns: usize = contents.units.iter().map(|unit| unit.sites.len()).sum();
    Ok(format!(
        "{}: {} units of {insns} guest instructions, {} KiB of code; {told}; {reused} reused\n",
        args.output.display(),
        contents.units.len(),
        contents.text.len() >> 10
    ))
}
