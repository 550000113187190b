//! Words of guest memory as registers see them, and the atomic operations on them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::isa::emit::Amo;

/// A word that fits a register.
pub(crate) trait Word: vm_mmu::Word {
    /// Zero-extended.
    fn widen(self) -> u64;
    /// The low bytes of a register.
    fn narrow(value: u64) -> Self;
}

macro_rules! word {
    ($($t:ty)*) => {$(
        impl Word for $t {
            #[inline(always)]
            fn widen(self) -> u64 {
                u64::from(self)
            }

            #[inline(always)]
            fn narrow(value: u64) -> Self {
                value as $t
            }
        }
    )*};
}

word!(u8 u16 u32 u64);

/// A word that the host changes atomically.
pub(crate) trait AtomicWord: Word + PartialEq {
    /// Its cell in memory.
    type Cell: vm_mmu::AtomicWord;
    /// Carries out `op` with operand `v`; gives the old value.
    fn amo(op: Amo, cell: &Self::Cell, v: Self) -> Self;
    /// Stores `new` if the cell holds `old`; gives what it held.
    fn exchange(cell: &Self::Cell, old: Self, new: Self) -> Self;
    /// Reads the cell.
    fn read(cell: &Self::Cell) -> Self;
}

macro_rules! atomic_word {
    ($word:ty, $signed:ty, $cell:ty) => {
        impl AtomicWord for $word {
            type Cell = $cell;

            #[inline(always)]
            fn amo(op: Amo, cell: &$cell, v: Self) -> Self {
                let signed = |pick: fn($signed, $signed) -> $signed| {
                    let new = |old| Some(pick(old as $signed, v as $signed) as $word);
                    cell.fetch_update(SeqCst, SeqCst, new).unwrap_or_else(|old| old)
                };
                match op {
                    Amo::Swap => cell.swap(v, SeqCst),
                    Amo::Add => cell.fetch_add(v, SeqCst),
                    Amo::Xor => cell.fetch_xor(v, SeqCst),
                    Amo::And => cell.fetch_and(v, SeqCst),
                    Amo::Or => cell.fetch_or(v, SeqCst),
                    Amo::Min => signed(<$signed>::min),
                    Amo::Max => signed(<$signed>::max),
                    Amo::Minu => cell.fetch_min(v, SeqCst),
                    Amo::Maxu => cell.fetch_max(v, SeqCst),
                }
            }

            #[inline(always)]
            fn exchange(cell: &$cell, old: Self, new: Self) -> Self {
                cell.compare_exchange(old, new, SeqCst, SeqCst).unwrap_or_else(|held| held)
            }

            #[inline(always)]
            fn read(cell: &$cell) -> Self {
                cell.load(SeqCst)
            }
        }
    };
}

atomic_word!(u32, i32, AtomicU32);
atomic_word!(u64, i64, AtomicU64);
