//! The registers of a virtio-mmio transport (virtio 1.2, section 4.2.2 and, for
//! version 1, section 4.2.4).
//!
//! Only aligned words are registers; the configuration space takes any width.
//! Everything else loads 0 and ignores stores, as QEMU does.

use super::super::queue::VirtQueue;
use super::super::{VirtioDevice, bit};
use super::{Core, Version, VirtioMmio};
use crate::bus::{MmioDevice, MmioError};
use std::sync::atomic::Ordering::SeqCst;
use virtio_bindings::virtio_config::{VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET};
use virtio_bindings::virtio_mmio::*;
use vm_memory::GuestMemory;

/// "virt".
pub(super) const MAGIC: u32 = 0x7472_6976;
/// "QEMU", which some drivers insist on.
pub(super) const VENDOR: u32 = 0x554d_4551;
/// What SHMLen and SHMBase show: no shared memory region.
const NO_SHARED_MEMORY: u32 = u32::MAX;
const STATUS_BITS: u32 = 0xff;

impl Version {
    /// What the Version register shows.
    pub(super) fn number(self) -> u32 {
        match self {
            Version::Legacy => 1,
            Version::Modern => 2,
        }
    }
}

fn low(whole: u64) -> u32 {
    whole as u32
}

fn set_low(whole: &mut u64, value: u32) {
    *whole = *whole & !0xffff_ffff | u64::from(value);
}

fn set_high(whole: &mut u64, value: u32) {
    *whole = *whole & 0xffff_ffff | u64::from(value) << 32;
}

/// The half of a 64-bit feature set that `selector` selects.
fn half(features: u64, selector: u32) -> u32 {
    match selector {
        0 => low(features),
        1 => low(features >> 32),
        _ => 0,
    }
}

impl<M, D> MmioDevice for VirtioMmio<M, D>
where
    M: GuestMemory + Send + Sync + 'static,
    D: VirtioDevice<M>,
{
    fn read(&self, offset: u64, size: u8) -> Result<u64, MmioError> {
        if let Some(at) = config_offset(offset) {
            return Ok(self.enter(|core| read_config(core.device.config(), at, size)));
        }
        let register = word_register(offset, size);
        Ok(match register {
            Some(VIRTIO_MMIO_INTERRUPT_STATUS) => self.interrupt.status(),
            Some(register) => self.enter(|core| self.read_register(core, register)),
            None => 0,
        }
        .into())
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), MmioError> {
        if let Some(at) = config_offset(offset) {
            let bytes = value.to_le_bytes();
            let stored = &bytes[..usize::from(size).min(bytes.len())];
            self.enter(|core| core.device.write_config(at, stored));
            return Ok(());
        }
        let value = value as u32;
        match word_register(offset, size) {
            Some(VIRTIO_MMIO_QUEUE_NOTIFY) => {
                self.counters.kicks.add(1);
                self.kick(value as usize);
            }
            Some(VIRTIO_MMIO_INTERRUPT_ACK) => self.interrupt.acknowledge(value),
            Some(register) => self.enter(|core| self.write_register(core, register, value)),
            None => {}
        }
        Ok(())
    }
}

fn config_offset(offset: u64) -> Option<usize> {
    offset.checked_sub(VIRTIO_MMIO_CONFIG.into()).map(|at| at as usize)
}

fn word_register(offset: u64, size: u8) -> Option<u32> {
    (size == 4 && offset.is_multiple_of(4)).then_some(offset as u32)
}

fn read_config(config: &[u8], at: usize, size: u8) -> u64 {
    let mut bytes = [0; 8];
    let there = config.get(at..).unwrap_or_default();
    let count = there.len().min(size.into()).min(bytes.len());
    bytes[..count].copy_from_slice(&there[..count]);
    u64::from_le_bytes(bytes)
}

