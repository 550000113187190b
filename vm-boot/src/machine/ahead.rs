//! The image of code that was translated ahead, if one is asked for and may be run.
//!
//! **Invariant.** What is verified and what is run are the same bytes: the file is read once.

use std::path::Path;

use vm_cpu::aot::build::SHARED_WORDS;
use vm_cpu::aot::day::Day;
use vm_cpu::aot::unit::Contents;
use vm_cpu::aot::{CpuLevel, Host, Image, Trust, layout_hash};

use crate::config::MachineConfig;

/// Reads and verifies the image. A refusal is said in the log, and costs nothing else.
pub fn load(config: &MachineConfig) -> Option<Contents> {
    let path = config.aot.as_ref()?;
    match read(path, &config.aot_trust) {
        Ok(contents) => Some(contents),
        Err(error) => {
            let (image, error) = (path.display(), format!("{error:#}"));
            tracing::warn!(%image, error, "no code from the image: it is compiled as the guest runs");
            None
        }
    }
}

fn read(path: &Path, trust: &Path) -> anyhow::Result<Contents> {
    let file = vm_cpu::aot::image::bytes_of(path)?;
    let trust = Trust::read(trust, Day::today())?;
    let host =
        Host { layout_hash: layout_hash(), cpu_level: CpuLevel::of_host(), shared_words: SHARED_WORDS };
    let image = Image::read(&file, &trust, &host)?;
    Ok(image.into_contents(file))
}
