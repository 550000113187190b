//! Why an image is not taken: always by name, with what was expected and what was found.

use thiserror::Error;

use super::keys::KeyId;
use super::level::CpuLevel;

/// An image that is refused. Nothing of it was mapped or run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// It has the marks of something else.
    #[error("is no AOT image: expected the mark \"VMBAOT\", found {found:?}")]
    Foreign {
        /// What is there.
        found: String,
    },
    /// Of a later program.
    #[error("was written by a newer aot-builder: its {what} is {found}, this one reads {known}")]
    Newer {
        /// Which number: format or ABI.
        what: &'static str,
        /// Its number.
        found: u32,
        /// The only one that is known.
        known: u32,
    },
    /// Of an earlier program.
    #[error("was written by an older aot-builder: its {what} is {found}, this one reads {known}")]
    Older {
        /// Which number: format or ABI.
        what: &'static str,
        /// Its number.
        found: u32,
        /// The only one that is known.
        known: u32,
    },
    /// It was made for a program whose structures lie otherwise.
    #[error("was made for another vm-boot: expected layout {expected:016x}, found {found:016x}")]
    Layout {
        /// Of this program.
        expected: u64,
        /// Of the image.
        found: u64,
    },
    /// It uses instructions that the host does not have.
    #[error("was made for another host CPU: it needs {found}, the host has {expected}")]
    Level {
        /// What the host has.
        expected: CpuLevel,
        /// What the image needs.
        found: CpuLevel,
    },
    /// Its end is missing.
    #[error("is truncated: expected {expected} bytes, found {found}")]
    Truncated {
        /// Bytes written.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// It has more bytes than were written, or than an image may have.
    #[error("is too long: expected {expected} bytes, found {found}")]
    Oversized {
        /// Bytes written, or permitted.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A section is not what was written.
    #[error("is damaged: the BLAKE3 of section {section} is not the one in the header")]
    Checksum {
        /// Which.
        section: &'static str,
    },
    /// The header is not what was signed.
    #[error("is not what key {key} has signed: expected a signature of the header, found another")]
    Signature {
        /// The key that the header names.
        key: KeyId,
    },
    /// Nobody here trusts the key.
    #[error("is signed by key {key}, which is not trusted: expected one of {known} keys")]
    NotTrusted {
        /// The key that the header names.
        key: KeyId,
        /// How many keys are trusted.
        known: usize,
    },
    /// The key is trusted no more.
    #[error("is signed by key {key}, which was revoked")]
    Revoked {
        /// The key.
        key: KeyId,
    },
    /// The key was trusted for a time that is over.
    #[error("is signed by key {key}, which was valid up to {until}; today is {today}")]
    Expired {
        /// The key.
        key: KeyId,
        /// Its last day.
        until: String,
        /// The host's date.
        today: String,
    },
    /// An older image than is permitted.
    #[error("is a rollback: for guest {guest} expected version {expected} or later, found {found}")]
    Rollback {
        /// Whose versions are counted.
        guest: String,
        /// The oldest that is permitted.
        expected: u64,
        /// Of the image.
        found: u64,
    },
    /// A field of the header means nothing.
    #[error("is not valid: header: {field}: expected {expected}, found {found}")]
    Header {
        /// Which.
        field: &'static str,
        /// What may be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The bytes of a section mean nothing.
    #[error("is not valid: section {section}: {reason}")]
    Section {
        /// Which.
        section: &'static str,
        /// What was expected, and found.
        reason: String,
    },
    /// A unit that cannot be.
    #[error("is not valid: unit {unit}: {field}: expected {expected}, found {found}")]
    Unit {
        /// Its place in the order of units.
        unit: usize,
        /// Which of its fields.
        field: &'static str,
        /// What may be there.
        expected: String,
        /// What is there.
        found: String,
    },
}
