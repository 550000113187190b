//! Code translated ahead of time: what an image holds, and what a run tells the one who makes it.
//!
//! ```text
//!  run ──profile──► aot-builder ──image, signed──► next run: match, verify, seal, map, bind
//! ```
//! A unit is bound by content: it may run where guest memory holds, at the same offsets of a page, the
//! instructions that it was made from.

pub mod build;
mod callers;
mod check;
mod codec;
pub mod day;
mod draft;
mod error;
#[cfg(test)]
mod forged;
mod header;
#[cfg(test)]
mod hostile;
pub mod image;
pub(crate) mod index;
pub mod keys;
mod layout;
mod level;
pub mod lifted;
pub mod origin;
pub mod profile;
pub mod reuse;
#[cfg(test)]
mod sample;
pub mod settle;
pub mod shared;
pub mod standing;
pub mod store;
pub mod survey;
pub mod trust;
pub mod unit;
pub mod warm;

pub use error::ImageError;
pub use header::{Header, PAGE, Section};
pub use image::{About, Host, Image, Place};
pub use index::Way;
pub use keys::KeyId;
pub use layout::layout_hash;
pub use level::CpuLevel;
pub use store::Store;
pub use trust::Trust;
