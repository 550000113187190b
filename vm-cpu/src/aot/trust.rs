//! Whose images are run: a directory of public keys, and a file that says what limits there are.
//!
//! ```text
//!  keys/
//!    *.pub         each is trusted …
//!    trust.toml    … unless this file says otherwise; it may be absent
//! ```
//! ```toml
//! revoked = ["0f3a…"]                  # ids of keys that are trusted no more
//!
//! [[key]]                              # limits of a key
//! id = "77b1…"
//! not-after = 2027-06-30               # its last day, UTC
//! minimum = 12                         # the oldest version it may have signed, of any guest
//!
//! [minimum]                            # the oldest version by guest
//! debian-13 = 40
//! ```
//! A key is rotated by adding the new one, signing anew, and revoking the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use toml::value::Datetime;

use super::day::Day;
use super::error::ImageError;
use super::header::Header;
use super::keys::{self, KeyError, KeyId};

/// The file beside the keys.
pub const FILE: &str = "trust.toml";
/// What the name of a public key's file ends in.
pub const PUBLIC: &str = "pub";

/// Why nobody can be trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The directory cannot be read.
    #[error("trust {}: cannot be read: {source}", path.display())]
    Host {
        /// What cannot.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A key cannot be read, or files are not safe.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file says nothing that can be understood.
    #[error("trust {}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was expected, and found.
        reason: String,
    },
}

/// Limits of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    not_after: Option<Day>,
    minimum: u64,
}

/// The keys that are trusted, and how far.
#[derive(Clone, Debug)]
pub struct Trust {
    keys: BTreeMap<KeyId, (VerifyingKey, Limits)>,
    revoked: BTreeSet<KeyId>,
    minimum: BTreeMap<String, u64>,
    today: Day,
}

/// What `trust.toml` may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    revoked: Vec<Id>,
    #[serde(default, rename = "key")]
    keys: Vec<KeyRule>,
    #[serde(default)]
    minimum: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeyRule {
    id: Id,
    #[serde(default)]
    not_after: Option<Datetime>,
    #[serde(default)]
    minimum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Id(KeyId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Id).map_err(serde::de::Error::custom)
    }
}

impl Trust {
    /// Reads a directory of keys as of `today`.
    pub fn read(dir: &Path, today: Day) -> Result<Trust, TrustError> {
        keys::open_unchangeable(dir)?;
        let host = |source| TrustError::Host { path: dir.to_owned(), source };
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(host)?;
        let paths = entries.iter().map(fs::DirEntry::path);
        let paths = paths.filter(|path| path.extension().is_some_and(|end| end == PUBLIC));
        let mut trust = Trust::of(paths.map(|path| keys::read_public(&path)).collect::<Result<Vec<_>, _>>()?);
        trust.today = today;
        let path = dir.join(FILE);
        if let Some(rules) = read_rules(&path)? {
            trust.limit(rules).map_err(|reason| TrustError::File { path, reason })?;
        }
        Ok(trust)
    }

    /// Trusts these keys without limits, as of now.
    pub fn of(keys: impl IntoIterator<Item = VerifyingKey>) -> Trust {
        let keys = keys.into_iter().map(|key| (KeyId::of(key.as_bytes()), (key, Limits::default())));
        let (revoked, minimum) = (BTreeSet::new(), BTreeMap::new());
        Trust { keys: keys.collect(), revoked, minimum, today: Day::today() }
    }

    fn limit(&mut self, rules: Rules) -> Result<(), String> {
        for rule in rules.keys {
            let Id(id) = rule.id;
            let not_after = rule.not_after.map(Day::of).transpose()?;
            let (_, limits) = self.keys.get_mut(&id).ok_or_else(|| no_such_key(id))?;
            *limits = Limits { not_after, minimum: rule.minimum };
        }
        self.revoked = rules.revoked.into_iter().map(|Id(id)| id).collect();
        self.minimum = rules.minimum;
        Ok(())
    }

    /// The keys that may sign today.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.keys.keys().copied().filter(|&id| self.standing(id).is_ok())
    }

    /// The key of these bytes, if it may sign today.
    pub(super) fn key(&self, key: &[u8; 32]) -> Result<&VerifyingKey, ImageError> {
        self.standing(KeyId::of(key)).map(|(key, _)| key)
    }

    /// Refuses what a header says, unless its key may sign this version for the guest. That the key has signed it
    /// is another matter.
    pub fn admit(&self, header: &Header) -> Result<(), ImageError> {
        let Header { key, guest, version, .. } = header;
        let (_, limits) = self.standing(KeyId::of(key))?;
        let expected = self.minimum.get(guest).copied().unwrap_or(0).max(limits.minimum);
        match *version >= expected {
            true => Ok(()),
            false => Err(ImageError::Rollback { guest: guest.clone(), expected, found: *version }),
        }
    }

    fn standing(&self, key: KeyId) -> Result<&(VerifyingKey, Limits), ImageError> {
        if self.revoked.contains(&key) {
            return Err(ImageError::Revoked { key });
        }
        let known = self.keys.get(&key).ok_or(ImageError::NotTrusted { key, known: self.keys.len() })?;
        match known.1.not_after {
            Some(until) if until < self.today => {
                Err(ImageError::Expired { key, until: until.to_string(), today: self.today.to_string() })
            }
            _ => Ok(known),
        }
    }
}

fn no_such_key(id: KeyId) -> String {
    format!("expected a key of the directory, found {id}, of which no file there is the public key")
}

