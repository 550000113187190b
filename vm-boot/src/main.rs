//! vm-boot
fn main() {}
