//! A hart as a snapshot keeps it: its architectural state without its wiring, and without anything that
//! is derived.
//!
//! A restored hart starts with an empty soft-TLB and without code. Wires are driven anew by the devices
//! they come from; a software interrupt that was posted and not yet taken in is part of the CSRs.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::core::{Core, Reservation};
use crate::config::CpuConfig;
use crate::csr::{CsrError, CsrFile};
use crate::interp::Engine;

/// Everything of a hart that its guest can observe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HartRecord {
    /// Integer registers.
    pub x: [u64; 32],
    /// FP registers, raw.
    pub f: [u64; 32],
    /// Address of the next instruction.
    pub pc: u64,
    /// Instructions retired since reset, on which the counters are based.
    pub retired: u64,
    /// Control and status registers.
    pub csr: CsrFile,
    /// What `lr` has reserved, unless reservations are strict: then the next `sc` fails, as it may.
    pub reservation: Option<ReservationRecord>,
    /// `ecall` from S-mode goes to the built-in SBI.
    pub sbi: bool,
    /// When the timer of the built-in SBI is due, for a supervisor without `stimecmp`.
    pub sbi_timer: u64,
}

/// An `lr` that no `sc` has ended yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRecord {
    /// Guest-physical address of the word.
    pub gpa: u64,
    /// Its bytes, 4 or 8.
    pub size: u64,
    /// What `lr` saw, zero-extended.
    pub value: u64,
}

/// Why a record is not one of this hart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The CSRs.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// Register x0.
    #[error("x0 cannot hold {0:#x}")]
    Zero(u64),
    /// No instruction can begin there.
    #[error("the next instruction cannot be at {0:#x}")]
    Pc(u64),
    /// No word of RAM.
    #[error("expected the reservation of an aligned word of RAM, found {size} bytes at {gpa:#x}")]
    Reservation {
        /// Where.
        gpa: u64,
        /// Bytes.
        size: u64,
    },
}

impl HartRecord {
    /// Checks that this can be hart `id` of a machine with such CPUs and such RAM.
    pub fn check(&self, cpu: &CpuConfig, id: usize, ram: &Range<u64>) -> Result<(), RecordError> {
        self.csr.check(cpu, id as u64)?;
        if self.x[0] != 0 {
            return Err(RecordError::Zero(self.x[0]));
        }
        if self.pc & !self.csr.pc_mask() != 0 {
            return Err(RecordError::Pc(self.pc));
        }
        match self.reservation {
            Some(ReservationRecord { gpa, size, .. }) if !is_word(gpa, size, ram) => {
                Err(RecordError::Reservation { gpa, size })
            }
            _ => Ok(()),
        }
    }
}

fn is_word(gpa: u64, size: u64, ram: &Range<u64>) -> bool {
    matches!(size, 4 | 8) && gpa.is_multiple_of(size) && ram.contains(&gpa) && ram.end - gpa >= size
}

impl Core {
    /// The state now; only while outside of `run`.
    pub(super) fn record(&mut self) -> HartRecord {
        if self.port.take_software() {
            self.csr.post_software();
            self.recheck = true;
        }
        let Reservation { cell, size, value } = self.reservation;
        let gpa = cell.wrapping_sub(self.memory.host_offset());
        let held = cell != 0 && !self.cpu.strict_lrsc && is_word(gpa, size, &self.memory.range());
        HartRecord {
            x: self.x,
            f: self.f,
            pc: self.pc,
            retired: self.retired,
            csr: self.csr.clone(),
            reservation: held.then_some(ReservationRecord { gpa, size, value }),
            sbi: self.sbi,
            sbi_timer: self.sbi_timer,
        }
    }

    /// Takes over what was recorded; see [`super::Hart::load`].
    pub(super) fn load(&mut self, record: &HartRecord, engine: &mut Engine) -> Result<(), RecordError> {
        record.check(&self.cpu, self.id, &self.memory.range())?;
        self.x = record.x;
        self.f = record.f;
        self.pc = record.pc;
        // What it has done, in counts, goes on.
        self.tally.earlier = self.tally.earlier.wrapping_add(self.retired).wrapping_sub(record.retired);
        self.retired = record.retired;
        self.csr = record.csr.clone();
        let offset = self.memory.host_offset();
        self.reservation = record.reservation.map_or(Reservation::default(), |held| Reservation {
            cell: held.gpa.wrapping_add(offset),
            size: held.size,
            value: held.value,
        });
        self.reserve_again(0);
        self.sbi = record.sbi;
        self.sbi_timer = record.sbi_timer;
        self.recheck = true;
        self.jumps.clear();
        self.drop_translations();
        self.look_at_timers();
        engine.forget();
        Ok(())
    }
}
