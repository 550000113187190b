//! Tests of what spans the modules: the laws of the tables, and the meanings.

mod laws;
mod meaning;
