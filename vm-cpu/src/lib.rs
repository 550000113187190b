//! vm-cpu

pub mod config;
pub mod csr;
pub mod fp;
pub mod isa;
pub mod pmp;
pub mod trap;
