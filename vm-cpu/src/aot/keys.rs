//! Keys that sign images, and the files they are in.
//!
//! ```text
//!  NAME.key   vm-boot-aot-secret-key 64 hexadecimal digits     0600: for its owner alone
//!  NAME.pub   vm-boot-aot-public-key 64 hexadecimal digits     what others trust
//! ```

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{SigningKey, VerifyingKey};
use rustix::rand::{GetRandomFlags, getrandom};
use thiserror::Error;

const SECRET: &str = "vm-boot-aot-secret-key";
const PUBLIC: &str = "vm-boot-aot-public-key";
/// No key file is nearly as long.
const LONGEST: u64 = 4096;

/// What people call a key by: the front of its BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

/// Why a key cannot be had.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The host does not give it, or takes it.
    #[error("key {}: cannot be {action}: {source}", path.display())]
    Host {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A secret that is none.
    #[error("key {0}: expected a secret key for its owner alone, found mode {mode:04o}: others may know it; if none does, chmod 600 {0}", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file that others may change.
    #[error("{0}: expected a file or directory that its owner alone may change, found mode {mode:04o}: chmod go-w {0}", path.display())]
    Changeable {
        /// Which file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Something else.
    #[error("key {}: expected \"{expected}\" and 64 hexadecimal digits, found something else", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// How it should begin.
        expected: &'static str,
    },
    /// Some 32 bytes that are no key, or one for which signatures prove nothing.
    #[error("key {}: expected an Ed25519 key, found a point that is none, or a weak one", path.display())]
    Weak {
        /// Which file.
        path: PathBuf,
    },
    /// The host has no random numbers.
    #[error("no random numbers for a key: {0}")]
    Random(io::Error),
}

impl KeyId {
    /// The name of a public key.
    pub fn of(key: &[u8; 32]) -> KeyId {
        let digest = blake3::hash(key);
        KeyId(std::array::from_fn(|at| digest.as_bytes()[at]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyId, String> {
        from_hex(text)
            .map(KeyId)
            .ok_or_else(|| format!("expected a key's 32 hexadecimal digits, found {text:?}"))
    }
}

/// A key that nobody has.
pub fn generate() -> Result<SigningKey, KeyError> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        match getrandom(&mut seed[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(KeyError::Random(error.into())),
        }
    }
    Ok(SigningKey::from_bytes(&seed))
}

/// Writes a secret key to a file that is not there yet.
pub fn write_secret(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    write(path, 0o600, SECRET, key.as_bytes())
}

/// Writes a public key to a file that is not there yet.
pub fn write_public(path: &Path, key: &VerifyingKey) -> Result<(), KeyError> {
    write(path, 0o644, PUBLIC, key.as_bytes())
}

fn write(path: &Path, mode: u32, kind: &str, key: &[u8; 32]) -> Result<(), KeyError> {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = open.and_then(|mut file| {
        writeln!(file, "{kind} {digits}")?;
        file.sync_all()
    });
    written.map_err(host("written", path))
}

/// Reads a secret key, if nobody else can.
pub fn read_secret(path: &Path) -> Result<SigningKey, KeyError> {
    let (file, mode) = open(path)?;
    match mode & 0o077 {
        0 => Ok(SigningKey::from_bytes(&key_in(file, path, SECRET)?)),
        _ => Err(KeyError::Exposed { path: path.to_owned(), mode }),
    }
}

/// Reads a public key, if nobody else can change it.
pub fn read_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    let key = key_in(open_unchangeable(path)?, path, PUBLIC)?;
    let key = VerifyingKey::from_bytes(&key).ok().filter(|key| !key.is_weak());
    key.ok_or_else(|| KeyError::Weak { path: path.to_owned() })
}

/// The user's own key in a directory, which is made on first use.
pub fn own(dir: &Path) -> Result<SigningKey, KeyError> {
    let (secret, public) = (dir.join("own.key"), dir.join("own.pub"));
    if !secret.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(host("made", dir))?;
        let key = generate()?;
        write_public(&public, &key.verifying_key())?;
        write_secret(&secret, &key)?;
    }
    read_secret(&secret)
}

fn key_in(file: File, path: &Path, kind: &'static str) -> Result<[u8; 32], KeyError> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(host("read", path))?;
    let text = str::from_utf8(&bytes).ok();
    let digits = text.and_then(|text| text.trim_end().strip_prefix(kind)?.strip_prefix(' '));
    let foreign = || KeyError::Foreign { path: path.to_owned(), expected: kind };
    digits.and_then(from_hex).ok_or_else(foreign)
}

/// Opens a file or a directory that nobody but its owner can change.
pub(super) fn open_unchangeable(path: &Path) -> Result<File, KeyError> {
    let (file, mode) = open(path)?;
    match mode & 0o022 {
        0 => Ok(file),
        _ => Err(KeyError::Changeable { path: path.to_owned(), mode }),
    }
}

/// The file, and the permissions of this file, whatever becomes of its name.
fn open(path: &Path) -> Result<(File, u32), KeyError> {
    let file = File::open(path).map_err(host("read", path))?;
    let mode = file.metadata().map_err(host("read", path))?.permissions().mode() & 0o7777;
    Ok((file, mode))
}

fn host(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Host { action, path: path.to_owned(), source }
}

/// `BYTES` bytes of twice as many lower-case digits.
fn from_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digit = |at: usize| match text.as_bytes()[at] {
        byte @ b'0'..=b'9' => Some(byte - b'0'),
        byte @ b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * BYTES {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(2 * at)? << 4 | digit(2 * at + 1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keys_come_out_as_they_went_in_and_replace_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, public) = (dir.path().join("a.key"), dir.path().join("a.pub"));
        let key = generate().unwrap();
        write_secret(&secret, &key).unwrap();
        write_public(&public, &key.verifying_key()).unwrap();
        assert_eq!(read_secret(&secret).unwrap(), key);
        assert_eq!(read_public(&public).unwrap(), key.verifying_key());
        assert_ne!(generate().unwrap(), key);
        assert!(write_secret(&secret, &key).unwrap_err().to_string().contains("cannot be written"));
        assert!(matches!(read_secret(&public), Err(KeyError::Exposed { .. })));
        assert!(matches!(read_public(&secret), Err(KeyError::Foreign { expected: PUBLIC, .. })));
        let id = KeyId::of(key.verifying_key().as_bytes());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_secret(&path, &generate().unwrap()).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            chmod(&path, mode);
            let message = read_secret(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("mode {mode:04o}")), "{message}");
            assert!(message.contains("chmod 600"), "{message}");
        }
        chmod(&path, 0o400);
        read_secret(&path).unwrap();
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pub");
        let good = format!("{PUBLIC} {}", "0".repeat(64));
        for text in ["", PUBLIC, &good[..good.len() - 1], &good.replace('0', "G"), &"x".repeat(5000)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read_public(&path), Err(KeyError::Foreign { .. })), "{text}");
        }
        // The neutral element, and a number that is on no curve.
        for bytes in [format!("01{}", "0".repeat(62)), format!("02{}", "0".repeat(62))] {
            fs::write(&path, format!("{PUBLIC} {bytes}\n")).unwrap();
            assert!(matches!(read_public(&path), Err(KeyError::Weak { .. })), "{bytes}");
        }
        chmod(&path, 0o666);
        assert!(read_public(&path).unwrap_err().to_string().contains("chmod go-w"));
    }
}
