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
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use toml::value::Datetime;

use super::error::ImageError;
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

/// A day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
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
        keys::check_unchangeable(dir)?;
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
            let not_after = rule.not_after.map(day_of).transpose()?;
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

    /// Whether a key may have signed this version for a guest.
    pub(super) fn admit(&self, key: &[u8; 32], guest: &str, version: u64) -> Result<(), ImageError> {
        let (_, limits) = self.standing(KeyId::of(key))?;
        let expected = self.minimum.get(guest).copied().unwrap_or(0).max(limits.minimum);
        match version >= expected {
            true => Ok(()),
            false => Err(ImageError::Rollback { guest: guest.to_owned(), expected, found: version }),
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
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| TrustError::Host { path: path.to_owned(), source })?,
    };
    keys::check_unchangeable(path)?;
    let wrong =
        |error: toml::de::Error| TrustError::File { path: path.to_owned(), reason: error.to_string() };
    toml::from_str(&text).map(Some).map_err(wrong)
}

fn day_of(found: Datetime) -> Result<Day, String> {
    match found {
        Datetime { date: Some(date), time: None, offset: None } => {
            Ok(Day { year: date.year, month: date.month, day: date.day })
        }
        other => Err(format!("not-after: expected a day as in 2027-06-30, found {other}")),
    }
}

impl Day {
    /// The host's date.
    pub fn today() -> Day {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Day::after_epoch(since.as_secs() / 86_400)
    }

    /// So many days after 1970-01-01.
    fn after_epoch(mut days: u64) -> Day {
        let leap =
            |year: u16| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let mut year = 1970;
        while days >= 365 + u64::from(leap(year)) && year < u16::MAX {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        // In the last year that a number holds, the last day stands for all that follow.
        Day { year, month, day: days.min(30) as u8 + 1 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}
