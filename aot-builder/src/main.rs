//! aot-builder
fn main() {}
