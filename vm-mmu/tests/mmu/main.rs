//! Tests of guest memory through its public face.

mod formats;
mod walk;
