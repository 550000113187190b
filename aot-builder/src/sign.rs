//! `sign`: another signature under an image that was made before.

use std::path::PathBuf;

use anyhow::{Context, Result};
use vm_cpu::aot::{KeyId, image, keys};

use crate::file;

/// What to sign.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    image: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Version that the image is to have [default: the one it has]
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Where to write it [default: in its place]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Signs it.
pub fn run(args: &Args) -> Result<String> {
    let key = keys::read_secret(&args.key)?;
    let (bytes, before) = file::read(&args.image)?;
    let version = args.version.unwrap_or(before.header().version);
    let signed = image::sign(&bytes, version, &key).with_context(|| args.image.display().to_string())?;
    let output = args.output.as_ref().unwrap_or(&args.image);
    file::write(output, &signed)?;
    let (id, was) = (KeyId::of(key.verifying_key().as_bytes()), before.key());
    let guest = &before.header().guest;
    Ok(format!("{}: {guest} version {version}, signed by {id}; was by {was}\n", output.display()))
}
