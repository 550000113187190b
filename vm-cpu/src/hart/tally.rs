//! What a hart has done since it was made, in counts: how it came into generated code and out of it, and what
//! for. The hart counts for itself alone; whenever it leaves guest code it lays a copy in its port.

use std::fmt;

use vm_mmu::TlbStats;

use crate::isa::Op;
use crate::jit::abi::Leave;
use crate::jit::enter::Helper;

/// Counts of one hart.
#[derive(Clone)]
pub struct Tally {
    /// Instructions that retired in generated code, and the helpers it called.
    pub compiled: u64,
    /// Times generated code was entered.
    pub entries: u64,
    /// Times it was left, by [`Leave`].
    pub leaves: [u64; Leave::COUNT],
    /// Calls of helpers, by [`Helper`].
    pub helpers: [u64; Helper::COUNT],
    /// Instructions that helpers carried out, by [`Op`].
    pub ops: [u64; Op::ALL.len()],
    /// Instructions retired.
    pub retired: u64,
    /// Times the next block was not in the jump cache.
    pub dispatches: u64,
    /// Exceptions and interrupts taken.
    pub traps: u64,
    /// Stores into pages with code.
    pub beside_code: u64,
    /// Of the soft-TLB.
    pub tlb: TlbStats,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            compiled: 0,
            entries: 0,
            leaves: [0; Leave::COUNT],
            helpers: [0; Helper::COUNT],
            ops: [0; Op::ALL.len()],
            retired: 0,
            dispatches: 0,
            traps: 0,
            beside_code: 0,
            tlb: TlbStats::default(),
        }
    }
}

/// How many of the instructions that helpers carry out are worth a word.
const OPS: usize = 12;

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ops: Vec<(Op, u64)> = Op::ALL.iter().copied().zip(self.ops).collect();
        ops.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        ops.truncate(OPS);
        ops.retain(|&(_, count)| count != 0);
        f.debug_struct("Tally")
            .field("retired", &self.retired)
            .field("compiled", &self.compiled)
            .field("entries", &self.entries)
            .field("leaves", &Named(Leave::ALL.iter().zip(&self.leaves)))
            .field("helpers", &Named(Helper::ALL.iter().zip(&self.helpers)))
            .field("ops", &Named(ops.iter().map(|(op, count)| (op, count))))
            .field("dispatches", &self.dispatches)
            .field("traps", &self.traps)
            .field("beside_code", &self.beside_code)
            .field("tlb", &self.tlb)
            .finish()
    }
}

/// Pairs, shown as a map.
struct Named<I>(I);

impl<K: fmt::Debug, V: fmt::Debug, I: Iterator<Item = (K, V)> + Clone> fmt::Debug for Named<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.clone()).finish()
    }
}
