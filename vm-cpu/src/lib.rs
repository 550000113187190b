//! The CPU: what instructions are and mean, the harts that execute them, and the engines that do so.
//!
//! ```text
//!  isa ── encodings and meaning, once ──► interp (runs)    … translators (record)
//!  csr, pmp, trap, fp, config ──► hart ──► Cluster: what devices and other threads see
//! ```
//!
//! **Invariants.** Devices are unknown here: MMIO goes through [`hart::Bus`]. A guest trap is a value
//! ([`trap::Trap`]), a reason to leave is another ([`hart::Exit`]), and nothing a guest does panics.

pub mod aot;
pub mod config;
pub mod csr;
pub mod fp;
pub mod hart;
pub mod interp;
pub mod isa;
pub mod jit;
mod lockstep;
pub mod pmp;
pub mod trap;

pub use config::CpuConfig;
pub use csr::Priv;
pub use hart::{Bus, BusError, Clock, Cluster, Entry, Exit, Hart, Mail};
pub use lockstep::Lockstep;
