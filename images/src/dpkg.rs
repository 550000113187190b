//! dpkg's database, written as dpkg itself would leave it after unpacking every
//! package and configuring none.
//!
//! The packages are for another architecture, so their scripts cannot run on
//! this host; in the guest, `dpkg --configure -a` goes on from here.
//!
//! ```text
//! var/lib/dpkg/status              a paragraph a package: "install ok unpacked"
//! var/lib/dpkg/info/NAME.list      the paths it holds; also its scripts, md5sums …
//! var/lib/dpkg/triggers/File       path → package that wants to hear of changes
//! var/lib/dpkg/triggers/TRIGGER    packages interested in a named trigger
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::deb822::{self, Paragraph};

/// The database of a system that is being put together in a tree.
pub struct Database {
    directory: PathBuf,
    status: String,
    triggers: Triggers,
}

/// Who wants to hear of what, as dpkg's two kinds of trigger files have it.
#[derive(Default)]
struct Triggers {
    files: String,
    named: BTreeMap<String, String>,
}

impl Database {
    /// An empty database in the system below `tree`.
    pub fn new(tree: &Path) -> Result<Self> {
        let directory = tree.join("var/lib/dpkg");
        for name in ["info", "updates", "triggers", "alternatives", "parts"] {
            make_directory(&directory.join(name))?;
        }
        write(&directory.join("info/format"), "1\n", 0o644)?;
        write(&directory.join("available"), "", 0o644)?;
        Ok(Self { directory, status: String::new(), triggers: Triggers::default() })
    }

    /// Records an unpacked package. `listing` names its paths as `tar -v` printed
    /// them; `scratch` is a directory that does not exist yet.
    pub fn add(&mut self, package: &Path, listing: &str, tree: &Path, scratch: &Path) -> Result<()> {
        command::output(Command::new("dpkg-deb").arg("-e").arg(package).arg(scratch))?;
        let control = fs::read_to_string(scratch.join("control"))?;
        let paragraph = deb822::parse(&control)
            .into_iter()
            .next()
            .with_context(|| format!("expected control fields in {}, found none", package.display()))?;
        let name = info_name(&paragraph)?;
        let info = |kind: &str| self.directory.join("info").join(format!("{name}.{kind}"));
        write(&info("list"), &paths(listing), 0o644)?;
        for entry in fs::read_dir(scratch)? {
            let entry = entry?;
            let kind = entry.file_name().to_string_lossy().into_owned();
            if kind != "control" {
                let mode = entry.metadata()?.permissions().mode() & 0o755;
                fs::copy(entry.path(), info(&kind))?;
                fs::set_permissions(info(&kind), fs::Permissions::from_mode(mode))?;
            }
        }
        let read = |kind: &str| fs::read_to_string(scratch.join(kind)).unwrap_or_default();
        self.triggers.add(&read("triggers"), &name);
        let conffiles = conffiles(&read("conffiles"), tree)?;
        let _ = writeln!(self.status, "{}", unpacked(paragraph, conffiles));
        Ok(())
    }

    /// Writes what concerns all packages.
    pub fn finish(self) -> Result<()> {
        write(&self.directory.join("status"), &self.status, 0o644)?;
        let triggers = self.directory.join("triggers");
        write(&triggers.join("File"), &self.triggers.files, 0o644)?;
        write(&triggers.join("Unincorp"), "", 0o644)?;
        for (trigger, packages) in &self.triggers.named {
            write(&triggers.join(trigger), packages, 0o644)?;
        }
        Ok(())
    }
}

impl Triggers {
    fn add(&mut self, declarations: &str, package: &str) {
        for line in declarations.lines() {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(trigger)) = (words.next(), words.next()) else { continue };
            let wait = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            if trigger.starts_with('/') {
                let _ = writeln!(self.files, "{trigger} {package}{wait}");
            } else {
                let _ = writeln!(self.named.entry(trigger.into()).or_default(), "{package}{wait}");
            }
        }
    }
}

