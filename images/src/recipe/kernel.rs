//! Debian's kernel for RISC-V, as every Linux guest boots it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Work;
use crate::apt::{self, Package, Root};
use crate::module::Catalogue;

/// Depends on the package that holds the current kernel.
const META_PACKAGE: &str = "linux-image-riscv64";
const IMAGE_PACKAGE: &str = "linux-image-6";

/// A kernel package, unpacked.
pub struct Kernel {
    /// `6.12.107+deb13-riscv64`, say.
    pub version: String,
    image: PathBuf,
    modules: PathBuf,
}

/// The package that holds the kernel, without what it would pull into a system.
pub fn package(root: &Root) -> Result<Package> {
    let meta = root.show(META_PACKAGE)?;
    let depends = meta.get("Depends").unwrap_or_default();
    let name = depends.split([',', ' ']).find(|name| name.starts_with(IMAGE_PACKAGE)).with_context(|| {
        format!("expected {META_PACKAGE} to depend on {IMAGE_PACKAGE}*, found {depends:?}")
    })?;
    root.exactly(name)
}

impl Kernel {
    /// Unpacks the kernel among the packages of a recipe.
    pub fn unpack(work: &Work) -> Result<Self> {
        let _step = work.progress.waiting("unpacking the kernel");
        let tree = work.scratch.join("kernel");
        apt::unpack(work.file_of(IMAGE_PACKAGE)?, &tree)?;
        let image = only_child(&tree.join("boot"), "vmlinu")?;
        let modules = only_child(&tree.join("usr/lib/modules"), "")?;
        let version = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { version, image, modules })
    }

    /// Copies the kernel to `into/Image`. Debian ships the flat image as it is;
    /// its header says so ("RSC\x05" at 0x38), and nothing else would boot.
    pub fn copy_image(&self, into: &Path) -> Result<()> {
        let image = fs::read(&self.image).with_context(|| format!("reading {}", self.image.display()))?;
        ensure!(
            image.get(0x38..0x3c) == Some(b"RSC\x05"),
            "{}: expected a flat RISC-V kernel image, found another format",
            self.image.display()
        );
        fs::write(into.join("Image"), image)?;
        Ok(())
    }

    /// Makes `directory/VERSION` the place of its modules.
    pub fn move_modules(self, directory: &Path) -> Result<String> {
        fs::create_dir_all(directory)?;
        fs::rename(&self.modules, directory.join(&self.version))
            .with_context(|| format!("moving the modules to {}", directory.display()))?;
        Ok(self.version)
    }

    /// Its modules.
    pub fn modules(&self) -> Result<Catalogue> {
        Catalogue::open(&self.modules)
    }
}

fn only_child(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .with_context(|| format!("expected {prefix}* in {}, found no such file", directory.display()))
}
