//! The instruction set.

pub mod emit;
pub mod ext;

/// Rows of the encoding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {}
