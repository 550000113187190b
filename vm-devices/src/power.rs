//! Power and reset: the `sifive,test` device.
//!
//! A store of a command ends the machine: `0x5555` passes, `0x3333` fails with
//! the exit code in the upper half-word, `0x7777` resets. Linux, OpenSBI and bare
//! test programs all use it; the device has no state.

use crate::bus::{MmioDevice, MmioError};
use crate::fdt::{DeviceTree, Site, compatible};
use crate::wires::PowerEvents;
use std::sync::Arc;
use vm_fdt::{Error, FdtWriter};

const FAIL: u16 = 0x3333;
const PASS: u16 = 0x5555;
const RESET: u16 = 0x7777;

/// The test device.
pub struct Power {
    events: Arc<dyn PowerEvents>,
}

impl Power {
    /// A device that reports to `events`.
    pub fn new(events: Arc<dyn PowerEvents>) -> Power {
        Power { events }
    }

    /// Writes `/poweroff` and `/reboot`, through which a kernel without SBI finds
    /// the commands; `test` is the phandle of the test device's node.
    pub fn root_nodes(fdt: &mut FdtWriter, test: u32) -> Result<(), Error> {
        for (name, kind, command) in
            [("poweroff", "syscon-poweroff", PASS), ("reboot", "syscon-reboot", RESET)]
        {
            let node = fdt.begin_node(name)?;
            fdt.property_string("compatible", kind)?;
            fdt.property_u32("regmap", test)?;
            fdt.property_u32("offset", 0)?;
            fdt.property_u32("value", command.into())?;
            fdt.end_node(node)?;
        }
        Ok(())
    }
}

impl MmioDevice for Power {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        check_width(offset, size).map(|()| 0)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError> {
        check_width(offset, size)?;
        let (command, code) = (value as u16, (value >> 16) as u16);
        match (offset, command) {
            (0, PASS) => self.events.shutdown(0),
            (0, FAIL) => self.events.shutdown(code),
            (0, RESET) => self.events.reset(),
            _ => tracing::debug!(offset, value, "the test device knows no such command"),
        }
        Ok(())
    }
}

/// QEMU's device takes half-words and words.
fn check_width(offset: u64, size: u8) -> Result<(), MmioError> {
    if matches!(size, 2 | 4) { Ok(()) } else { Err(MmioError::Refused { offset, size }) }
}

impl DeviceTree for Power {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        let node = fdt.begin_node(&site.name("test"))?;
        compatible(fdt, &["sifive,test1", "sifive,test0", "syscon"])?;
        site.reg(fdt)?;
        site.own_phandle(fdt)?;
        fdt.end_node(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<Option<u16>>>);

    impl PowerEvents for Log {
        fn shutdown(&self, code: u16) {
            self.0.lock().push(Some(code));
        }
        fn reset(&self) {
            self.0.lock().push(None);
        }
    }

    #[test]
    fn commands_end_the_machine_and_nothing_else_does() {
        let log = Arc::new(Log::default());
        let power = Power::new(log.clone());
        for (offset, size, value) in [
            (0, 4, 0x5555),
            (0, 4, 7 << 16 | 0x3333),
            (0, 2, 0x7777),
            (4, 4, 0x5555),
            (0, 4, 0),
            (0, 4, 0x5554),
        ] {
            power.write(offset, size, value).unwrap();
        }
        assert_eq!(*log.0.lock(), [Some(0), Some(7), None]);
        assert_eq!(power.read(0, 4), Ok(0));
    }

    #[test]
    fn byte_and_double_word_access_is_refused() {
        let log = Arc::new(Log::default());
        let power = Power::new(log.clone());
        assert!(power.write(0, 8, 0x5555).is_err());
        assert!(power.write(0, 1, 0x55).is_err());
        assert!(power.read(0, 1).is_err());
        assert!(log.0.lock().is_empty());
    }
}
