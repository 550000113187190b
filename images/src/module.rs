//! The kernel's modules: which a guest needs for the drivers it asks for, and
//! the two tables `modprobe` finds them by.
//!
//! Debian's package ships the modules without those tables (its installation
//! script makes them), so they are made here, from what each module says about
//! itself in its `.modinfo` section.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use crate::command;

/// A module, unpacked, with what it says about itself.
pub struct Module {
    /// `kernel/fs/ext4/ext4.ko`, below the directory of the kernel's version.
    pub path: String,
    /// The ELF file.
    pub elf: Vec<u8>,
    info: Info,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Info {
    name: String,
    depends: Vec<String>,
    /// Modules or aliases to load first if they are to be had.
    before: Vec<String>,
    aliases: Vec<String>,
}

/// All modules of a kernel, by name, not yet read.
pub struct Catalogue {
    directory: PathBuf,
    paths: HashMap<String, String>,
}

impl Catalogue {
    /// The modules in `directory`, which is `…/lib/modules/VERSION`.
    pub fn open(directory: &Path) -> Result<Self> {
        let mut paths = HashMap::new();
        let list = directory.join("modules.order");
        let order = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        for path in order.lines() {
            paths.insert(name_of(path), path.to_owned());
        }
        Ok(Self { directory: directory.into(), paths })
    }

    /// The modules with these names and all they depend on, each after those it needs.
    pub fn with_dependencies(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            self.gather(name, &mut seen, &mut found)?;
        }
        Ok(found)
    }

    fn gather(&self, name: &str, seen: &mut HashSet<String>, found: &mut Vec<Module>) -> Result<()> {
        if !seen.insert(name_of(name)) {
            return Ok(());
        }
        let module = self.read(name)?;
        for dependency in &module.info.depends {
            self.gather(dependency, seen, found)?;
        }
        found.push(module);
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Module> {
        let Some(path) = self.paths.get(&name_of(name)) else {
            bail!("expected a module {name} in {}, found none", self.directory.display());
        };
        let file = self.directory.join(path);
        let elf = if file.exists() {
            fs::read(&file).with_context(|| format!("reading {}", file.display()))?
        } else {
            command::output(Command::new("xz").arg("-dc").arg(self.directory.join(format!("{path}.xz"))))?
        };
        let info = Info::of_elf(&elf).with_context(|| format!("reading the module {path}"))?;
        Ok(Module { path: path.clone(), elf, info })
    }
}

impl Info {
    fn of_elf(elf: &[u8]) -> Result<Self> {
        let file = object::File::parse(elf)?;
        let section = file.section_by_name(".modinfo").context("expected a .modinfo section, found none")?;
        Ok(Self::parse(section.data()?))
    }

    /// The section is `key=value` strings, each ended by zero bytes.
    fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for entry in section.split(|&byte| byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            let Some((key, value)) = entry.split_once('=') else { continue };
            match key {
                "name" => info.name = name_of(value),
                "alias" => info.aliases.push(value.into()),
                "depends" => {
                    info.depends = value.split(',').filter(|name| !name.is_empty()).map(name_of).collect();
                }
                "softdep" => info.before.extend(before(value)),
                _ => {}
            }
        }
        info
    }
}

/// `pre: a b post: c` names a and b.
fn before(softdep: &str) -> Vec<String> {
    let mut words = softdep.split_whitespace();
    if words.next() != Some("pre:") {
        return Vec::new();
    }
    words.take_while(|word| *word != "post:").map(str::to_owned).collect()
}

/// A module goes by the name of its file, with `-` and `_` the same.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// The text of `modules.dep`. What a module should load first (its soft
/// dependencies) counts as a need here, because busybox knows no other kind.
pub fn dependency_table(modules: &[Module]) -> String {
    let mut table = String::new();
    for module in modules {
        let mut needs = Vec::new();
        let mut seen = HashSet::from([module.path.as_str()]);
        collect_needs(module, modules, &mut seen, &mut needs);
        // The reader loads from the last to the first.
        let needs: String = needs.iter().rev().fold(String::new(), |list, need| list + " " + &need.path);
        let _ = writeln!(table, "{}:{needs}", module.path);
    }
    table
}

