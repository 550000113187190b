//! vm-boot
