//! The part `harts`: every hart with what the built-in SBI knows of it, and the machine's clock.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use vm_cpu::CpuConfig;
use vm_cpu::hart::HartRecord;

use crate::loader::Htif;
use crate::sbi::hsm::SlotRecord;
use crate::sbi::{Activity, HartState};

/// One hart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuRecord {
    /// Its registers.
    pub hart: HartRecord,
    /// What the built-in SBI remembers of it.
    pub sbi: HartState,
    /// What it is about.
    pub activity: Activity,
}

/// All harts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HartsRecord {
    /// What `mtime` showed. A restored machine goes on from there: for the guest no time has passed. Only
    /// its real-time clock shows the host's time.
    pub clock: u64,
    /// Words of the host-target interface, if a bare program has one.
    pub htif: Option<Htif>,
    /// By number.
    pub harts: Vec<VcpuRecord>,
    /// By number: whether it is started.
    pub slots: Vec<SlotRecord>,
}

impl HartsRecord {
    /// Checks that these can be the harts of a machine of `cpus` such CPUs with such RAM.
    pub fn check(&self, cpu: &CpuConfig, cpus: usize, ram: &Range<u64>) -> Result<(), String> {
        if (self.harts.len(), self.slots.len()) != (cpus, cpus) {
            return Err(format!(
                "expected {cpus} harts, found {} and {}",
                self.harts.len(),
                self.slots.len()
            ));
        }
        for (id, (vcpu, slot)) in self.harts.iter().zip(&self.slots).enumerate() {
            vcpu.hart.check(cpu, id, ram).map_err(|error| format!("hart {id}: {error}"))?;
            if !slot.is_valid() {
                return Err(format!("hart {id}: {slot:?} is no state of a hart"));
            }
            if vcpu.activity == Activity::Ended {
                return Err(format!("hart {id} has ended the machine"));
            }
        }
        Ok(())
    }
}
