//! What a recipe is, and how one is carried out: only if its output is absent or
//! was made from other inputs.

mod busybox;
mod debian;
mod firmware;
mod initramfs;
mod kernel;
mod qemu;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::apt::{Archive, Package, Root};
use crate::host;
use crate::manifest::{Inputs, Manifest};
use crate::place::Place;
use crate::progress::Progress;
use crate::sources;
use crate::vmm::Vmm;

/// A way to make one output from Debian's packages.
pub trait Recipe {
    /// The name of the recipe and of its output directory.
    fn name(&self) -> &'static str;
    /// One line on what it makes.
    fn about(&self) -> &'static str;
    /// All that decides what comes out, apart from the packages: scripts, and the
    /// sources of the recipe itself.
    fn inputs(&self) -> Inputs;
    /// Where the packages come from.
    fn archive(&self) -> Result<Archive> {
        Ok(Archive::guest())
    }
    /// The packages, at the versions the archive has now.
    fn packages(&self, root: &Root) -> Result<Vec<Package>>;
    /// Whether a guest is run to make the output.
    fn runs_a_guest(&self) -> bool {
        false
    }
    /// Makes the files of the output.
    fn build(&self, work: &Work) -> Result<()>;
}

/// What a recipe works with.
pub struct Work<'a> {
    /// The packages.
    pub packages: &'a [Package],
    /// Their files, in the same order.
    pub files: &'a [PathBuf],
    /// Where the output goes.
    pub into: &'a Path,
    /// For files that are needed on the way.
    pub scratch: &'a Path,
    /// What the user sees.
    pub progress: &'a Progress,
    /// The mirror the packages came from.
    pub mirror: &'a str,
    /// Runs a guest, if the recipe needs one.
    pub vmm: &'a Vmm,
    /// Where the console of that guest is kept.
    pub log: &'a Path,
}

impl Work<'_> {
    /// The file of the package whose name starts with `prefix`.
    pub fn file_of(&self, prefix: &str) -> Result<&Path> {
        let mut both = self.packages.iter().zip(self.files);
        let found = both.find(|(package, _)| package.name.starts_with(prefix));
        found
            .map(|(_, file)| file.as_path())
            .with_context(|| format!("expected a package {prefix}* among those of the recipe, found none"))
    }
}

/// What the user asked for besides the recipe.
pub struct Wishes {
    /// Look whether Debian has newer packages, even if the output is there.
    pub update: bool,
    /// The mirror to use instead of the host's.
    pub mirror: Option<String>,
    /// Runs the guests of recipes that need one.
    pub with: With,
}

/// The choice of VMM for recipes that run a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// Our own, built beside this program.
    VmBoot,
    /// QEMU, from the recipe of that name.
    Qemu,
}

/// Every recipe there is.
pub fn all() -> Vec<Box<dyn Recipe>> {
    vec![
        Box::new(busybox::Busybox),
        Box::new(debian::Debian),
        Box::new(firmware::Firmware),
        Box::new(qemu::Qemu),
    ]
}

/// The state of an output, in a word.
pub fn state(recipe: &dyn Recipe, place: &Place) -> &'static str {
    let directory = place.output(recipe.name());
    match Manifest::read(&directory) {
        None => "absent",
        Some(manifest) if manifest.inputs != recipe.inputs().digest() => "outdated",
        Some(manifest) if !manifest.complete(&directory) => "damaged",
        Some(_) => "ready",
    }
}

/// Makes the output of a recipe unless it is there already.
pub fn make(recipe: &dyn Recipe, place: &Place, wishes: &Wishes) -> Result<()> {
    let progress = Progress::new(recipe.name());
    let ready = state(recipe, place) == "ready";
    let done = || progress.say(&format!("ready in {}", place.output(recipe.name()).display()));
    if ready && !wishes.update {
        done();
        return Ok(());
    }
    let vmm = vmm(recipe, place, wishes)?;
    let _lock = place.lock()?;
    let mirror = match &wishes.mirror {
        Some(mirror) => mirror.clone(),
        None => sources::mirror(Path::new("/etc/apt"), &host::codename()?)?,
    };
    let root = Root::open(place, recipe.archive()?, &mirror, &progress)?;
    let packages = recipe.packages(&root)?;
    let same = |manifest: Manifest| manifest.packages == packages;
    if ready && Manifest::read(&place.output(recipe.name())).is_some_and(same) {
        progress.say("Debian has nothing newer");
        return Ok(());
    }
    let files = root.download(&packages, &progress)?;
    let (into, scratch) = (place.scratch()?, place.scratch()?);
    recipe.build(&Work {
        packages: &packages,
        files: &files,
        into: into.path(),
        scratch: scratch.path(),
        progress: &progress,
        mirror: &mirror,
        vmm: &vmm,
        log: &place.cache("")?.join("console.log"),
    })?;
    Manifest::record(into.path(), recipe.inputs().digest(), packages)?;
    place.publish(into, recipe.name())?;
    done();
    Ok(())
}

/// The VMM that was asked for; QEMU is made first if it is needed and absent.
fn vmm(recipe: &dyn Recipe, place: &Place, wishes: &Wishes) -> Result<Vmm> {
    if wishes.with == With::Qemu {
        if recipe.runs_a_guest() {
            make(&qemu::Qemu, place, wishes)?;
        }
        return Ok(Vmm::Qemu(place.output(qemu::Qemu.name()).join(qemu::PROGRAM)));
    }
    let program = std::env::current_exe()?.with_file_name("vm-boot");
    ensure!(
        program.exists() || !recipe.runs_a_guest(),
        "expected our VMM at {}, found no such file: build it with `cargo build --release -p vm-boot`",
        program.display()
    );
    Ok(Vmm::VmBoot(program))
}
