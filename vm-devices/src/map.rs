//! The memory map and the interrupt numbers of the machine, written once.
//!
//! They are those of QEMU's `virt` board, so that kernels with compiled-in
//! addresses run unmodified. Everything else (bus, device tree, tests) derives
//! from here.

use std::ops::Range;

/// A window of guest-physical addresses that belongs to one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Window {
    /// The addresses of the window.
    pub const fn range(self) -> Range<u64> {
        self.base..self.base + self.size
    }
}

/// Power and reset (`sifive,test`).
pub const TEST: Window = Window { base: 0x10_0000, size: 0x1000 };
/// Goldfish real-time clock.
pub const RTC: Window = Window { base: 0x10_1000, size: 0x1000 };
/// Generation id.
pub const GENERATION: Window = Window { base: 0x10_2000, size: 0x1000 };
/// Core-local interruptor: software interrupts and the machine timer.
pub const CLINT: Window = Window { base: 0x200_0000, size: 0x1_0000 };
/// Platform-level interrupt controller.
pub const PLIC: Window = Window { base: 0xc00_0000, size: 0x60_0000 };
/// 16550 serial port.
pub const UART: Window = Window { base: 0x1000_0000, size: 0x100 };
/// First byte of RAM.
pub const RAM_BASE: u64 = 0x8000_0000;

/// How many virtio-mmio transports the machine has.
pub const VIRTIO_SLOTS: usize = 8;

/// The window of virtio-mmio transport `slot`, or `None` past the last slot.
pub const fn virtio(slot: usize) -> Option<Window> {
    if slot < VIRTIO_SLOTS {
        Some(Window { base: 0x1000_1000 + slot as u64 * 0x1000, size: 0x1000 })
    } else {
        None
    }
}

/// The PLIC source of virtio-mmio transport `slot`, or `None` past the last slot.
pub const fn virtio_irq(slot: usize) -> Option<u32> {
    if slot < VIRTIO_SLOTS { Some(1 + slot as u32) } else { None }
}

/// PLIC source of the UART.
pub const UART_IRQ: u32 = 10;
/// PLIC source of the real-time clock.
pub const RTC_IRQ: u32 = 11;
/// PLIC source of the generation id.
pub const GENERATION_IRQ: u32 = 12;
/// PLIC sources, counting the source 0 that does not exist.
pub const PLIC_SOURCES: u32 = 96;
/// Ticks of `mtime` in a second.
pub const TIMEBASE_HZ: u64 = 10_000_000;
/// Input clock of the UART, which drivers divide to a baud rate.
pub const UART_CLOCK_HZ: u32 = 3_686_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_neither_overlap_nor_reach_ram() {
        let mut windows = vec![TEST, RTC, GENERATION, CLINT, PLIC, UART];
        windows.extend((0..VIRTIO_SLOTS).filter_map(virtio));
        windows.sort_by_key(|w| w.base);
        for pair in windows.windows(2) {
            assert!(pair[0].range().end <= pair[1].base, "{pair:x?}");
        }
        assert!(windows.last().is_some_and(|w| w.range().end <= RAM_BASE));
        assert_eq!(virtio(VIRTIO_SLOTS), None);
        assert_eq!(virtio_irq(VIRTIO_SLOTS), None);
    }
}
