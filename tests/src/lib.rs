//! What the acceptance tests and benches have in common: where things are, programs of the host, guest programs.
//!
//! Invariant: a test that lacks something of the host fails and names the Debian package; none is skipped for it.

pub mod guest;
pub mod host;
