//! What a hart has done since it was made, in counts: how it came into generated code and out of it, and what
//! for. The hart counts for itself alone; whenever it leaves guest code it lays a copy in its port.

use std::fmt;

use vm_mmu::TlbStats;

use crate::isa::Op;
use crate::jit::abi::Leave;
use crate::jit::enter::Helper;
use crate::trap::Cause;

/// Codes of exceptions that are counted.
const EXCEPTIONS: usize = 16;

/// Counts of one hart.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Instructions that retired in generated code, and the helpers it called.
    pub compiled: u64,
    /// Of these, in units that were made ahead of the run.
    pub ahead: u64,
    /// Times generated code was entered.
    pub entries: u64,
    /// Times a helper went on in another unit.
    pub chained: u64,
    /// Times it was left, by [`Leave`].
    pub leaves: [u64; Leave::COUNT],
    /// Calls of helpers, by [`Helper`].
    pub helpers: [u64; Helper::COUNT],
    /// Instructions that helpers carried out, by [`Op`].
    pub ops: [u64; Op::ALL.len()],
    /// Instructions retired, also before the last reset.
    pub retired: u64,
    /// Instructions retired before the last reset.
    pub(super) earlier: u64,
    /// Times the engine looked for the block of an address.
    pub lookups: u64,
    /// Of these, times the block was not in the jump cache.
    pub dispatches: u64,
    /// Blocks that were decoded.
    pub decoded: u64,
    /// Instructions in them.
    pub decoded_insns: u64,
    /// Exceptions taken, by their code ([`crate::trap::Cause`]).
    pub exceptions: [u64; EXCEPTIONS],
    /// Interrupts taken.
    pub interrupts: u64,
    /// Calls of the built-in SBI.
    pub calls: u64,
    /// Accesses to devices.
    pub devices: u64,
    /// Nanoseconds they took.
    pub devices_ns: u64,
    /// Times the hart slept for want of an interrupt.
    pub sleeps: u64,
    /// Nanoseconds it slept.
    pub sleeps_ns: u64,
    /// Steps of lock-step.
    pub steps: u64,
    /// Instructions in them.
    pub compared: u64,
    /// Stores into pages with code.
    pub beside_code: u64,
    /// Of the soft-TLB.
    pub tlb: TlbStats,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            compiled: 0,
            ahead: 0,
            entries: 0,
            chained: 0,
            leaves: [0; Leave::COUNT],
            helpers: [0; Helper::COUNT],
            ops: [0; Op::ALL.len()],
            retired: 0,
            earlier: 0,
            lookups: 0,
            dispatches: 0,
            decoded: 0,
            decoded_insns: 0,
            exceptions: [0; EXCEPTIONS],
            interrupts: 0,
            calls: 0,
            devices: 0,
            devices_ns: 0,
            sleeps: 0,
            sleeps_ns: 0,
            steps: 0,
            compared: 0,
            beside_code: 0,
            tlb: TlbStats::default(),
        }
    }
}

impl Tally {
    /// [`Tally::leaves`] with what they are called.
    pub fn leaves_by_name(&self) -> impl Iterator<Item = (String, u64)> {
        Leave::ALL.iter().map(name).zip(self.leaves)
    }

    /// [`Tally::helpers`] with what they are called.
    pub fn helpers_by_name(&self) -> impl Iterator<Item = (String, u64)> {
        Helper::ALL.iter().map(name).zip(self.helpers)
    }

    /// [`Tally::ops`] with what they are called, those that were not 0.
    pub fn ops_by_name(&self) -> impl Iterator<Item = (String, u64)> {
        Op::ALL.iter().map(name).zip(self.ops).filter(|&(_, count)| count != 0)
    }

    /// [`Tally::exceptions`] with what they are called, those that were not 0.
    pub fn exceptions_by_name(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let counted = |cause: &Cause| (name(cause), self.exceptions[*cause as usize]);
        Cause::ALL.iter().map(counted).filter(|&(_, count)| count != 0)
    }
}

/// The name of a variant, as metrics are called.
fn name(variant: &impl fmt::Debug) -> String {
    let mut name = String::new();
    for (at, c) in format!("{variant:?}").chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_names_of_what_they_count() {
        let mut tally = Tally::default();
        tally.leaves[Leave::Sync as usize - 1] = 3;
        tally.helpers[Helper::Execute as usize] = 4;
        tally.ops[Op::fence_i as usize] = 5;
        tally.exceptions[Cause::EcallU as usize] = 6;
        assert!(tally.leaves_by_name().any(|pair| pair == ("sync".to_owned(), 3)));
        assert!(tally.helpers_by_name().any(|pair| pair == ("execute".to_owned(), 4)));
        assert!(tally.ops_by_name().eq([("fence_i".to_owned(), 5)]));
        assert!(tally.exceptions_by_name().eq([("ecall_u".to_owned(), 6)]));
    }
}
