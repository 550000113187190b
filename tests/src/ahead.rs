//! Images of code translated ahead, from a profile, as `aot-builder` makes them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use vm_cpu::aot::build::{SHARED_WORDS, assemble, plan};
use vm_cpu::aot::profile::Profile;
use vm_cpu::aot::{About, CpuLevel, image, keys, layout_hash};
use vm_cpu::isa::Op;
use vm_cpu::jit::compile::Compiler;

use crate::host::{aot_builder, linux_busybox, vm_boot};
use crate::session::Session;

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
    /// The image of what `run` executes, which writes its profile to the file that it is given; as `aot-builder`
    /// makes it if it is told nothing else.
    ///
    /// # Errors
    /// What `run` says.
    pub fn of<E>(run: impl FnOnce(&str) -> Result<(), E>) -> Result<Ahead, E> {
        let ahead = Ahead::default();
        run(ahead.profile().to_str().expect("a path that is text"))?;
        eprint!("{}", ahead.build_by(&[]));
        Ok(ahead)
    }

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
        self.build_with(least, None)
    }

    /// The same, with units that take the first for the second.
    pub fn build_with(&self, least: u64, mistake: Option<(Op, Op)>) -> usize {
        let profile = std::fs::read(self.profile()).expect("a profile");
        let profile = Profile::read(&profile).expect("a profile");
        let mut compiler = Compiler::new().expect("a host for the JIT");
        let made = plan(&profile, least).into_iter().map(|mut job| {
            mistake.into_iter().for_each(|mistake| job.mistake(mistake));
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
        // One of an image that was built before is void.
        let _ = std::fs::remove_file(&public);
        keys::write_public(&public, &key.verifying_key()).expect("a new file");
        let file = image::write(&contents, &about, &key).expect("a good image");
        std::fs::write(self.image(), file).expect("a temporary file");
        contents.units.len()
    }
}

impl Ahead {
    /// Builds the image by `aot-builder`, as its users do, with these options; what it tells.
    ///
    /// # Panics
    /// If it cannot; if LLVM is asked for and is not there, it says which package has it.
    pub fn build_by(&self, options: &[&str]) -> String {
        let run = |command: &mut Command| {
            let output = command.current_dir(self.directory.path()).output().expect("aot-builder");
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(output.status.success(), "{}", said(&output.stderr));
            said(&output.stdout)
        };
        if !self.directory.path().join("own.key").exists() {
            run(Command::new(aot_builder()).args(["keygen", "own"]));
        }
        let build = ["build", "profile", "-o", "image.aot", "--key", "own.key"];
        run(Command::new(aot_builder()).args(build).args(options))
    }

    /// Makes the image of the kernel's file alone, as a user would.
    pub fn survey_kernel(&self, most: &str) {
        self.survey(&[("kernel", &linux_busybox("Image"), Some(most))]);
    }

    /// Makes the image of files alone: a command of `aot-builder`, its file, and how many instructions to take,
    /// if it is not as many as usual.
    pub fn survey(&self, sources: &[(&str, &Path, Option<&str>)]) {
        let (dir, key) = (self.trust(), self.trust().join("own"));
        let run = |command: &mut Command| {
            let status = command.status().expect("aot-builder");
            assert!(status.success(), "{command:?}: {status}");
        };
        run(Command::new(aot_builder()).arg("keygen").arg(&key));
        let mut build = Command::new(aot_builder());
        build.arg("build").arg("-o").arg(self.image()).arg("--key").arg(key.with_extension("key"));
        for (command, source, most) in sources {
            let profile = dir.join(command);
            let mut survey = Command::new(aot_builder());
            survey.arg(command).arg(source).arg("-o").arg(&profile);
            most.iter().for_each(|most| _ = survey.args(["--most", most]));
            run(&mut survey);
            build.arg(profile);
        }
        run(&mut build);
    }
}

/// Far more than a boot takes.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Boots Linux to its shell and powers off there; the metrics, and what was logged. `home` is where the user's data
/// is, and where files of this boot go.
pub fn boot(options: &[&str], home: &Path) -> (Value, String) {
    let (stats, log) = (home.join("stats"), home.join("log"));
    let mut command = Command::new(vm_boot());
    command.args(["run", "--append", "console=ttyS0"]).args(options).arg("--stats-file").arg(&stats);
    command.arg("--kernel").arg(linux_busybox("Image")).arg("--initrd").arg(linux_busybox("initramfs.cpio"));
    command.env("XDG_DATA_HOME", home).env("XDG_RUNTIME_DIR", home);
    command.stderr(File::create(&log).expect("a temporary file"));
    let mut session = Session::start(&mut command);
    session.expect("~ # ", LIMIT);
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");
    let stats = std::fs::read(stats).expect("statistics");
    let log = std::fs::read_to_string(log).expect("a log");
    (serde_json::from_slice(&stats).expect("JSON"), log)
}

/// Sum over the harts.
pub fn sum(stats: &Value, name: &str) -> u64 {
    let harts = stats["harts"].as_array().expect("harts");
    harts.iter().map(|hart| hart[name].as_u64().expect("a count")).sum()
}
