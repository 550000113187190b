//! What the lock-free parts are made of, named in one place: the models in `tests/models.rs` compile
//! the same files against loom's counterparts of these names, with smaller sizes.
#![allow(unsafe_code, reason = "a long array of zeroed atomics, without touching its memory")]

pub use parking_lot::{Mutex, MutexGuard};
pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Items of a slab that are made at once.
pub const SLAB_CHUNK: usize = 1024;
/// Log2 of the number of shards of an index.
pub const SHARD_BITS: u32 = 5;
/// Log2 of the slots of a shard to begin with.
pub const FIRST_BITS: u32 = 6;

/// `len` zeroes. Memory of a long array is touched, and so resident, only where it is used.
pub fn zeroed(len: usize) -> Box<[AtomicU64]> {
    // SAFETY: an `AtomicU64` has the representation of a `u64`, for which all-zero bytes are a value.
    unsafe { Box::new_zeroed_slice(len).assume_init() }
}
