//! Generation id of the machine (device-tree binding `microsoft,vmgenid`): 16 bytes that are another number
//! whenever the machine goes on from a snapshot, and an interrupt that says so.
//!
//! A guest that was saved once and goes on twice must not take the same random numbers twice; Linux mixes
//! the new id into its pool as soon as it changes. The bytes are read only and of any width.

use crate::bus::{MmioDevice, MmioError};
use crate::fdt::{DeviceTree, Site};
use crate::snapshot::{RestoreError, Snapshot};
use crate::wires::IrqLine;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm_fdt::{Error, FdtWriter};

/// Bytes of the id.
pub const SIZE: usize = 16;

/// What a snapshot keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationState {
    /// The id that the guest has seen.
    pub id: [u8; SIZE],
}

/// The device.
pub struct Generation {
    id: Mutex<[u8; SIZE]>,
    line: Arc<dyn IrqLine>,
}

impl Generation {
    /// A machine with this id, which interrupts through `line`: one that counts events, as the guest has
    /// nothing to acknowledge.
    pub fn new(id: [u8; SIZE], line: Arc<dyn IrqLine>) -> Generation {
        Generation { id: Mutex::new(id), line }
    }

    /// The machine is another one from now on.
    pub fn renew(&self, id: [u8; SIZE]) {
        *self.id.lock() = id;
        self.line.set(true);
    }

    /// Bytes are part of the machine, not of its state: they stay.
    pub fn reset(&self) {
        self.line.set(false);
    }
}

impl MmioDevice for Generation {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        let id = self.id.lock();
        let byte = |at: u64| usize::try_from(at).ok().and_then(|at| id.get(at)).copied().unwrap_or(0);
        Ok((0..u64::from(size)).rev().fold(0, |word, at| word << 8 | u64::from(byte(offset + at))))
    }

    fn write(&self, _offset: u64, _size: u8, _value: u64) -> Result<(), MmioError> {
        Ok(())
    }
}

impl Snapshot for Generation {
    type State = GenerationState;
    const VERSION: u32 = 1;

    fn save(&self) -> GenerationState {
        GenerationState { id: *self.id.lock() }
    }

    fn restore(&self, state: GenerationState) -> Result<(), RestoreError> {
        *self.id.lock() = state.id;
        Ok(())
    }
}

impl DeviceTree for Generation {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        let node = fdt.begin_node(&site.name("rng"))?;
        fdt.property_string("compatible", "microsoft,vmgenid")?;
        site.reg(fdt)?;
        site.interrupt(fdt)?;
        fdt.end_node(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wires::RecordedLine;

    #[test]
    fn the_id_is_read_in_any_width_and_changes_with_an_interrupt() {
        let line = Arc::new(RecordedLine::default());
        let device = Generation::new(std::array::from_fn(|at| at as u8), line.clone());
        assert_eq!(device.read(0, 8), Ok(0x0706_0504_0302_0100));
        assert_eq!((device.read(13, 1), device.read(14, 2)), (Ok(13), Ok(0x0f0e)));
        assert_eq!((device.read(12, 8), device.read(4088, 8)), (Ok(0x0f0e_0d0c), Ok(0)));
        device.write(0, 8, u64::MAX).unwrap();
        assert_eq!((device.read(0, 1), line.level()), (Ok(0), false));
        device.renew([7; SIZE]);
        assert_eq!((device.read(15, 1), line.level()), (Ok(7), true));
        let other = Generation::new([0; SIZE], Arc::new(RecordedLine::default()));
        other.restore(device.save()).unwrap();
        assert_eq!(other.save(), device.save());
    }
}
