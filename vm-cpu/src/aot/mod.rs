//! Code translated ahead of time: what an image holds, and what a run tells the one who makes it.
//!
//! ```text
//!  run ──profile──► aot-builder ──image, signed──► next run: match, verify, seal, map, bind
//! ```
//! A unit is bound by content: it may run where guest memory holds, at the same offsets of a page, the
//! instructions that it was made from.

pub mod unit;
