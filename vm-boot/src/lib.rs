//! vm-boot: everything that makes harts, memory and devices into a machine that boots.
//!
//! ```text
//!  cli ─► config ─► machine (assembly, FDT, reset) ─► runtime (states, commands, hart threads)
//!                     │ loader (kernel, firmware)        │ sbi (built-in), console, htif
//! ```

pub mod aot;
mod backfill;
pub mod cli;
pub mod clones;
pub mod config;
pub mod console;
pub mod defect;
pub mod loader;
pub mod log;
pub mod machine;
pub mod metrics;
mod profile;
pub mod runtime;
pub mod sbi;
pub mod snapshot;
pub mod version;
