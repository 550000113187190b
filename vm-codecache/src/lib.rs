//! The store of translations: their memory, the index that finds them, the cells that link them, and
//! the epochs that say when a dead one can be freed.
//!
//! ```text
//!   guest address ─ index ─► cell ──────────► code in the arena (r-x)
//!                             ▲ jmp [cell]      │ made from
//!   generated code ───────────┘               granules ◄── a write kills exactly these
//! ```
//!
//! Linking and unlinking is one store to a cell, for all that jump through it. What is unlinked is
//! freed when each hart has been at its safepoint since.

#![deny(unsafe_code)]

mod arena;
mod birth;
mod cache;
mod cells;
mod collect;
mod config;
mod core;
mod death;
mod epoch;
mod error;
mod granules;
mod hash;
mod heat;
mod histogram;
mod index;
mod limbo;
mod reader;
mod shared_index;
mod slab;
mod sweep;
mod sync;
mod tally;
mod translation;
mod zone;

pub use birth::{New, Ticket};
pub use cache::CodeCache;
pub use config::Config;
pub use death::Cause;
pub use error::{CacheError, Full};
pub use histogram::Durations;
pub use index::Index;
pub use reader::Reader;
pub use tally::{Counters, ZoneCounters};
pub use zone::{Usage, Zone};
