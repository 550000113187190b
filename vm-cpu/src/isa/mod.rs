//! The instruction set.

pub mod emit;

/// Rows of the encoding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {}
