//! Why an operation of the cache failed.

use thiserror::Error;

/// Why there is no cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The host gave no memory to run code from.
    #[error("cannot map {size} bytes of executable memory: {source}")]
    Arena {
        /// Bytes of all zones.
        size: usize,
        /// What the host says.
        source: std::io::Error,
    },
    /// The text of an image finds no room.
    #[error("no room for an image of {wanted} bytes: the stable zone has {size}")]
    Adopt {
        /// Bytes of text and words.
        wanted: usize,
        /// Bytes that are free.
        size: usize,
    },
    /// A size is out of range.
    #[error("{what} of {found} is out of range: expected {expected}")]
    Range {
        /// Name of the value.
        what: &'static str,
        /// The value.
        found: usize,
        /// What it may be.
        expected: &'static str,
    },
}

/// Why a translation was not published. Its ticket is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// The zone is full and nothing of it is free yet.
    #[error("the zone has no room for {0} bytes of code until a sweep has passed")]
    Zone(usize),
    /// The code is longer than a segment, or empty.
    #[error("code of {0} bytes fits no segment")]
    Size(usize),
    /// All cells, links or granules are taken.
    #[error("no room for a translation's cells and granules until a sweep has passed")]
    Lists,
    /// It is not what the guest's bytes mean by now.
    #[error("the guest's bytes are not those that it was made from any more")]
    Stale,
    /// The host failed to write the code.
    #[error("the host cannot store code: out of memory?")]
    Host,
}
