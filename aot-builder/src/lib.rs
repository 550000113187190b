//! What `aot-builder` makes code with: see [`backend`].

pub mod backend;
pub mod llvm;
