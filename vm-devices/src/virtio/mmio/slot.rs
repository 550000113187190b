//! What the guest finds besides a device's registers: empty transports, and the
//! device-tree nodes of all of them.

use super::super::VirtioDevice;
use super::registers::{MAGIC, VENDOR};
use super::{Version, VirtioMmio};
use crate::bus::{MmioDevice, MmioError};
use crate::fdt::{DeviceTree, Site};
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_VENDOR_ID, VIRTIO_MMIO_VERSION};
use vm_fdt::{Error, FdtWriter};
use vm_memory::GuestMemory;

/// A transport without a device. Kernels that probe all transports find device
/// ID 0 there instead of an access fault.
#[derive(Clone, Copy, Debug)]
pub struct EmptySlot {
    /// What its Version register shows.
    pub version: Version,
}

impl MmioDevice for EmptySlot {
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        const MAGIC_VALUE: u64 = VIRTIO_MMIO_MAGIC_VALUE as u64;
        const VERSION: u64 = VIRTIO_MMIO_VERSION as u64;
        const VENDOR_ID: u64 = VIRTIO_MMIO_VENDOR_ID as u64;
        Ok(match (offset, size) {
            (MAGIC_VALUE, 4) => MAGIC,
            (VERSION, 4) => self.version.number(),
            (VENDOR_ID, 4) => VENDOR,
            _ => 0,
        }
        .into())
    }

    fn write(&self, _offset: u64, _size: u8, _value: u64) -> Result<(), MmioError> {
        Ok(())
    }
}

impl DeviceTree for EmptySlot {
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        write_node(fdt, site)
    }
}

impl<M, D> DeviceTree for VirtioMmio<M, D>
where
    M: GuestMemory + Send + Sync + 'static,
    D: VirtioDevice<M>,
{
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
        write_node(fdt, site)
    }
}

fn write_node(fdt: &mut FdtWriter, site: &Site) -> Result<(), Error> {
    let node = fdt.begin_node(&site.name("virtio_mmio"))?;
    fdt.property_string("compatible", "virtio,mmio")?;
    site.reg(fdt)?;
    site.interrupt(fdt)?;
    fdt.end_node(node)
}