/// A package that may be there for several architectures has its own in the name.
fn info_name(paragraph: &Paragraph) -> Result<String> {
    let field =
        |name| paragraph.get(name).with_context(|| format!("expected a control field {name}, found none"));
    let package = field("Package")?;
    Ok(match paragraph.get("Multi-Arch") {
        Some("same") => format!("{package}:{}", field("Architecture")?),
        _ => package.to_owned(),
    })
}

/// The status paragraph of a package that is unpacked and not configured.
fn unpacked(mut control: Paragraph, conffiles: String) -> Paragraph {
    if !conffiles.is_empty() {
        control.insert_second("Conffiles", conffiles);
    }
    control.insert_second("Status", "install ok unpacked");
    control
}

/// The conffiles with the checksums of what was unpacked, by which dpkg later
/// tells whether the administrator changed one.
fn conffiles(list: &str, tree: &Path) -> Result<String> {
    let mut lines = String::new();
    // A line may start with a flag; such a file is one to remove.
    for path in list.lines().filter(|line| line.starts_with('/')) {
        let file = tree.join(path.trim_start_matches('/'));
        let sum = command::text(Command::new("md5sum").arg(&file))?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        let _ = write!(lines, "\n {path} {sum}");
    }
    Ok(lines)
}

/// `./usr/bin/` of an archive is `/usr/bin` to dpkg, and the root is `/.`.
fn paths(listing: &str) -> String {
    let mut list = String::new();
    for line in listing.lines() {
        let path = line.trim_start_matches('.').trim_end_matches('/');
        let _ = writeln!(list, "{}", if path.is_empty() { "/." } else { path });
    }
    list
}

/// Writes a file of the guest, whatever this user's umask is.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Makes a directory of the guest, with those above it.
pub fn make_directory(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        make_directory(parent)?;
    }
    if !path.exists() {
        fs::create_dir(path).with_context(|| format!("making {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(text: &str) -> Paragraph {
        deb822::parse(text).remove(0)
    }

    #[test]
    fn a_status_paragraph_says_unpacked_and_lists_conffiles() {
        let paragraph = unpacked(control("Package: a\nVersion: 1\n"), "\n /etc/a 01".into());
        let expected = "Package: a\nStatus: install ok unpacked\nConffiles:\n /etc/a 01\nVersion: 1\n";
        assert_eq!(paragraph.to_string(), expected);
    }

    #[test]
    fn a_package_for_several_architectures_has_its_own_in_the_name() {
        let same = control("Package: libc6\nArchitecture: riscv64\nMulti-Arch: same\n");
        let foreign = control("Package: mawk\nArchitecture: riscv64\nMulti-Arch: foreign\n");
        assert_eq!(info_name(&same).unwrap(), "libc6:riscv64");
        assert_eq!(info_name(&foreign).unwrap(), "mawk");
    }

    #[test]
    fn paths_are_absolute_and_the_root_is_a_dot() {
        assert_eq!(paths("./\n./usr/\n./usr/bin/a b\n"), "/.\n/usr\n/usr/bin/a b\n");
    }

    #[test]
    fn triggers_are_parted_into_paths_and_names() {
        let mut triggers = Triggers::default();
        triggers.add("# a comment\ninterest-noawait /usr/lib/a\nactivate-noawait ldconfig\n", "one");
        triggers.add("interest-await ldconfig\n", "two");
        assert_eq!(triggers.files, "/usr/lib/a one/noawait\n");
        assert_eq!(triggers.named.into_iter().collect::<Vec<_>>(), [("ldconfig".into(), "two\n".into())]);
    }

    #[test]
    fn conffiles_carry_the_checksum_of_what_is_there() {
        let tree = tempfile::tempdir().unwrap();
        make_directory(&tree.path().join("etc")).unwrap();
        write(&tree.path().join("etc/a"), "abc", 0o644).unwrap();
        let lines = conffiles("/etc/a\nremove-on-upgrade /etc/old\n", tree.path()).unwrap();
        assert_eq!(lines, "\n /etc/a 900150983cd24fb0d6963f7d28e17f72");
    }
}
