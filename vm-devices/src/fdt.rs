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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;
    use crate::testing::wires::{BufferConsole, ManualClock, RecordedLine, RecordedLines};
    use crate::virtio::{EmptySlot, Version};
    use crate::{Clint, HostWallClock, Plic, Power, PowerEvents, Rtc, Uart};
    use std::fmt::Write;
    use std::sync::Arc;

    struct NoPower;

    impl PowerEvents for NoPower {
        fn shutdown(&self, _code: u16) {}
        fn reset(&self) {}
    }

    /// The nodes and properties of a device tree blob, a line each.
    fn dump(blob: &[u8]) -> String {
        let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
        let text = |at: usize| blob[at..].split(|&b| b == 0).next().map(String::from_utf8_lossy).unwrap();
        let (mut at, strings) = (word(8), word(12));
        let (mut out, mut depth) = (String::new(), 0);
        loop {
            let token = word(at);
            at += 4;
            match token {
                1 => {
                    let name = text(at);
                    writeln!(out, "{:depth$}{name} {{", "").unwrap();
                    at = (at + name.len() + 1).next_multiple_of(4);
                    depth += 2;
                }
                2 => depth -= 2,
                3 => {
                    let (len, name) = (word(at), text(strings + word(at + 4)));
                    let value = &blob[at + 8..at + 8 + len];
                    let printable = value.len() > 1 && value.iter().all(|b| *b == 0 || b.is_ascii_graphic());
                    let value = match printable && value[0] != 0 {
                        true => String::from_utf8_lossy(value).trim_end_matches('\0').replace('\0', " "),
                        false => {
                            value.chunks(4).map(|c| format!("{:x}", word_of(c))).collect::<Vec<_>>().join(" ")
                        }
                    };
                    let line = format!("{:depth$}{name} = {value}", "");
                    writeln!(out, "{}", line.trim_end()).unwrap();
                    at = (at + 8 + len).next_multiple_of(4);
                }
                9 => return out,
                _ => panic!("unknown token {token}"),
            }
        }
    }

    fn word_of(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte))
    }

    #[test]
    fn nodes_are_those_of_the_virt_board() {
        let lines = Arc::new(RecordedLines::new(2));
        let line = Arc::new(RecordedLine::default());
        type Placed = (Box<dyn DeviceTree>, Window, Option<u32>, Option<u32>);
        let devices: [Placed; 6] = [
            (Box::new(Power::new(Arc::new(NoPower))), map::TEST, None, Some(6)),
            (Box::new(Rtc::new(Arc::new(HostWallClock), line.clone())), map::RTC, Some(map::RTC_IRQ), None),
            (
                Box::new(Clint::new(2, lines.clone(), Arc::new(ManualClock::default()))),
                map::CLINT,
                None,
                None,
            ),
            (Box::new(Plic::new(2, lines)), map::PLIC, None, Some(5)),
            (
                Box::new(Uart::new(Arc::new(BufferConsole::default()), line)),
                map::UART,
                Some(map::UART_IRQ),
                None,
            ),
            (
                Box::new(EmptySlot { version: Version::Modern }),
                map::virtio(2).unwrap(),
                map::virtio_irq(2),
                None,
            ),
        ];
        let mut fdt = FdtWriter::new().unwrap();
        let root = fdt.begin_node("").unwrap();
        Power::root_nodes(&mut fdt, 6).unwrap();
        for (device, window, irq, phandle) in devices {
            device.fdt(&mut fdt, &Site { window, irq, plic: 5, phandle, cpu_intc: &[2, 4] }).unwrap();
        }
        fdt.end_node(root).unwrap();
        let dump = dump(&fdt.finish().unwrap());
        assert_eq!(dump, include_str!("fdt.golden"), "\n{dump}");
    }
}
