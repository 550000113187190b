//! Tests of what spans the modules: the laws of the tables, and the meanings.

mod effects;
mod laws;
mod meaning;
