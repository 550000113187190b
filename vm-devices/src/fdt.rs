//! Device-tree nodes: each device writes its own.
//!
//! Names, compatibles and properties are those of QEMU's `virt` board, because
//! kernels match on them. All nodes here go under `/soc`, whose `#address-cells`
//! and `#size-cells` are 2; [`crate::power`] also has two nodes for the root.

use crate::map::Window;
use vm_fdt::{Error, FdtWriter};

/// Where a device sits, and the phandles its node refers to.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// Its addresses.
    pub window: Window,
    /// Its PLIC source, if it has one.
    pub irq: Option<u32>,
    /// Phandle of the PLIC, the parent of `irq`.
    pub plic: u32,
    /// Phandle the device's own node gets, if others refer to it.
    pub phandle: Option<u32>,
    /// Phandle of each hart's `riscv,cpu-intc` node, by hart.
    pub cpu_intc: &'a [u32],
}

impl Site<'_> {
    /// Writes `reg`.
    pub fn reg(&self, fdt: &mut FdtWriter) -> Result<(), Error> {
        fdt.property_array_u64("reg", &[self.window.base, self.window.size])
    }

    /// Writes `interrupt-parent` and `interrupts` if the device has an interrupt.
    pub fn interrupt(&self, fdt: &mut FdtWriter) -> Result<(), Error> {
        let Some(irq) = self.irq else { return Ok(()) };
        fdt.property_u32("interrupt-parent", self.plic)?;
        fdt.property_u32("interrupts", irq)
    }

    /// Writes `phandle` if the node has one.
    pub fn own_phandle(&self, fdt: &mut FdtWriter) -> Result<(), Error> {
        self.phandle.map_or(Ok(()), |phandle| fdt.property_phandle(phandle))
    }

    /// Writes `interrupts-extended`: one entry per hart and interrupt number.
    pub fn hart_interrupts(&self, fdt: &mut FdtWriter, numbers: &[u32]) -> Result<(), Error> {
        let cells: Vec<u32> =
            self.cpu_intc.iter().flat_map(|&intc| numbers.iter().flat_map(move |&n| [intc, n])).collect();
        fdt.property_array_u32("interrupts-extended", &cells)
    }

    /// The node's name: `kind@base`.
    pub fn name(&self, kind: &str) -> String {
        format!("{kind}@{:x}", self.window.base)
    }
}

/// Writes `compatible` with several values, most specific first.
pub(crate) fn compatible(fdt: &mut FdtWriter, values: &[&str]) -> Result<(), Error> {
    fdt.property_string_list("compatible", values.iter().map(|v| (*v).to_owned()).collect())
}

/// A device that describes itself to the guest.
pub trait DeviceTree {
    /// Writes the device's node as a child of the node that is open.
    fn fdt(&self, fdt: &mut FdtWriter, site: &Site) -> Result<(), Error>;
}
