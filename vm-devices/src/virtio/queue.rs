//! One virtqueue: where the driver put it, what was taken, what was given back.
//!
//! The rings are `virtio-queue`'s. Around them stand the checks it leaves to its
//! user: the rings lie in guest memory, a chain is well formed ([`Chain`]), and
//! an interrupt the driver does not want is not raised.

use super::chain::{Chain, Malformed};
use crate::snapshot::RestoreError;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};

const DESCRIPTOR: u64 = 16;
/// Flags, index and event of the available ring, and one element.
const AVAIL_FIXED: u64 = 6;
const AVAIL_ELEMENT: u64 = 2;
/// The same of the used ring.
const USED_FIXED: u64 = 6;
const USED_ELEMENT: u64 = 8;

/// Alignment of the used ring in a legacy queue unless the driver says otherwise.
const LEGACY_ALIGN: u32 = 4096;

/// A queue as a snapshot keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Elements, as the driver chose.
    pub size: u16,
    /// The driver handed the queue over.
    pub ready: bool,
    /// The next entry of the available ring.
    pub next_avail: u16,
    /// The next entry of the used ring.
    pub next_used: u16,
    /// Where the rings are, or are going to be.
    pub place: Place,
}

/// Where the driver says a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Guest-physical address of the descriptor table.
    pub desc: u64,
    /// Guest-physical address of the available ring.
    pub avail: u64,
    /// Guest-physical address of the used ring.
    pub used: u64,
    /// Legacy: page number of the descriptor table; 0 = none.
    pub pfn: u32,
    /// Legacy: alignment of the used ring.
    pub align: u32,
}

impl Place {
    const NOWHERE: Place = Place { desc: 0, avail: 0, used: 0, pfn: 0, align: LEGACY_ALIGN };

    /// Lays a legacy queue of `size` out from its page number. `None` if it wraps.
    pub(super) fn lay_out(&mut self, page_size: u32, size: u16) -> Option<()> {
        let (size, align) = (u64::from(size), u64::from(self.align));
        self.desc = u64::from(self.pfn).checked_mul(page_size.into())?;
        self.avail = self.desc.checked_add(DESCRIPTOR * size)?;
        let avail_end = self.avail.checked_add(AVAIL_FIXED + AVAIL_ELEMENT * size)?;
        self.used = avail_end.checked_next_multiple_of(align)?;
        Some(())
    }
}

/// A virtqueue.
pub(super) struct VirtQueue {
    queue: Queue,
    /// What the driver has written; taken over when it makes the queue ready.
    pub(super) place: Place,
    /// Chains given back since the driver was last told.
    given_back: bool,
}

impl VirtQueue {
    /// A queue of up to `max` elements, a power of two.
    pub(super) fn new(max: u16) -> VirtQueue {
        let queue = Queue::new(max).unwrap_or_default();
        VirtQueue { queue, place: Place::NOWHERE, given_back: false }
    }

    pub(super) fn max_size(&self) -> u16 {
        self.queue.max_size()
    }

    pub(super) fn size(&self) -> u16 {
        self.queue.size()
    }

    pub(super) fn ready(&self) -> bool {
        self.queue.ready()
    }

    /// Chooses the number of elements; a number the queue cannot have is ignored.
    pub(super) fn set_size(&mut self, size: u32) {
        if let Ok(size) = u16::try_from(size) {
            // The error says only that the number is out of range.
            let _ = self.queue.try_set_size(size);
        }
    }

    pub(super) fn reset(&mut self) {
        self.queue.reset();
        self.place = Place::NOWHERE;
        self.given_back = false;
    }

    /// Takes the queue over from the driver at its place.
    pub(super) fn start<M: GuestMemory>(&mut self, event_idx: bool, mem: &M) -> Result<(), Malformed> {
        let Place { desc, avail, used, .. } = self.place;
        let size = u64::from(self.size());
        let parts = [
            (desc, DESCRIPTOR * size, Permissions::Read),
            (avail, AVAIL_FIXED + AVAIL_ELEMENT * size, Permissions::Read),
            (used, USED_FIXED + USED_ELEMENT * size, Permissions::Write),
        ];
        // `virtio-queue` takes 0 for "not set".
        let usable = avail != 0
            && parts
                .iter()
                .all(|&(gpa, len, access)| mem.check_range(GuestAddress(gpa), len as usize, access));
        let queue = &mut self.queue;
        let placed = usable
            && queue.try_set_desc_table_address(GuestAddress(desc)).is_ok()
            && queue.try_set_avail_ring_address(GuestAddress(avail)).is_ok()
            && queue.try_set_used_ring_address(GuestAddress(used)).is_ok();
        queue.set_event_idx(event_idx);
        queue.set_ready(placed);
        if placed { Ok(()) } else { Err(Malformed::Ring) }
    }

