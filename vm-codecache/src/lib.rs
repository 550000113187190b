//! vm-codecache
