//! vm-cpu
