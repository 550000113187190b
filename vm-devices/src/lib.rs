//! vm-devices
