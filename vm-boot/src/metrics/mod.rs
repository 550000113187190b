//! What a machine has done, in figures: one set of names for the table, the file and the tests.
//!
//! The names of the JSON form are stable: they are stated here and in the `Serialize` of the compiler's and the
//! code cache's own figures, and explained in `docs/metrics.md`. All counts are since the start of the program.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use vm_codecache::Counters;
use vm_cpu::hart::Tally;
use vm_cpu::jit::JitStats;
use vm_mmu::{RegionInfo, RegionKind, TlbStats};

/// Everything there is to tell.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// From the start of the machine.
    pub uptime_ns: u64,
    /// From the start of the program until the harts ran.
    pub cold_start_ns: u64,
    /// Host CPU time of the program, all threads.
    pub cpu_ns: u64,
    /// Memory.
    pub memory: Memory,
    /// By hart.
    pub harts: Vec<Hart>,
    /// The optimising compiler; `null` if it is off.
    pub compiler: Option<JitStats>,
    /// Memory and life of its translations; `null` if it is off.
    pub cache: Option<Counters>,
}

/// Bytes of host memory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// RAM that the guest was given.
    pub guest: u64,
    /// Of it, what was touched.
    pub guest_resident: u64,
    /// What the program holds beside that; `null` if the host does not say.
    pub own_resident: Option<u64>,
    /// Page faults of the whole program that the host answered from memory.
    pub minor_faults: u64,
    /// Those for which it had to read.
    pub major_faults: u64,
    /// By address.
    pub regions: Vec<Region>,
}

/// A region of guest memory.
#[derive(Clone, Debug, Serialize)]
pub struct Region {
    /// Its first address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What backs it.
    pub backend: &'static str,
    /// Bytes that the guest or its devices touched, as far as that is counted: of files; else the whole.
    pub touched: u64,
    /// First touches of pages, where they are counted.
    pub faults: u64,
    /// Bytes in host memory; of a file: in the host's page cache.
    pub resident: u64,
}

impl From<&RegionInfo> for Region {
    fn from(info: &RegionInfo) -> Self {
        let backend = match info.kind {
            RegionKind::Linear => "linear",
            RegionKind::Eager => "eager",
            RegionKind::Lazy => "lazy",
            RegionKind::FilePrivate => "file_private",
            RegionKind::FileShared => "file_shared",
        };
        Self {
            start: info.range.start,
            size: info.range.end - info.range.start,
            backend,
            touched: info.touched,
            faults: info.faults,
            resident: info.resident,
        }
    }
}

/// What one hart has done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Hart {
    /// Instructions that retired.
    pub instructions: u64,
    /// Of these, in compiled code and in helpers that it called.
    pub compiled: u64,
    /// Of those, in units of an image.
    pub ahead: u64,
    /// Of all, in the interpreter.
    pub interpreted: u64,
    /// Times compiled code was entered from the dispatcher.
    pub entries: u64,
    /// Times it went on elsewhere after a trap, a return from one or another change of state, without the
    /// dispatcher.
    pub chained: u64,
    /// Times it was left, by cause.
    pub leaves: BTreeMap<String, u64>,
    /// Calls of helpers by compiled code.
    pub helpers: BTreeMap<String, u64>,
    /// Instructions that helpers carried out.
    pub helped: BTreeMap<String, u64>,
    /// Searches for the block of an address.
    pub lookups: u64,
    /// Of these, those that the jump cache could not answer.
    pub jump_cache_misses: u64,
    /// Blocks that were decoded.
    pub decoded_blocks: u64,
    /// Instructions in them.
    pub decoded_instructions: u64,
    /// Exceptions taken, by cause.
    pub exceptions: BTreeMap<String, u64>,
    /// Interrupts taken.
    pub interrupts: u64,
    /// Calls of the built-in SBI.
    pub sbi_calls: u64,
    /// Accesses to devices.
    pub device_accesses: u64,
    /// Time they took.
    pub device_ns: u64,
    /// Times the hart slept until an interrupt.
    pub sleeps: u64,
    /// Time it slept.
    pub sleep_ns: u64,
    /// Stores into pages that hold code.
    pub stores_beside_code: u64,
    /// Steps that compiled code and the interpreter made in lock-step.
    pub lockstep_steps: u64,
    /// Instructions in them.
    pub lockstep_instructions: u64,
    /// The soft-TLB; `fills` and `borrows` are its misses.
    pub tlb: TlbStats,
}

impl From<Tally> for Hart {
    fn from(tally: Tally) -> Self {
        Self {
            instructions: tally.retired,
            compiled: tally.compiled,
            ahead: tally.ahead,
            interpreted: tally.retired.saturating_sub(tally.compiled),
            entries: tally.entries,
            chained: tally.chained,
            leaves: tally.leaves_by_name().collect(),
            helpers: tally.helpers_by_name().collect(),
            helped: tally.ops_by_name().collect(),
            lookups: tally.lookups,
            jump_cache_misses: tally.dispatches,
            decoded_blocks: tally.decoded,
            decoded_instructions: tally.decoded_insns,
            exceptions: tally.exceptions_by_name().collect(),
            interrupts: tally.interrupts,
            sbi_calls: tally.calls,
            device_accesses: tally.devices,
            device_ns: tally.devices_ns,
            sleeps: tally.sleeps,
            sleep_ns: tally.sleeps_ns,
            stores_beside_code: tally.beside_code,
            lockstep_steps: tally.steps,
            lockstep_instructions: tally.compared,
            tlb: tally.tlb,
        }
    }
}

impl Hart {
    /// Adds what another has done.
    fn add(&mut self, other: &Self) {
        let merge = |into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>| {
            from.iter().for_each(|(name, n)| *into.entry(name.clone()).or_default() += n);
        };
        merge(&mut self.leaves, &other.leaves);
        merge(&mut self.helpers, &other.helpers);
        merge(&mut self.helped, &other.helped);
        merge(&mut self.exceptions, &other.exceptions);
        for (into, from) in self.counts().into_iter().zip(other.clone().counts()) {
            *into += *from;
        }
    }

    fn counts(&mut self) -> [&mut u64; 27] {
        let TlbStats { fills, borrows, flush_all, flush_asid, flush_page, large_steps, sum_kills, revokes } =
            &mut self.tlb;
        [
            &mut self.instructions,
            &mut self.compiled,
            &mut self.ahead,
            &mut self.interpreted,
            &mut self.entries,
            &mut self.chained,
            &mut self.lookups,
            &mut self.jump_cache_misses,
            &mut self.decoded_blocks,
            &mut self.decoded_instructions,
            &mut self.interrupts,
            &mut self.sbi_calls,
            &mut self.device_accesses,
            &mut self.device_ns,
            &mut self.sleeps,
            &mut self.sleep_ns,
            &mut self.stores_beside_code,
            &mut self.lockstep_steps,
            &mut self.lockstep_instructions,
            fills,
            borrows,
            flush_all,
            flush_asid,
            flush_page,
            large_steps,
            sum_kills,
            revokes,
        ]
    }
}

impl Metrics {
    /// As JSON, on several lines, with a last line end.
    pub fn json(&self) -> String {
        // Numbers, strings and maps with keys that are strings: there is nothing in it that JSON cannot say.
        serde_json::to_string_pretty(self).map_or_else(|_| String::new(), |text| text + "\n")
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        table::of(self)
    }
}

/// Nanoseconds of a duration.
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
