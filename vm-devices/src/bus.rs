//! The MMIO bus: which device answers at a guest-physical address.
//!
//! The set of devices is fixed before the first hart starts, so a lookup is a
//! binary search in an immutable, sorted table and takes no lock. An access
//! belongs to one device or to none: one that runs over the end of a window is
//! an error, which the hart turns into an access fault.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A device that answers loads and stores.
///
/// Harts call it concurrently. `size` is 1, 2, 4 or 8 and `offset` counts from
/// the start of the device's window; both come from the guest, and the window is
/// the only thing that is already checked.
pub trait MmioDevice: Send + Sync {
    /// Loads `size` bytes; the value is zero-extended.
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError>;
    /// Stores the low `size` bytes of `value`.
    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError>;
}

/// Why an access ends in an access fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MmioError {
    /// No device covers the whole access.
    #[error("no device covers the {size}-byte access at {gpa:#x}")]
    NoDevice {
        /// Guest-physical address of the access.
        gpa: u64,
        /// Bytes accessed.
        size: u8,
    },
    /// The device has no register of that width there.
    #[error("the device refuses a {size}-byte access at offset {offset:#x}")]
    Refused {
        /// Offset in the device's window.
        offset: u64,
        /// Bytes accessed.
        size: u8,
    },
}

/// Why a device cannot be attached to the bus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The window has no byte.
    #[error("window {0:#x?} is empty")]
    Empty(Range<u64>),
    /// The window overlaps that of an attached device.
    #[error("window {new:#x?} overlaps the attached window {attached:#x?}")]
    Overlap {
        /// The window asked for.
        new: Range<u64>,
        /// The window it runs into.
        attached: Range<u64>,
    },
}

struct Attached {
    window: Range<u64>,
    device: Arc<dyn MmioDevice>,
}

/// Guest-physical address → device.
#[derive(Default)]
pub struct MmioBus {
    /// Sorted by address, without overlaps.
    attached: Vec<Attached>,
}

impl MmioBus {
    /// A bus without devices.
    pub fn new() -> MmioBus {
        MmioBus::default()
    }

    /// Attaches `device` to the addresses `window`.
    pub fn attach(&mut self, window: Range<u64>, device: Arc<dyn MmioDevice>) -> Result<(), AttachError> {
        if window.is_empty() {
            return Err(AttachError::Empty(window));
        }
        let at = self.attached.partition_point(|a| a.window.end <= window.start);
        if let Some(next) = self.attached.get(at).filter(|next| next.window.start < window.end) {
            return Err(AttachError::Overlap { new: window, attached: next.window.clone() });
        }
        self.attached.insert(at, Attached { window, device });
        Ok(())
    }

    /// Loads `size` bytes at `gpa`; an error is an access fault.
    pub fn read(&self, gpa: u64, size: u8) -> Result<u64, MmioError> {
        let (device, offset) = self.find(gpa, size)?;
        device.read(offset, size)
    }

    /// Stores `size` bytes at `gpa`; an error is an access fault.
    pub fn write(&self, gpa: u64, size: u8, value: u64) -> Result<(), MmioError> {
        let (device, offset) = self.find(gpa, size)?;
        device.write(offset, size, value)
    }

    /// The windows with a device, lowest address first.
    pub fn windows(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.attached.iter().map(|a| a.window.clone())
    }

    #[inline]
    fn find(&self, gpa: u64, size: u8) -> Result<(&dyn MmioDevice, u64), MmioError> {
        let at = self.attached.partition_point(|a| a.window.end <= gpa);
        match self.attached.get(at) {
            Some(a) if a.window.start <= gpa && u64::from(size) <= a.window.end - gpa => {
                Ok((&*a.device, gpa - a.window.start))
            }
            _ => Err(MmioError::NoDevice { gpa, size }),
        }
    }
}

impl fmt::Debug for MmioBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.windows()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers a load with its own number and the offset.
    struct Echo(u64);

    impl MmioDevice for Echo {
        fn read(&self, offset: u64, _size: u8) -> Result<u64, MmioError> {
            Ok(self.0 << 32 | offset)
        }
        fn write(&self, offset: u64, size: u8, _value: u64) -> Result<(), MmioError> {
            Err(MmioError::Refused { offset, size })
        }
    }

    fn bus() -> MmioBus {
        let mut bus = MmioBus::new();
        for (window, number) in [(0x3000..0x4000, 3), (0x1000..0x2000, 1), (0x2000..0x2008, 2)] {
            bus.attach(window, Arc::new(Echo(number))).unwrap();
        }
        bus
    }

    #[test]
    fn access_reaches_the_device_that_covers_it() {
        let bus = bus();
        assert_eq!(bus.read(0x1000, 4), Ok(1 << 32));
        assert_eq!(bus.read(0x1ff8, 8), Ok(1 << 32 | 0xff8));
        assert_eq!(bus.read(0x2004, 4), Ok(2 << 32 | 4));
        assert_eq!(bus.read(0x3fff, 1), Ok(3 << 32 | 0xfff));
        assert_eq!(bus.write(0x2004, 4, 0), Err(MmioError::Refused { offset: 4, size: 4 }));
    }

    #[test]
    fn access_outside_or_across_a_window_is_an_error() {
        let bus = bus();
        for (gpa, size) in
            [(0, 1), (0xfff, 1), (0x1ffe, 4), (0x2004, 8), (0x2008, 1), (0x4000, 8), (u64::MAX, 8)]
        {
            assert_eq!(bus.read(gpa, size), Err(MmioError::NoDevice { gpa, size }));
        }
        assert!(MmioBus::new().read(0, 1).is_err());
    }

    #[test]
    fn overlapping_or_empty_window_is_refused() {
        let mut bus = bus();
        for window in [0x1fff..0x2001, 0x800..0x1001, 0x2004..0x2005, 0..u64::MAX] {
            assert!(matches!(bus.attach(window, Arc::new(Echo(9))), Err(AttachError::Overlap { .. })));
        }
        assert!(matches!(bus.attach(5..5, Arc::new(Echo(9))), Err(AttachError::Empty(_))));
        assert_eq!(bus.windows().count(), 3);
    }
}
