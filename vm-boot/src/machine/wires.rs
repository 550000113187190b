//! Adapters: the devices' small traits on one side, the harts' cluster and bus on the other.

use std::sync::Arc;

use vm_cpu::csr::fields::mip;
use vm_cpu::hart::{Bus, BusError, Cluster};
use vm_devices::{Clock, HartLine, HartLines, MmioBus, MmioError};

/// Devices as harts see them.
pub(super) struct DeviceBus(pub MmioBus);

impl Bus for DeviceBus {
    fn read(&self, gpa: u64, size: u8) -> Result<u64, BusError> {
        self.0.read(gpa, size).map_err(|error| refused(gpa, error))
    }

    fn write(&self, gpa: u64, size: u8, value: u64) -> Result<(), BusError> {
        self.0.write(gpa, size, value).map_err(|error| refused(gpa, error))
    }
}

/// The guest hears of it by an access fault; people only if they ask.
fn refused(gpa: u64, error: MmioError) -> BusError {
    tracing::trace!(%error, "access fault");
    BusError { gpa }
}

/// The cluster's wires and clock as devices see them.
pub(super) struct ClusterWires(pub Arc<Cluster>);

impl HartLines for ClusterWires {
    fn set(&self, hart: usize, line: HartLine, level: bool) {
        let bit = match line {
            HartLine::Msip => mip::MSIP,
            HartLine::Mtip => mip::MTIP,
            HartLine::Meip => mip::MEIP,
            HartLine::Seip => mip::SEIP,
        };
        if level { self.0.raise(hart, bit) } else { self.0.lower(hart, bit) }
    }

    fn set_mtimecmp(&self, hart: usize, ticks: u64) {
        self.0.set_mtimecmp(hart, ticks);
    }
}

impl Clock for ClusterWires {
    fn ticks(&self) -> u64 {
        self.0.clock().now()
    }

    fn set_ticks(&self, ticks: u64) {
        self.0.clock().set(ticks);
        self.0.clock_changed();
    }
}
