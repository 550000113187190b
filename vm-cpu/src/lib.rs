//! vm-cpu

pub mod fp;
pub mod isa;
pub mod trap;
