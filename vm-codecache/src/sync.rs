//! What the concurrent parts are made of, named in one place: the models in `tests/loom.rs` compile
//! the same files against loom's counterparts of these names.
#![allow(unsafe_code, reason = "a long array of zeroed atomics, without touching its memory")]

pub use parking_lot::{Mutex, MutexGuard};
pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// `len` zeroes. Memory of a long array is touched, and so resident, only where it is used.
pub fn zeroed(len: usize) -> Box<[AtomicU64]> {
    // SAFETY: an `AtomicU64` has the representation of a `u64`, for which all-zero bytes are a value.
    unsafe { Box::new_zeroed_slice(len).assume_init() }
}