fn read_rules(path: &Path) -> Result<Option<Rules>, TrustError> {
    let mut file = match keys::open_unchangeable(path) {
        Err(KeyError::Host { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|source| TrustError::Host { path: path.to_owned(), source })?;
    let wrong =
        |error: toml::de::Error| TrustError::File { path: path.to_owned(), reason: error.to_string() };
    toml::from_str(&text).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ed25519_dalek::SigningKey;
    use tempfile::TempDir;

    use super::*;
    use crate::aot::image::{About, Image, write};
    use crate::aot::sample;

    const TODAY: Day = Day { year: 2026, month: 11, day: 21 };

    /// A directory with the keys of these seeds, and a file of limits if there is any.
    fn dir(seeds: &[u8], rules: &str) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for &seed in seeds {
            let path = dir.path().join(format!("{seed}.pub"));
            keys::write_public(&path, &signer(seed).verifying_key()).unwrap();
        }
        let path = dir.path().join(FILE);
        if !rules.is_empty() {
            fs::write(&path, rules).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        dir
    }

    fn signer(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn id(seed: u8) -> KeyId {
        KeyId::of(signer(seed).verifying_key().as_bytes())
    }

    fn trust(seeds: &[u8], rules: &str) -> Trust {
        Trust::read(dir(seeds, rules).path(), TODAY).unwrap()
    }

    fn refused(trust: &Trust, seed: u8, version: u64) -> Option<ImageError> {
        let about = About { version, ..sample::about() };
        let file = write(&sample::contents(), &about, &signer(seed)).unwrap();
        Image::read(&file, trust, &sample::host()).err()
    }

    #[test]
    fn keys_of_the_directory_are_trusted_and_no_others() {
        let trust = trust(&[1, 2], "");
        assert_eq!(refused(&trust, 1, 0), None);
        assert_eq!(refused(&trust, 2, 0), None);
        assert_eq!(refused(&trust, 3, 0), Some(ImageError::NotTrusted { key: id(3), known: 2 }));
        assert_eq!(trust.keys().count(), 2);
    }

    #[test]
    fn a_key_is_rotated_by_revoking_the_old_one() {
        let trust = trust(&[1, 2], &format!("revoked = [{:?}, {:?}]", id(1).to_string(), id(9).to_string()));
        assert_eq!(refused(&trust, 1, 0), Some(ImageError::Revoked { key: id(1) }));
        assert_eq!(refused(&trust, 2, 0), None);
        assert_eq!(refused(&trust, 9, 0), Some(ImageError::Revoked { key: id(9) }), "its file is gone");
        assert_eq!(trust.keys().collect::<Vec<_>>(), [id(2)]);
    }

    #[test]
    fn a_key_is_good_through_its_last_day() {
        let rule = |day: &str| format!("[[key]]\nid = \"{}\"\nnot-after = {day}", id(1));
        assert_eq!(refused(&trust(&[1], &rule("2026-11-21")), 1, 0), None);
        let expired = refused(&trust(&[1], &rule("2026-11-20")), 1, 0).unwrap().to_string();
        assert!(expired.contains("valid up to 2026-11-20; today is 2026-11-21"), "{expired}");
    }

    #[test]
    fn an_older_version_than_permitted_is_a_rollback() {
        let rules = format!("[[key]]\nid = \"{}\"\nminimum = 3\n[minimum]\nsample = 5\nother = 50", id(1));
        let trust = trust(&[1, 2], &rules);
        let rollback = |found| Some(ImageError::Rollback { guest: "sample".to_owned(), expected: 5, found });
        assert_eq!(refused(&trust, 1, 4), rollback(4));
        assert_eq!(refused(&trust, 2, 0), rollback(0));
        assert_eq!(refused(&trust, 1, 5), None);
        let mut other = trust.clone();
        other.minimum.clear();
        assert_eq!(refused(&other, 2, 2), None);
        assert!(matches!(refused(&other, 1, 2), Some(ImageError::Rollback { expected: 3, found: 2, .. })));
    }

    #[test]
    fn a_file_that_cannot_be_understood_or_relied_on_is_refused() {
        let refused = |rules: &str| Trust::read(dir(&[1], rules).path(), TODAY).unwrap_err().to_string();
        for (rules, expected) in [
            ("trusted = true", "unknown field `trusted`"),
            ("revoked = [\"12\"]", "expected a key's 32 hexadecimal digits, found \"12\""),
            (&format!("[[key]]\nid = \"{}\"", id(2)), "expected a key of the directory"),
            (
                &format!("[[key]]\nid = \"{}\"\nnot-after = 10:00:00", id(1)),
                "expected a day as in 2027-06-30",
            ),
            ("[minimum]\nsample = -1", "invalid value"),
        ] {
            let found = refused(rules);
            assert!(found.contains(expected) && found.contains(FILE), "{rules}: {found}");
        }
        for name in ["", FILE, "1.pub"] {
            let dir = dir(&[1], "[minimum]");
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o775)).unwrap();
            let found = Trust::read(dir.path(), TODAY).unwrap_err().to_string();
            assert!(found.contains("its owner alone may change") && found.contains("chmod go-w"), "{found}");
        }
        let none = Trust::read(Path::new("/nonexistent"), TODAY).unwrap_err().to_string();
        assert!(none.contains("/nonexistent: cannot be read"), "{none}");
    }
}
