//! The built-in supervisor binary interface (RISC-V SBI 3.0), for guests that start in S-mode.
//!
//! ```text
//!  ecall ──► Call{extension, function, args} ──► EXTENSIONS table ──► one file per extension
//!                                                                        │ Caller: hart and machine
//!            a0, a1 ◄── Answer ◄──────────────────────────────────────────┘
//! ```
//!
//! **Invariant**: whatever the guest passes, a call ends in an [`Answer`]; unknown extensions and
//! functions answer `SBI_ERR_NOT_SUPPORTED`. Nothing here knows threads, devices or the hart's inside:
//! all effects go through [`Caller`], which tests replace by a fake.

mod base;
mod caller;
mod dbcn;
mod fwft;
pub mod hsm;
mod ipi;
mod legacy;
mod pmu;
mod rfence;
mod srst;
mod susp;
mod time;

#[cfg(test)]
mod fake;

use serde::{Deserialize, Serialize};

pub use caller::{Caller, Fence, HartState};

/// One call, as the registers give it (SBI 3.0, chapter 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// EID, from a7.
    pub extension: u32,
    /// FID, from a6.
    pub function: u32,
    /// a0 to a5.
    pub args: [u64; 6],
}

/// Standard error codes (SBI 3.0, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Error {
    /// Failed for no better reason.
    Failed = -1,
    /// Not implemented here.
    NotSupported = -2,
    /// A parameter is reserved or out of range.
    InvalidParam = -3,
    /// Not allowed in the present state.
    Denied = -4,
    /// An address is not usable memory.
    InvalidAddress = -5,
    /// Already available.
    AlreadyAvailable = -6,
    /// Already started.
    AlreadyStarted = -7,
    /// Already stopped.
    AlreadyStopped = -8,
    /// No shared memory was set.
    NoShmem = -9,
    /// Feature is locked.
    DeniedLocked = -14,
}

/// How the guest asked the machine to end or begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Power off; `failed` is the guest's own word on why.
    Shutdown {
        /// The reason given was a system failure.
        failed: bool,
    },
    /// Start again from the loaded payload.
    Reboot,
}

/// Where a hart goes on in S-mode: `pc` with a0 = hart id and a1 = `opaque`, translation off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Guest-physical address.
    pub pc: u64,
    /// Value for a1.
    pub opaque: u64,
}

/// What a hart is about, by the calls it has made and those that were made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Stopped; waits to be started by another hart.
    Off,
    /// Executes guest code.
    Running,
    /// Waits for an interrupt, then goes on after its call or at an address.
    Suspended(Option<Resume>),
    /// Asked for the end or the restart of the machine; waits for it.
    Ended,
}

/// What happens to the calling hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success; the value goes to a1.
    Value(u64),
    /// Failure; a1 becomes 0.
    Error(Error),
    /// A legacy call: only a0 changes.
    Legacy(i64),
    /// The hart is stopped until another one starts it.
    Stop,
    /// The hart waits for an interrupt and then returns success, or goes on at the address given.
    Suspend(Option<Resume>),
    /// The whole machine ends or restarts; the call does not return.
    Reset(Reset),
}

impl From<Result<u64, Error>> for Answer {
    fn from(result: Result<u64, Error>) -> Self {
        result.map_or_else(Self::Error, Self::Value)
    }
}

/// One extension: its number and the function that answers its calls.
struct Extension {
    id: u32,
    handle: fn(&Call, &mut dyn Caller) -> Answer,
}

/// Everything that is implemented, besides the legacy calls 0 to 8, which each are an extension.
const EXTENSIONS: [Extension; 10] = [
    Extension { id: 0x10, handle: base::handle },
    Extension { id: 0x5449_4d45, handle: time::handle },
    Extension { id: 0x0073_5049, handle: ipi::handle },
    Extension { id: 0x5246_4e43, handle: rfence::handle },
    Extension { id: 0x0048_534d, handle: hsm::handle },
    Extension { id: 0x5352_5354, handle: srst::handle },
    Extension { id: 0x0050_4d55, handle: pmu::handle },
    Extension { id: 0x4442_434e, handle: dbcn::handle },
    Extension { id: 0x5355_5350, handle: susp::handle },
    Extension { id: 0x4657_4654, handle: fwft::handle },
];