impl<M, D> VirtioMmio<M, D>
where
    M: GuestMemory + Send + Sync + 'static,
    D: VirtioDevice<M>,
{
    fn read_register(&self, core: &Core<D>, register: u32) -> u32 {
        match register {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => self.version.number(),
            VIRTIO_MMIO_DEVICE_ID => core.device.id(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => half(self.offered(core), core.device_features_sel),
            VIRTIO_MMIO_QUEUE_NUM_MAX => core.selected().map_or(0, |queue| queue.max_size().into()),
            VIRTIO_MMIO_STATUS => core.status,
            _ => match self.version {
                Version::Legacy => read_legacy(core, register),
                Version::Modern => read_modern(core, register),
            },
        }
    }

    fn write_register(&self, core: &mut Core<D>, register: u32, value: u32) {
        match register {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => core.device_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => core.driver_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES => self.accept_features(core, value),
            VIRTIO_MMIO_QUEUE_SEL => core.queue_sel = value,
            VIRTIO_MMIO_STATUS => self.write_status(core, value & STATUS_BITS),
            _ => {
                let index = core.queue_sel as usize;
                if index < core.queues.len() {
                    match self.version {
                        Version::Legacy => self.write_legacy(core, index, register, value),
                        Version::Modern => self.write_modern(core, index, register, value),
                    }
                } else if self.version == Version::Legacy && register == VIRTIO_MMIO_GUEST_PAGE_SIZE {
                    core.page_size = value;
                }
            }
        }
    }

    /// Stores half of the accepted features, which FEATURES_OK freezes.
    fn accept_features(&self, core: &mut Core<D>, value: u32) {
        let frozen = self.version == Version::Modern && core.status & VIRTIO_CONFIG_S_FEATURES_OK != 0;
        match core.driver_features_sel {
            _ if frozen => return,
            0 => set_low(&mut core.driver_features, value),
            1 if self.version == Version::Modern => set_high(&mut core.driver_features, value),
            _ => return,
        }
        let features = self.features(core);
        core.device.negotiated(features);
        let event_idx = self.event_idx(core);
        core.queues.iter_mut().for_each(|queue| queue.set_event_idx(event_idx));
    }

    fn write_status(&self, core: &mut Core<D>, value: u32) {
        if value == 0 {
            return self.reset_device(core);
        }
        let was_ok = core.driver_ok();
        core.status |= value & !VIRTIO_CONFIG_S_NEEDS_RESET;
        // A driver that accepts what was not offered is told so. One that does
        // not accept VERSION_1 is served all the same: teaching kernels do that.
        if self.version == Version::Modern && core.driver_features & !self.offered(core) != 0 {
            core.status &= !VIRTIO_CONFIG_S_FEATURES_OK;
        }
        if core.driver_ok() && !was_ok {
            self.kicks.fetch_or(self.all_queues(), SeqCst);
        }
    }

    fn write_modern(&self, core: &mut Core<D>, index: usize, register: u32, value: u32) {
        let queue = &mut core.queues[index];
        match register {
            VIRTIO_MMIO_QUEUE_READY if value & 1 == 0 => self.stop_queue(core, index),
            VIRTIO_MMIO_QUEUE_READY => self.start_queue(core, index),
            _ if queue.ready() => {}
            VIRTIO_MMIO_QUEUE_NUM => queue.set_size(value),
            VIRTIO_MMIO_QUEUE_DESC_LOW => set_low(&mut queue.place.desc, value),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => set_high(&mut queue.place.desc, value),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_low(&mut queue.place.avail, value),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_high(&mut queue.place.avail, value),
            VIRTIO_MMIO_QUEUE_USED_LOW => set_low(&mut queue.place.used, value),
            VIRTIO_MMIO_QUEUE_USED_HIGH => set_high(&mut queue.place.used, value),
            _ => {}
        }
    }

    fn write_legacy(&self, core: &mut Core<D>, index: usize, register: u32, value: u32) {
        let queue = &mut core.queues[index];
        match register {
            VIRTIO_MMIO_GUEST_PAGE_SIZE => core.page_size = value,
            VIRTIO_MMIO_QUEUE_PFN if value == 0 => self.stop_queue(core, index),
            _ if queue.ready() => {}
            VIRTIO_MMIO_QUEUE_NUM => queue.set_size(value),
            VIRTIO_MMIO_QUEUE_ALIGN if value.is_power_of_two() => queue.place.align = value,
            VIRTIO_MMIO_QUEUE_PFN => {
                queue.place.pfn = value;
                let size = queue.size();
                match queue.place.lay_out(core.page_size, size) {
                    Some(()) => self.start_queue(core, index),
                    None => self.fail(core, super::Malformed::Ring),
                }
            }
            _ => {}
        }
    }

    fn start_queue(&self, core: &mut Core<D>, index: usize) {
        let event_idx = self.event_idx(core);
        if core.queues[index].ready() {
            return;
        }
        match core.queues[index].start(event_idx, &*self.mem) {
            Ok(()) => _ = self.kicks.fetch_or(bit(index as u32) as u32, SeqCst),
            Err(malformed) => self.fail(core, malformed),
        }
    }

    /// Takes a queue away from the device, and work under way for it with it.
    fn stop_queue(&self, core: &mut Core<D>, index: usize) {
        core.queues[index].reset();
        core.epoch += 1;
    }
}

fn read_legacy<D>(core: &Core<D>, register: u32) -> u32 {
    match register {
        VIRTIO_MMIO_QUEUE_PFN => core.selected().map_or(0, |queue: &VirtQueue| queue.place.pfn),
        _ => 0,
    }
}

fn read_modern<D>(core: &Core<D>, register: u32) -> u32 {
    match register {
        VIRTIO_MMIO_QUEUE_READY => core.selected().map_or(0, |queue| queue.ready().into()),
        VIRTIO_MMIO_SHM_LEN_LOW
        | VIRTIO_MMIO_SHM_LEN_HIGH
        | VIRTIO_MMIO_SHM_BASE_LOW
        | VIRTIO_MMIO_SHM_BASE_HIGH => NO_SHARED_MEMORY,
        VIRTIO_MMIO_CONFIG_GENERATION => core.config_generation,
        _ => 0,
    }
}
