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
//!
//! Where to look, from the outside in: `cache` and `reader` are the interface; `birth`, `death` and
//! `sweep` what happens to a translation, `collect` what happens when; `core` has what they share:
//! `zone` and `arena` the memory of code, `cells` and `granules` the ways to it, `translation` what is
//! known of it. `slab`, `shared_index`, `limbo` and `epoch` are what those are made of.
//!
//! ```
//! use vm_codecache::{Cause, CodeCache, Config, New, Zone};
//! # let stub = 0x1000; // never run here
//! let cache = std::sync::Arc::new(CodeCache::new(&Config::default(), stub)?);
//! let mut reader = cache.reader(); // on the hart's thread
//! reader.pin();
//!
//! let mut ticket = cache.reserve().expect("a number is free");
//! let next = cache.link(&mut ticket, 0x8000_0040); // what the code's last jump goes through
//! let mut code = vec![0x48, 0xb8]; // mov rax, next; jmp [rax]
//! code.extend(next.to_le_bytes());
//! code.extend([0xff, 0x20]);
//! let (entries, pages) = ([(0x8000_0000, 0)], [(0x8000_0000, 0b1)]);
//! let new = New { zone: Zone::Short, code: &code, entries: &entries, pages: &pages, meta: "mine", heat: 1 };
//! let number = cache.publish(ticket, new)?;
//!
//! assert!(cache.lookup(0x8000_0000).is_some());
//! assert_eq!(cache.meta(number, |meta| *meta), Some("mine"));
//! assert_eq!(cache.invalidate(0x8000_0000, 0b1, Cause::Store), 1);
//! assert!(cache.lookup(0x8000_0000).is_none());
//! let forget_kept_cells = reader.repin(); // the safepoint
//! # let _ = forget_kept_cells;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod adopt;
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
mod huge;
mod index;
mod limbo;
mod reader;
mod sealed;
mod shared_index;
mod slab;
mod sweep;
mod sync;
mod tally;
mod translation;
mod zone;

pub use adopt::Adopted;
pub use birth::{New, Ticket};
pub use cache::CodeCache;
pub use config::Config;
pub use death::Cause;
pub use error::{CacheError, Full};
pub use hash::hash;
pub use histogram::{Durations, Histogram};
pub use index::Index;
pub use reader::Reader;
pub use sealed::Sealed;
pub use tally::{Counters, ZoneCounters};
pub use zone::{Usage, Zone};
