//! Stand-ins for the machine, used by this crate's tests and, through the
//! feature `testing`, by fuzz targets.

pub mod driver;
pub mod garbage;
pub mod wires;
