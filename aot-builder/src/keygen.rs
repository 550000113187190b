//! `keygen`: a pair of keys.

use std::path::{Path, PathBuf};

use anyhow::Result;
use vm_cpu::aot::{KeyId, keys};

/// Notes at the end of the help.
pub const NOTES: &str = "\
Keep NAME.key to yourself: sign refuses it if others can read it. Whoever shall run what you sign puts
NAME.pub into the directory that --aot-trust names.";

/// What to make.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path of the keys without their endings, .key and .pub; neither file may be there yet
    name: PathBuf,
}

/// Makes the keys.
pub fn run(Args { name }: &Args) -> Result<String> {
    let key = keys::generate()?;
    let (secret, public) = (with_ending(name, "key"), with_ending(name, "pub"));
    keys::write_secret(&secret, &key)?;
    keys::write_public(&public, &key.verifying_key())?;
    let id = KeyId::of(key.verifying_key().as_bytes());
    Ok(format!("key {id}: {} signs, {} is what others trust\n", secret.display(), public.display()))
}

/// The name with an ending more, whatever dots it has.
fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}
