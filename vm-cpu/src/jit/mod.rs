//! Code for what runs often: by `quick` at once, and for hot regions optimised, in the background.
//!
//! ```text
//!  hart: a block is hot ─► Region (a copy of its code) ─► queue ─► thread: lift, compile, publish
//!    ▲                                                                              │
//!    └── enters through the cell of the block's address ◄──── code cache ◄──────────┘
//! ```
//! **Invariants.** A hart never waits for a compiler of regions. A unit is made from bytes that are marked in the
//! tracker, which are compared with memory once more when stores find the unit and no hart does yet: a store
//! that the comparison does not see is announced after it, and kills the unit. Units know no virtual address and no mode;
//! what depends on either they read from the hart.

pub mod abi;
pub(crate) mod ahead;
pub mod compile;
pub(crate) mod enter;
pub(crate) mod groups;
mod helpers;
pub mod lift;
mod live;
mod quick;
mod refill;
pub mod region;
mod service;
pub(crate) mod sites;
pub(crate) mod slots;
pub(crate) mod strays;
mod streams;
pub(crate) mod ways;

pub(crate) use self::enter::Participant;
pub use self::quick::QuickStats;
pub(crate) use self::quick::{Quick, Translated};
pub use self::service::{Jit, JitConfig, JitError, JitStats};
