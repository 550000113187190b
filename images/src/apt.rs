//! A private apt root: the host's apt, working for another architecture and
//! release, in directories of its own.
//!
//! Invariant: nothing outside the root is written and no privilege is used.
//! What comes from the mirror is believed only if Debian's keyring on this host
//! verifies it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::deb822::{self, Paragraph};
use crate::place::Place;
use crate::progress::Progress;

const KEYRINGS: &str = "/usr/share/keyrings";

/// A part of Debian's archive, and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Debian's name of the architecture, `riscv64` or `amd64`.
    pub architecture: String,
    /// Releases to take packages from; apt prefers the last one named.
    pub suites: Vec<String>,
}

/// One version of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name, without the architecture.
    pub name: String,
    /// Its version, epoch included.
    pub version: String,
    /// Its architecture, which may be `all`.
    pub architecture: String,
}

/// A private root for one [`Archive`].
pub struct Root {
    archive: Archive,
    config: PathBuf,
    packages: PathBuf,
}

impl Archive {
    /// Debian 13 for RISC-V, which every guest is made of.
    pub fn guest() -> Self {
        Self { architecture: "riscv64".into(), suites: vec!["trixie".into()] }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.suites.join("-"), self.architecture)
    }
}

impl Package {
    /// The name apt gives the file. The colon of an epoch cannot stand in it.
    fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

impl Root {
    /// Lays out the root in the cache and brings its package lists up to date.
    /// Lists that are there serve when the mirror cannot be reached.
    pub fn open(place: &Place, archive: Archive, mirror: &str, progress: &Progress) -> Result<Self> {
        let directory = place.cache(&format!("apt/{}", archive.name()))?;
        let packages = place.cache("packages")?;
        for name in ["etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(name))?;
        }
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join("sources.list"), sources(&archive, mirror, &keyrings()?))?;
        let config = directory.join("apt.conf");
        fs::write(&config, configuration(&archive, &directory, &host_transport()?))?;
        let root = Self { archive, config, packages };
        root.update(&directory, progress)?;
        Ok(root)
    }

