//! Saving and restoring the state of a device.
//!
//! A device is its state, a plain serde structure, and its wiring (lines, files,
//! guest memory), which the machine builds anew before it restores. The machine
//! stops the harts, calls [`Snapshot::quiesce`] on every device, and only then
//! saves states and RAM, so that no completion falls between the two. A machine
//! that is restored puts RAM in place first, then restores the interrupt
//! controller, then what drives its wires, and calls [`Snapshot::resume`] when all
//! of it is there: until then no device acts on memory or on a disk.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A device whose state can be saved, and put into another one with like wiring.
pub trait Snapshot {
    /// Everything the guest can observe, apart from RAM.
    type State: Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq;

    /// The layout of the state: another number is another layout.
    const VERSION: u32;

    /// Returns once no work is under way on other threads. The harts are stopped
    /// and the machine feeds no input, so nothing new starts.
    fn quiesce(&self) {}

    /// The state now.
    fn save(&self) -> Self::State;

    /// Takes over `state` and drives the device's lines accordingly. On an error
    /// the device is unchanged.
    fn restore(&self, state: Self::State) -> Result<(), RestoreError>;

    /// Goes on with what was waiting when the state was saved.
    fn resume(&self) {}
}

/// Why a saved state does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The device has another number of some part than the saved one.
    #[error("expected {expected} {what}, found {found} in the saved state")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The device's number.
        expected: usize,
        /// The saved number.
        found: usize,
    },
    /// A saved value is outside what the device can hold.
    #[error("{what} in the saved state is not valid: {found:#x}")]
    Value {
        /// Which value.
        what: &'static str,
        /// The saved value.
        found: u64,
    },
}

impl RestoreError {
    /// Checks that a saved table has the device's length.
    pub(crate) fn check_count(what: &'static str, expected: usize, found: usize) -> Result<(), RestoreError> {
        if expected == found { Ok(()) } else { Err(RestoreError::Count { what, expected, found }) }
    }
}
