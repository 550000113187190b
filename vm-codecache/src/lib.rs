//! The store of translations and the index that finds them.
//!
//! Here stands what every engine shares from the first day: [`Index`], the map from a translation's
//! guest-physical address to its number.

#![forbid(unsafe_code)]

mod index;

pub use index::Index;
