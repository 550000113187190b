//! What the acceptance tests and benches have in common: where things are, programs of the host, guest programs,
//! and a machine without devices for tests of the CPU.
//!
//! Invariant: a test that lacks something of the host fails and names the Debian package; none is skipped for it.

pub mod ahead;
pub mod bare;
pub mod bench;
pub mod debian;
pub mod facts;
pub mod fuzz;
pub mod guest;
pub mod host;
pub mod oracle;
pub mod pieces;
pub mod random;
pub mod session;
