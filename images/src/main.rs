//! images
fn main() {}
