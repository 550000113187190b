//! Saving and restoring a transport with its device.

use super::super::VirtioDevice;
use super::super::queue::{QueueRecord, VirtQueue};
use super::{Version, VirtioMmio};
use crate::snapshot::{RestoreError, Snapshot};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::SeqCst;
use vm_memory::GuestMemory;

/// What a snapshot keeps of a transport, and `S` of its device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioState<S> {
    /// Device ID.
    pub id: u32,
    /// Register layout.
    pub version: Version,
    /// Status register.
    pub status: u32,
    /// A malformed chain stopped the device.
    pub broken: bool,
    /// What the driver accepted.
    pub driver_features: u64,
    /// DeviceFeaturesSel register.
    pub device_features_sel: u32,
    /// DriverFeaturesSel register.
    pub driver_features_sel: u32,
    /// QueueSel register.
    pub queue_sel: u32,
    /// GuestPageSize register.
    pub page_size: u32,
    /// ConfigGeneration register.
    pub config_generation: u32,
    /// InterruptStatus register.
    pub interrupt: u32,
    /// The queues.
    pub queues: Vec<QueueRecord>,
    /// The device.
    pub device: S,
}

impl<M, D> Snapshot for VirtioMmio<M, D>
where
    M: GuestMemory + Send + Sync + 'static,
    D: VirtioDevice<M>,
{
    type State = VirtioState<D::State>;
    /// The transport's in the upper half, the device's in the lower.
    const VERSION: u32 = 1 << 16 | D::VERSION as u32;

    fn quiesce(&self) {
        self.helper.wait_idle();
    }

    fn save(&self) -> Self::State {
        self.enter(|core| VirtioState {
            id: core.device.id(),
            version: self.version,
            status: core.status,
            broken: core.broken,
            driver_features: core.driver_features,
            device_features_sel: core.device_features_sel,
            driver_features_sel: core.driver_features_sel,
            queue_sel: core.queue_sel,
            page_size: core.page_size,
            config_generation: core.config_generation,
            interrupt: self.interrupt.status(),
            queues: core.queues.iter().map(VirtQueue::save).collect(),
            device: core.device.save(),
        })
    }

    fn restore(&self, state: Self::State) -> Result<(), RestoreError> {
        self.enter(|core| {
            let expect = |what, expected: u32, found: u32| match expected == found {
                true => Ok(()),
                false => Err(RestoreError::Value { what, found: found.into() }),
            };
            expect("virtio device id", core.device.id(), state.id)?;
            expect("virtio transport version", self.version.number(), state.version.number())?;
            RestoreError::check_count("virtqueues", core.queues.len(), state.queues.len())?;
            let event_idx = self.offered(core) & state.driver_features & super::EVENT_IDX != 0;
            let pairs = core.queues.iter().zip(&state.queues);
            let queues: Result<Vec<VirtQueue>, RestoreError> =
                pairs.map(|(queue, record)| queue.restored(record, event_idx, &*self.mem)).collect();
            let queues = queues?;
            core.device.restore(state.device)?;
            core.queues = queues;
            core.status = state.status;
            core.broken = state.broken;
            core.driver_features = state.driver_features;
            core.device_features_sel = state.device_features_sel;
            core.driver_features_sel = state.driver_features_sel;
            core.queue_sel = state.queue_sel;
            core.page_size = state.page_size;
            core.config_generation = state.config_generation;
            core.epoch += 1;
            let features = self.features(core);
            core.device.negotiated(features);
            self.interrupt.set(state.interrupt);
            Ok(())
        })
    }

    fn resume(&self) {
        self.kicks.fetch_or(self.all_queues(), SeqCst);
        self.catch_up();
    }
}