fn collect_needs<'a>(
    module: &'a Module,
    all: &'a [Module],
    seen: &mut HashSet<&'a str>,
    needs: &mut Vec<&'a Module>,
) {
    for wanted in module.info.before.iter().chain(&module.info.depends) {
        for need in all.iter().filter(|other| other.info.answers(wanted)) {
            if seen.insert(&need.path) {
                collect_needs(need, all, seen, needs);
                needs.push(need);
            }
        }
    }
}

impl Info {
    fn answers(&self, wanted: &str) -> bool {
        self.name == name_of(wanted) || self.aliases.iter().any(|alias| alias == wanted)
    }
}

/// The text of `modules.alias`.
pub fn alias_table(modules: &[Module]) -> String {
    let mut table = String::new();
    for module in modules {
        for alias in &module.info.aliases {
            let _ = writeln!(table, "alias {alias} {}", module.info.name);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str], before: &[&str], aliases: &[&str]) -> Module {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let info = Info {
            name: name_of(path),
            depends: owned(depends),
            before: owned(before),
            aliases: owned(aliases),
        };
        Module { path: path.into(), elf: Vec::new(), info }
    }

    #[test]
    fn the_section_is_read_field_by_field() {
        let section = b"softdep=pre: crypto-crc32c post: late\0license=GPL\0alias=fs-ext4\0alias=ext2\0\
                        depends=jbd2,virtio-ring\0name=ext4\0\0";
        let expected = module("ext4.ko", &["jbd2", "virtio_ring"], &["crypto-crc32c"], &["fs-ext4", "ext2"]);
        assert_eq!(Info::parse(section), expected.info);
    }

    #[test]
    fn a_module_without_dependencies_has_none() {
        assert_eq!(Info::parse(b"depends=\0name=a\0").depends, Vec::<String>::new());
    }

    #[test]
    fn names_come_from_files_whatever_their_packing() {
        assert_eq!(name_of("kernel/drivers/char/hw_random/virtio-rng.ko.xz"), "virtio_rng");
        assert_eq!(name_of("virtio_rng"), "virtio_rng");
    }

    #[test]
    fn needs_are_listed_deepest_last_with_soft_ones() {
        let modules = [
            module("k/crc16.ko", &[], &[], &[]),
            module("k/jbd2.ko", &["crc16"], &[], &[]),
            module("k/crc32c_generic.ko", &[], &[], &["crypto-crc32c"]),
            module("k/ext4.ko", &["jbd2", "crc16"], &["crypto-crc32c"], &[]),
        ];
        let table = dependency_table(&modules);
        assert_eq!(table.lines().last(), Some("k/ext4.ko: k/jbd2.ko k/crc16.ko k/crc32c_generic.ko"));
        assert_eq!(table.lines().next(), Some("k/crc16.ko:"));
    }

    #[test]
    fn modules_that_need_each_other_do_not_loop() {
        let modules = [module("a.ko", &["b"], &[], &[]), module("b.ko", &["a"], &[], &[])];
        assert_eq!(dependency_table(&modules), "a.ko: b.ko\nb.ko: a.ko\n");
    }

    #[test]
    fn aliases_name_their_module() {
        let modules = [module("virtio-rng.ko", &[], &[], &["virtio:d00000004v*"])];
        assert_eq!(alias_table(&modules), "alias virtio:d00000004v* virtio_rng\n");
    }

    #[test]
    fn an_unknown_module_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("modules.order"), "kernel/a.ko\n").unwrap();
        let catalogue = Catalogue::open(directory.path()).unwrap();
        let error = catalogue.with_dependencies(&["absent"]).err().unwrap().to_string();
        assert!(error.contains("module absent"), "{error}");
    }
}