    fn update(&self, directory: &Path, progress: &Progress) -> Result<()> {
        let _step = progress.waiting("reading the package lists");
        // Unless told otherwise, apt takes a mirror it cannot reach for a success.
        let strict = ["-qq", "-o", "APT::Update::Error-Mode=any", "update"];
        let updated = command::output(self.apt("apt-get").args(strict));
        let known = fs::read_dir(directory.join("lists"))?
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().ends_with("_Packages"));
        match updated {
            Err(error) if !known => Err(error).context("reading Debian's package lists from the mirror"),
            Err(error) => {
                progress.say(&format!("going on with the package lists from before: {error}"));
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// What the archive says about a package.
    pub fn show(&self, package: &str) -> Result<Paragraph> {
        let text = command::text(self.apt("apt-cache").args(["--no-all-versions", "show", package]))?;
        deb822::parse(&text).into_iter().next().with_context(|| {
            format!("expected a package {package} in Debian {}, found none", self.archive.name())
        })
    }

    /// The package itself, as the archive has it now.
    pub fn exactly(&self, package: &str) -> Result<Package> {
        let paragraph = self.show(package)?;
        let field = |name| {
            paragraph
                .get(name)
                .map(str::to_owned)
                .with_context(|| format!("expected a field {name} about {package}, found none"))
        };
        Ok(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
        })
    }

    /// The packages and all they depend on, as apt would install them into an
    /// empty system; `selections` are names or apt patterns.
    pub fn with_dependencies(&self, selections: &[&str]) -> Result<Vec<Package>> {
        let plan = command::text(
            self.apt("apt-get")
                .args(["-qq", "--simulate", "--no-install-recommends", "install"])
                .args(selections),
        )?;
        let packages: Vec<_> = plan.lines().filter_map(planned).collect();
        ensure!(
            !packages.is_empty(),
            "expected apt to plan an installation of {selections:?}, found\n{plan}"
        );
        Ok(packages)
    }

    /// Brings the packages into the cache; gives the files in the order of `packages`.
    pub fn download(&self, packages: &[Package], progress: &Progress) -> Result<Vec<PathBuf>> {
        let files: Vec<_> = packages.iter().map(|package| self.packages.join(package.file_name())).collect();
        let absent: Vec<_> = packages
            .iter()
            .zip(&files)
            .filter(|(_, file)| !file.exists())
            .map(|(package, _)| package)
            .collect();
        if !absent.is_empty() {
            self.fetch(&absent, progress)?;
        }
        for file in &files {
            ensure!(file.exists(), "expected apt to download {}, found no such file", file.display());
        }
        Ok(files)
    }

    /// apt writes into a scratch directory and only what it verified moves on,
    /// so a file in the cache is always whole.
    fn fetch(&self, packages: &[&Package], progress: &Progress) -> Result<()> {
        let what = format!("downloading packages ({})", packages.len());
        let step = progress.percent(&what);
        let scratch = tempfile::tempdir_in(&self.packages)?;
        let wanted = packages.iter().map(|p| format!("{}:{}={}", p.name, p.architecture, p.version));
        command::lines(
            self.apt("apt-get")
                .args(["-q", "-o", "APT::Status-Fd=1", "download"])
                .args(wanted)
                .current_dir(scratch.path()),
            |line| {
                if let Some(percent) = downloaded(line) {
                    step.at(percent);
                }
            },
        )?;
        for entry in fs::read_dir(scratch.path())? {
            let entry = entry?;
            fs::rename(entry.path(), self.packages.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config).env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Unpacks a package's files below `into`.
pub fn unpack(package: &Path, into: &Path) -> Result<()> {
    command::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(into)).map(drop)
}

/// `Inst name (version archive [architecture])`, a line of a simulated installation.
fn planned(line: &str) -> Option<Package> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
    let (version, _) = rest.split_once(' ')?;
    let (_, architecture) = rest.split_once('[')?;
    let name = name.split([' ', ':']).next()?;
    let architecture = architecture.split(']').next()?;
    Some(Package { name: name.into(), version: version.into(), architecture: architecture.into() })
}

/// `dlstatus:part:percent:message`, a line of apt's machine-readable progress.
fn downloaded(line: &str) -> Option<u64> {
    let percent = line.strip_prefix("dlstatus:")?.split(':').nth(1)?;
    percent.split('.').next()?.parse().ok()
}

/// The whole archive keyring if the host has it, or else the keys of each release.
fn keyrings() -> Result<String> {
    let keyring = format!("{KEYRINGS}/debian-archive-keyring");
    let found =
        ["gpg", "pgp"].iter().map(|kind| format!("{keyring}.{kind}")).find(|path| Path::new(path).exists());
    if let Some(whole) = found {
        return Ok(whole);
    }
    let mut releases: Vec<_> = fs::read_dir(KEYRINGS)
        .with_context(|| format!("reading {KEYRINGS}"))?
        .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
        .filter(|path| path.contains("debian-archive-trixie") || path.contains("debian-archive-bookworm"))
        .collect();
    releases.sort();
    ensure!(
        !releases.is_empty(),
        "expected Debian's keys in {KEYRINGS}, found none: install debian-archive-keyring"
    );
    Ok(releases.join(","))
}

fn sources(archive: &Archive, mirror: &str, keyrings: &str) -> String {
    let line = |suite| format!("deb [signed-by={keyrings}] {mirror} {suite} main\n");
    archive.suites.iter().map(line).collect()
}

/// How the host reaches the network (proxies, retries): the part of its apt
/// configuration that the private root shares.
fn host_transport() -> Result<String> {
    let all = command::text(Command::new("apt-config").arg("dump").env_remove("APT_CONFIG"))?;
    let shared = ["Acquire::http", "Acquire::https", "Acquire::Retries"];
    let is_shared = |line: &&str| shared.iter().any(|key| line.starts_with(key));
    Ok(all.lines().filter(is_shared).map(|line| format!("{line}\n")).collect())
}

/// `Dir::Etc` points at an empty directory, so that none of the host's
/// preferences or hooks takes part. The sandbox user is for apt run as root, and
/// could not enter a home directory.
fn configuration(archive: &Archive, directory: &Path, transport: &str) -> String {
    let directory = directory.display();
    let architecture = &archive.architecture;
    let release = archive.suites.last().map(String::as_str).unwrap_or_default();
    format!(
        "{transport}\
         Dir \"{directory}\";\n\
         Dir::Etc \"etc\";\n\
         Dir::Etc::sourcelist \"{directory}/sources.list\";\n\
         Dir::State \"{directory}\";\n\
         Dir::State::lists \"lists\";\n\
         Dir::State::status \"{directory}/status\";\n\
         Dir::Cache \"{directory}/cache\";\n\
         APT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Default-Release \"{release}\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planned_installation_gives_the_packages() {
        let plan = "Inst busybox-static (1:1.37.0-6+b9 Debian:13.7/stable [riscv64])\n\
                    Inst tzdata (2025b-4 Debian:13.7/stable [all]) []\n\
                    Conf busybox-static (1:1.37.0-6+b9 Debian:13.7/stable [riscv64])";
        let found: Vec<_> = plan.lines().filter_map(planned).map(|package| package.file_name()).collect();
        assert_eq!(found, ["busybox-static_1%3a1.37.0-6+b9_riscv64.deb", "tzdata_2025b-4_all.deb"]);
    }

    #[test]
    fn progress_is_read_from_the_status_lines() {
        assert_eq!(downloaded("dlstatus:2:37.5312:Retrieving file 2 of 9 (4s remaining)"), Some(37));
        assert_eq!(downloaded("Get:1 somewhere"), None);
    }

    #[test]
    fn sources_are_signed_and_one_to_a_suite() {
        let archive = Archive { architecture: "amd64".into(), suites: vec!["a".into(), "b".into()] };
        assert_eq!(
            sources(&archive, "http://mirror.invalid/debian", "/k.gpg"),
            "deb [signed-by=/k.gpg] http://mirror.invalid/debian a main\n\
             deb [signed-by=/k.gpg] http://mirror.invalid/debian b main\n"
        );
    }
}