    pub(super) fn set_event_idx(&mut self, enabled: bool) {
        self.queue.set_event_idx(enabled);
    }

    /// Takes the next chain into `chain`; `false` if there is none.
    pub(super) fn pop<M: GuestMemory>(&mut self, chain: &mut Chain, mem: &M) -> Result<bool, Malformed> {
        let next = self.queue.iter(mem).map_err(|_| Malformed::Ring)?.next();
        match next {
            Some(descriptors) => chain.gather(descriptors, mem).map(|()| true),
            None => Ok(false),
        }
    }

    /// Puts the chain taken last back to the front.
    pub(super) fn put_back(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Gives the chain `head` back with `written` bytes in it.
    pub(super) fn give_back<M: GuestMemory>(
        &mut self,
        head: u16,
        written: u32,
        mem: &M,
    ) -> Result<(), Malformed> {
        self.given_back = true;
        self.queue.add_used(mem, head, written).map_err(|_| Malformed::Ring)
    }

    /// Asks the driver not to kick for now.
    pub(super) fn quiet<M: GuestMemory>(&mut self, mem: &M) -> Result<(), Malformed> {
        self.queue.disable_notification(mem).map_err(|_| Malformed::Ring)
    }

    /// Asks the driver to kick for the next chain; `true` if there already is one.
    pub(super) fn listen<M: GuestMemory>(&mut self, mem: &M) -> Result<bool, Malformed> {
        self.queue.enable_notification(mem).map_err(|_| Malformed::Ring)
    }

    /// Whether chains were given back since the last call, and if so, whether the
    /// driver wants to be interrupted for them.
    pub(super) fn owes_interrupt<M: GuestMemory>(&mut self, mem: &M) -> Result<Option<bool>, Malformed> {
        if !std::mem::take(&mut self.given_back) {
            return Ok(None);
        }
        let wanted = self.queue.needs_notification(mem).map_err(|_| Malformed::Ring)?;
        // Without event indices the driver has only a flag, which `virtio-queue`
        // does not look at.
        let refused = !self.queue.event_idx_enabled() && {
            let avail = GuestAddress(self.queue.avail_ring());
            let flags: u16 = mem.load(avail, Ordering::Relaxed).map_err(|_| Malformed::Ring)?;
            u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT != 0
        };
        Ok(Some(wanted && !refused))
    }

    pub(super) fn save(&self) -> QueueRecord {
        QueueRecord {
            size: self.queue.size(),
            ready: self.queue.ready(),
            next_avail: self.queue.next_avail(),
            next_used: self.queue.next_used(),
            place: self.place,
        }
    }

    /// A queue like this one with the saved state.
    pub(super) fn restored<M: GuestMemory>(
        &self,
        record: &QueueRecord,
        event_idx: bool,
        mem: &M,
    ) -> Result<VirtQueue, RestoreError> {
        let invalid = |what, found: u64| RestoreError::Value { what, found };
        let mut queue = Queue::try_from(QueueState { max_size: self.max_size(), ..self.queue.state() })
            .map_err(|_| invalid("queue", self.max_size().into()))?;
        queue.reset();
        queue.try_set_size(record.size).map_err(|_| invalid("queue size", record.size.into()))?;
        if !record.place.align.is_power_of_two() {
            return Err(invalid("queue alignment", record.place.align.into()));
        }
        let mut restored = VirtQueue { queue, place: record.place, given_back: false };
        if record.ready {
            restored.start(event_idx, mem).map_err(|_| invalid("queue address", record.place.desc))?;
        }
        restored.queue.set_next_avail(record.next_avail);
        restored.queue.set_next_used(record.next_used);
        Ok(restored)
    }
}