/// Answers one call.
pub fn answer(call: &Call, caller: &mut dyn Caller) -> Answer {
    if legacy::RANGE.contains(&call.extension) {
        return legacy::handle(call, caller);
    }
    match EXTENSIONS.iter().find(|extension| extension.id == call.extension) {
        Some(extension) => (extension.handle)(call, caller),
        None => Answer::Error(Error::NotSupported),
    }
}

/// Whether an extension is there, for `sbi_probe_extension`.
fn present(id: u32) -> bool {
    legacy::RANGE.contains(&id) || EXTENSIONS.iter().any(|extension| extension.id == id)
}

/// The harts that a mask names, as a set by hart id (SBI 3.0, 3.1: a base of -1 means all of them).
fn harts(mask: u64, base: u64, count: usize) -> Result<u64, Error> {
    let all = all_harts(count);
    if base == u64::MAX {
        return Ok(all);
    }
    if mask == 0 {
        return Ok(0);
    }
    let highest = base.checked_add(63 - u64::from(mask.leading_zeros())).ok_or(Error::InvalidParam)?;
    if highest >= count as u64 {
        return Err(Error::InvalidParam);
    }
    Ok((mask << base) & all)
}

/// The set of all harts of a machine with `count` of them.
fn all_harts(count: usize) -> u64 {
    u64::MAX >> (64 - count.clamp(1, 64))
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    #[test]
    fn masks_name_harts() {
        assert_eq!(harts(0b101, 0, 4), Ok(0b101));
        assert_eq!(harts(0b11, 2, 4), Ok(0b1100));
        assert_eq!(harts(123, u64::MAX, 4), Ok(0b1111));
        assert_eq!(harts(0, 0, 4), Ok(0));
        assert_eq!(harts(0, 99, 4), Ok(0));
        assert_eq!(harts(0b1_0000, 0, 4), Err(Error::InvalidParam));
        assert_eq!(harts(1, 4, 4), Err(Error::InvalidParam));
        assert_eq!(harts(1 << 63, u64::MAX - 1, 4), Err(Error::InvalidParam));
    }

    #[test]
    fn every_unknown_call_is_refused_and_changes_nothing() {
        for extension in [9, 0xf, 0x11, 0x4350_5043, 0x0900_0000, 0x0a00_0000, u32::MAX] {
            let mut fake = Fake::new(2);
            let call = Call { extension, function: 0, args: [u64::MAX; 6] };
            assert_eq!(answer(&call, &mut fake), Answer::Error(Error::NotSupported), "{extension:#x}");
            assert_eq!(fake.effects, []);
        }
        for extension in &EXTENSIONS {
            let call = Call { extension: extension.id, function: 0xffff, args: [u64::MAX; 6] };
            let mut fake = Fake::new(2);
            assert_eq!(answer(&call, &mut fake), Answer::Error(Error::NotSupported), "{:#x}", extension.id);
        }
    }

    #[test]
    fn noise_never_panics() {
        let mut seed = 1u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let words = [0, 1, 2, 3, u64::MAX, 1 << 63, 0x8000_0000, u64::MAX - 1, 0x8000_1000];
        for _ in 0..200_000 {
            let mut fake = Fake::new(4);
            let extension = match next() % 2 {
                0 => (next() % 10) as u32,
                _ => EXTENSIONS[(next() % EXTENSIONS.len() as u64) as usize].id,
            };
            let args = std::array::from_fn(|_| match next() % 3 {
                0 => next(),
                _ => words[(next() % words.len() as u64) as usize],
            });
            answer(&Call { extension, function: (next() % 10) as u32, args }, &mut fake);
        }
    }
}
