//! Measuring `vm-boot` beside QEMU and native builds of the same source.
//!
//! What counts is the CPU time of the whole process, all its threads included, because the machine that measures
//! has other work; wall time is reported beside it. Runs of the competitors are interleaved and medians taken.
//!
//! **Invariant:** a row compares like with like. Every program prints a checksum of its work, and a checksum that
//! differs between machines ends the bench.

pub mod ahead;
pub mod backends;
pub mod copy;
pub mod crowded;
pub mod debian;
pub mod demo;
pub mod latency;
pub mod limits;
pub mod linux;
pub mod machine;
pub mod overlay;
pub mod process;
pub mod programs;
pub mod report;
pub mod savevm;
pub mod snapshot;
pub mod switches;
mod warm;
