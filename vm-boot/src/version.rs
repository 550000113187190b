//! Facts about this build, as `--version` states them.

/// Version and build facts, a line each.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:  ",
    env!("BUILD_COMMIT"),
    "\nrustc:   ",
    env!("BUILD_RUSTC"),
    "\nprofile: ",
    env!("BUILD_PROFILE"),
    "\ntarget:  ",
    env!("BUILD_TARGET"),
);
