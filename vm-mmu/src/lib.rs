//! vm-mmu
