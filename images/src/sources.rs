//! Finds the Debian mirror this host already uses, in its own apt sources.
//!
//! Invariant: no mirror is named in this tree. Where guest packages come from
//! is the host's choice; that they are Debian's is checked by signature.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::deb822;

/// One archive of the host's apt sources, of binary packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// The URI of the host's Debian mirror: the archive that carries the host's own
/// release (`codename`), or else any Debian release by its general name.
pub fn mirror(apt_directory: &Path, codename: &str) -> Result<String> {
    let sources = read(apt_directory)?;
    choose(&sources, codename).map(str::to_owned).with_context(|| {
        format!(
            "expected a Debian archive of suite {codename} among the apt sources in {}, found none: \
             name one with --mirror URI",
            apt_directory.display()
        )
    })
}

/// A host may name its release by codename or in general; and archives that are
/// not Debian's use the same general names, so one that says "debian" goes first.
fn choose<'a>(sources: &'a [Source], codename: &str) -> Option<&'a str> {
    let suites = [codename, "stable", "oldstable", "testing", "bookworm", "trixie"];
    let rank = |source: &Source| suites.iter().position(|suite| *suite == source.suite);
    sources
        .iter()
        .filter(|source| source.components.iter().any(|component| component == "main"))
        .filter_map(|source| Some((rank(source)?, !source.uri.contains("debian"), source)))
        .min_by_key(|(rank, foreign, _)| (*foreign, *rank))
        .map(|(_, _, source)| source.uri.as_str())
}

fn read(apt_directory: &Path) -> Result<Vec<Source>> {
    let mut files = vec![apt_directory.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt_directory.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        files.append(&mut more);
    }
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => parse_deb822,
            Some("list") => parse_one_line,
            _ => continue,
        };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        sources.extend(parse(&text));
    }
    Ok(sources)
}

/// The format of `*.list`: `deb [option=value …] URI suite component …`.
fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(source_of_line).collect()
}

fn source_of_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let mut rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    if rest.starts_with('[') {
        rest = rest.split_once(']')?.1;
    }
    let mut words = rest.split_whitespace();
    let uri = words.next()?;
    let suite = words.next()?;
    usable(uri).then(|| source(uri, suite, words))
}

/// The format of `*.sources`: one paragraph names many URIs, suites and components.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for paragraph in deb822::parse(text) {
        let words = |field| paragraph.get(field).unwrap_or_default().split_whitespace();
        let off = words("Enabled").any(|word| ["no", "false", "0"].contains(&word));
        if off || !words("Types").any(|kind| kind == "deb") {
            continue;
        }
        for uri in words("URIs").filter(|uri| usable(uri)) {
            sources.extend(words("Suites").map(|suite| source(uri, suite, words("Components"))));
        }
    }
    sources
}

/// Discs cannot be asked for packages of another architecture.
fn usable(uri: &str) -> bool {
    !uri.starts_with("cdrom:")
}

fn source<'a>(uri: &str, suite: &str, components: impl Iterator<Item = &'a str>) -> Source {
    Source {
        uri: uri.trim_end_matches('/').into(),
        suite: suite.into(),
        components: components.map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_LINE: &str = "\
# deb http://commented.invalid/debian bookworm main
deb cdrom:[Debian 12]/ bookworm main
deb-src http://source.invalid/debian bookworm main
deb http://security.invalid/debian-security bookworm-security main
deb [arch=amd64 signed-by=/a.gpg] http://mirror.invalid/debian/ bookworm main contrib # the mirror
";

    const DEB822: &str = "\
Types: deb deb-src
URIs: http://security.invalid/debian-security
Suites: bookworm-security
Components: main

Types: deb
# a comment inside
URIs: http://mirror.invalid/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.invalid/debian
Suites: bookworm
Components: main
";

    #[test]
    fn the_one_line_format_gives_the_mirror() {
        assert_eq!(choose(&parse_one_line(ONE_LINE), "bookworm"), Some("http://mirror.invalid/debian"));
    }

    #[test]
    fn one_line_sources_leave_out_discs_comments_and_source_packages() {
        assert_eq!(parse_one_line(ONE_LINE).len(), 2);
    }

    #[test]
    fn the_deb822_format_gives_the_mirror() {
        assert_eq!(choose(&parse_deb822(DEB822), "bookworm"), Some("http://mirror.invalid/debian"));
    }

    #[test]
    fn deb822_sources_leave_out_what_is_switched_off() {
        assert!(parse_deb822(DEB822).iter().all(|source| source.uri != "http://off.invalid/debian"));
        assert_eq!(parse_deb822(DEB822).len(), 3);
    }

    #[test]
    fn a_release_by_its_general_name_serves_when_the_codename_is_absent() {
        let sources = parse_one_line("deb http://mirror.invalid/debian stable main\n");
        assert_eq!(choose(&sources, "trixie"), Some("http://mirror.invalid/debian"));
    }

    #[test]
    fn an_archive_that_only_shares_the_general_name_comes_last() {
        let sources = parse_one_line(
            "deb http://browser.invalid/linux stable main\ndeb http://mirror.invalid/debian stable main\n",
        );
        assert_eq!(choose(&sources, "trixie"), Some("http://mirror.invalid/debian"));
    }

    #[test]
    fn archives_of_others_are_never_the_mirror() {
        let sources = parse_one_line(
            "deb http://other.invalid/apt cloud-sdk main\ndeb http://x.invalid bookworm stable\n",
        );
        assert_eq!(choose(&sources, "bookworm"), None);
    }

    #[test]
    fn a_directory_without_sources_is_an_error_that_says_what_to_do() {
        let empty = tempfile::tempdir().unwrap();
        let error = mirror(empty.path(), "bookworm").unwrap_err().to_string();
        assert!(error.contains("--mirror"), "{error}");
    }
}
