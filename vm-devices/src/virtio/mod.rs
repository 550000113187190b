//! virtio devices behind virtio-mmio transports.
//!
//! ```text
//!  registers, status, features   mmio::VirtioMmio<M, D>
//!  rings, checked chains         queue, chain
//!  requests                      D: VirtioDevice<M>  (block, console, entropy)
//! ```
//!
//! A device sees only checked chains and answers with an [`Outcome`]; rings,
//! suppression of kicks and interrupts, batching and what follows from a malformed
//! chain are the transport's. **Invariant:** a device touches guest memory only
//! inside the segments of the chain it was given.

pub mod block;
pub mod chain;
pub mod console;
pub mod entropy;
mod helper;
mod host;
mod interrupt;
pub mod mmio;
pub mod queue;

use crate::snapshot::RestoreError;
use chain::{Chain, Malformed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use virtio_bindings::{virtio_config, virtio_ring};
use vm_memory::GuestMemory;

pub use block::{Access, Block, Disk, DiskError};
pub use console::VirtioConsole;
pub use entropy::Entropy;
pub use mmio::{EmptySlot, Version, VirtioMmio, VirtioState};

/// The bit of feature number `feature`.
pub(crate) const fn bit(feature: u32) -> u64 {
    1 << feature
}

/// Features of the rings, which every device has.
const RING_FEATURES: u64 =
    bit(virtio_ring::VIRTIO_RING_F_EVENT_IDX) | bit(virtio_ring::VIRTIO_RING_F_INDIRECT_DESC);
const VERSION_1: u64 = bit(virtio_config::VIRTIO_F_VERSION_1);
const EVENT_IDX: u64 = bit(virtio_ring::VIRTIO_RING_F_EVENT_IDX);
/// Legacy name for "any division of a request into descriptors will do".
const ANY_LAYOUT: u64 = bit(virtio_config::VIRTIO_F_ANY_LAYOUT);

/// What a device did with a chain.
pub enum Outcome {
    /// Done; so many bytes of the writable segments count as written.
    Done(u32),
    /// Work for the helper thread; the chain is given back when it is done.
    Later(Deferred),
    /// Nothing to do with it yet: it stays at the front of its queue.
    Wait,
    /// The chain cannot be a request of this device, which breaks.
    Malformed(Malformed),
}

/// Work that a vCPU does not wait for, and its answer: one byte.
pub struct Deferred {
    /// The work; runs without any lock.
    pub work: Box<dyn FnOnce() -> u8 + Send>,
    /// Guest-physical address the answer is written to.
    pub answer_at: u64,
    /// How many bytes of the writable segments count as written.
    pub written: u32,
}

/// A virtio device, apart from its transport.
///
/// All calls come under the transport's lock, so a device is never entered twice
/// at a time, and what it calls must not call back into the transport.
pub trait VirtioDevice<M: GuestMemory>: Send + 'static {
    /// What a snapshot keeps of it.
    type State: Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq;

    /// The layout of that: another number is another layout.
    const VERSION: u16;

    /// Device ID (virtio 1.2, section 5).
    fn id(&self) -> u32;
    /// Largest number of elements of each queue, powers of two.
    fn queue_sizes(&self) -> &[u16];
    /// The device's own features; those of rings and transport are added.
    fn features(&self) -> u64;
    /// The configuration space, as the driver reads it.
    fn config(&self) -> &[u8];
    /// A store into the configuration space.
    fn write_config(&mut self, _offset: usize, _bytes: &[u8]) {}
    /// The features the driver has accepted.
    fn negotiated(&mut self, _features: u64) {}
    /// Serves `chain` of queue `queue`.
    fn serve(&mut self, queue: usize, chain: &Chain, mem: &M) -> Outcome;
    /// The driver has reset the device.
    fn reset(&mut self) {}
    /// What to keep.
    fn save(&self) -> Self::State;
    /// Takes over what was kept. On an error the device is unchanged.
    fn restore(&mut self, state: Self::State) -> Result<(), RestoreError>;
}
