//! Images of code translated ahead, from a profile, as `aot-builder` makes them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vm_cpu::aot::build::{SHARED_WORDS, assemble, plan};
use vm_cpu::aot::profile::Profile;
use vm_cpu::aot::{About, CpuLevel, image, keys, layout_hash};
use vm_cpu::jit::compile::Compiler;

/// A directory with a profile, an image of it, and the key that is trusted.
pub struct Ahead {
    directory: TempDir,
}

impl Default for Ahead {
    fn default() -> Self {
        Ahead { directory: tempfile::tempdir().expect("a temporary directory") }
    }
}

impl Ahead {
    /// Where a run writes its profile.
    pub fn profile(&self) -> PathBuf {
        self.directory.path().join("profile")
    }

    /// Where the image is.
    pub fn image(&self) -> PathBuf {
        self.directory.path().join("image.aot")
    }

    /// The directory of trusted keys.
    pub fn trust(&self) -> &Path {
        self.directory.path()
    }

    /// Options that run the image.
    pub fn options(&self) -> [String; 4] {
        let text = |path: &Path| path.to_str().expect("a path that is text").to_owned();
        ["--aot".to_owned(), text(&self.image()), "--aot-trust".to_owned(), text(self.trust())]
    }

    /// Builds the image from what the profile says ran so often; how many units it has.
    pub fn build(&self, least: u64) -> usize {
        let profile = std::fs::read(self.profile()).expect("a profile");
        let profile = Profile::read(&profile).expect("a profile");
        let mut compiler = Compiler::new().expect("a host for the JIT");
        let made = plan(&profile, least).into_iter().map(|job| {
            let made = job.compile(&mut compiler).expect("code for what has run");
            (job, Some(made))
        });
        let contents = assemble(made);
        let about = About {
            guest: "test".to_owned(),
            version: 1,
            layout_hash: layout_hash(),
            cpu_level: CpuLevel::of_host(),
            shared_words: SHARED_WORDS,
        };
        let key = keys::generate().expect("random numbers");
        let public = self.trust().join("test.pub");
        keys::write_public(&public, &key.verifying_key()).expect("a new file");
        let file = image::write(&contents, &about, &key).expect("a good image");
        std::fs::write(self.image(), file).expect("a temporary file");
        contents.units.len()
    }
}
