//! The virtio-mmio transport, legacy (v1) and modern (v2).
//!
//! A store to QueueNotify serves the queue on the thread that stored, which is
//! the vCPU's, in batches: all chains that are there, then one interrupt. Two
//! harts that ring at once do not wait for each other:
//!
//! ```text
//! ring: kicks |= queue; while kicks ≠ 0 and the lock is free: lock, serve, unlock
//! ```
//!
//! Whoever holds the lock looks at `kicks` again after unlocking, so no kick is
//! lost. A batch has a budget; what is left over goes to the helper thread, so no
//! hart is kept in a doorbell by the others.
//!
//! A malformed chain breaks the device until the driver resets it: it takes no
//! more chains, and (modern) says DEVICE_NEEDS_RESET.

mod registers;
mod slot;
mod state;
#[cfg(test)]
mod tests;

pub use slot::EmptySlot;
pub use state::VirtioState;

use super::chain::{Chain, Malformed, total};
use super::helper::Helper;
use super::interrupt::{CONFIG, Interrupt, USED};
use super::queue::VirtQueue;
use super::{ANY_LAYOUT, Deferred, EVENT_IDX, Outcome, RING_FEATURES, VERSION_1, VirtioDevice};
use crate::metrics::Counter;
use crate::wires::IrqLine;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use virtio_bindings::virtio_config::{VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_NEEDS_RESET};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// Bytes after which a batch ends: what a hart may be kept in a doorbell for.
const BATCH_BYTES: u64 = 16 << 20;
/// How often a hart serves kicks of others before the helper takes over.
const ROUNDS: usize = 4;

/// Which register layout a transport has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Version {
    /// Version 1: a queue is one page number.
    Legacy,
    /// Version 2: virtio 1.0 and later.
    Modern,
}

/// What went through the queues of a device.
#[derive(Debug, Default)]
pub struct QueueCounters {
    /// Stores to QueueNotify.
    pub kicks: Counter,
    /// Chains served.
    pub chains: Counter,
    /// Interrupts raised for chains given back.
    pub interrupts: Counter,
    /// Batches given back for which the driver wanted no interrupt.
    pub suppressed: Counter,
    /// Chains and batches left to the helper thread.
    pub deferred: Counter,
    /// Malformed chains; each broke the device until its reset.
    pub broken: Counter,
}

/// A transport with its device.
pub struct VirtioMmio<M, D> {
    version: Version,
    mem: Arc<M>,
    interrupt: Interrupt,
    /// A bit for each queue somebody rang for that was not served since.
    kicks: AtomicU32,
    queues: usize,
    core: Mutex<Core<D>>,
    helper: Helper,
    counters: QueueCounters,
    this: Weak<VirtioMmio<M, D>>,
}

struct Core<D> {
    device: D,
    queues: Vec<VirtQueue>,
    /// The chain being served; kept for its allocations.
    chain: Chain,
    status: u32,
    driver_features: u64,
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
    /// Legacy: bytes of the driver's page.
    page_size: u32,
    config_generation: u32,
    broken: bool,
    /// Counts resets, so that deferred work of an earlier life is recognised.
    epoch: u64,
}

/// Why a batch ended.
enum Batch {
    /// The queue is empty, or its front has to wait.
    Done,
    /// The budget is used up.
    Left,
}

impl<M, D> VirtioMmio<M, D>
where
    M: GuestMemory + Send + Sync + 'static,
    D: VirtioDevice<M>,
{
    /// A transport for `device`, whose DMA goes through `mem` and whose interrupt
    /// is `line`.
    pub fn new(version: Version, device: D, mem: Arc<M>, line: Arc<dyn IrqLine>) -> Arc<VirtioMmio<M, D>> {
        let queues: Vec<VirtQueue> = device.queue_sizes().iter().map(|&max| VirtQueue::new(max)).collect();
        Arc::new_cyclic(|this| VirtioMmio {
            version,
            mem,
            interrupt: Interrupt::new(line),
            kicks: AtomicU32::new(0),
            queues: queues.len(),
            core: Mutex::new(Core::new(device, queues)),
            helper: Helper::new(),
            counters: QueueCounters::default(),
            this: this.clone(),
        })
    }

    /// What went through the queues.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// Puts transport and device into their reset state, as at power-on.
    pub fn reset(&self) {
        self.enter(|core| {
            self.reset_device(core);
            core.page_size = 0;
        });
    }

    /// Changes what the configuration space shows, and tells the driver.
    pub fn change_config(&self, change: impl FnOnce(&mut D)) {
        self.enter(|core| {
            change(&mut core.device);
            core.config_generation = core.config_generation.wrapping_add(1);
            if core.driver_ok() {
                self.interrupt.raise(CONFIG);
            }
        });
    }

    /// There may be something to do in queue `index`.
    pub fn kick(&self, index: usize) {
        if index < self.queues {
            self.kicks.fetch_or(1 << index, SeqCst);
            self.catch_up();
        }
    }

    /// Runs `f` under the lock, then what others rang for meanwhile.
    fn enter<R>(&self, f: impl FnOnce(&mut Core<D>) -> R) -> R {
        let result = f(&mut self.core.lock());
        self.catch_up();
        result
    }

    /// Serves what was rung for, unless somebody is at it; takes no lock before.
    fn catch_up(&self) {
        self.serve_kicks();
        self.helper.assist();
    }

    fn serve_kicks(&self) {
        for _ in 0..ROUNDS {
            if self.kicks.load(SeqCst) == 0 {
                return;
            }
            // Somebody is inside, and will come here when out.
            let Some(mut core) = self.core.try_lock() else { return };
            let mut kicks = self.kicks.swap(0, SeqCst);
            while kicks != 0 {
                let index = kicks.trailing_zeros() as usize;
                kicks &= kicks - 1;
                self.serve(&mut core, index);
            }
        }
        if self.kicks.load(SeqCst) != 0 {
            self.hand_over(None);
        }
    }

    /// Leaves queue `index`, or whatever was rung for, to the helper.
    fn hand_over(&self, index: Option<usize>) {
        self.counters.deferred.add(1);
        let this = self.this.clone();
        self.helper.post(Box::new(move || {
            let Some(this) = this.upgrade() else { return };
            match index {
                Some(index) => this.kick(index),
                None => this.catch_up(),
            }
        }));
    }

    fn serve(&self, core: &mut Core<D>, index: usize) {
        if !core.queues[index].ready() || !core.running(self.version) {
            return;
        }
        let batch = self.serve_batch(core, index);
        let told = self.tell_driver(core, index);
        match batch.and_then(|batch| told.map(|()| batch)) {
            Ok(Batch::Done) => {}
            Ok(Batch::Left) => self.hand_over(Some(index)),
            Err(malformed) => self.fail(core, malformed),
        }
    }

    fn serve_batch(&self, core: &mut Core<D>, index: usize) -> Result<Batch, Malformed> {
        let mem = &*self.mem;
        let (mut budget, mut bytes) = (core.queues[index].size(), 0);
        loop {
            core.queues[index].quiet(mem)?;
            while core.queues[index].pop(&mut core.chain, mem)? {
                let head = core.chain.head();
                match core.device.serve(index, &core.chain, mem) {
                    Outcome::Done(written) => core.queues[index].give_back(head, written, mem)?,
                    Outcome::Later(deferred) => self.defer(core.epoch, index, head, deferred),
                    Outcome::Malformed(malformed) => return Err(malformed),
                    Outcome::Wait => {
                        core.queues[index].put_back();
                        return Ok(Batch::Done);
                    }
                }
                self.counters.chains.add(1);
                budget -= 1;
                bytes += total(core.chain.readable()) + total(core.chain.writable());
                if budget == 0 || bytes > BATCH_BYTES {
                    return Ok(Batch::Left);
                }
            }
            if !core.queues[index].listen(mem)? {
                return Ok(Batch::Done);
            }
        }
    }

    fn defer(&self, epoch: u64, index: usize, head: u16, deferred: Deferred) {
        self.counters.deferred.add(1);
        let this = self.this.clone();
        self.helper.post(Box::new(move || {
            let answer = (deferred.work)();
            if let Some(this) = this.upgrade() {
                this.finish(epoch, index, head, answer, deferred.answer_at, deferred.written);
            }
        }));
    }

    /// Gives back a chain whose work is done, unless the driver has reset the
    /// device meanwhile: then its memory is no longer the device's.
    fn finish(&self, epoch: u64, index: usize, head: u16, answer: u8, answer_at: u64, written: u32) {
        self.enter(|core| {
            if core.epoch != epoch || core.broken {
                return;
            }
            let answered = self.mem.write_obj(answer, GuestAddress(answer_at)).map_err(|_| Malformed::Ring);
            let given = answered.and_then(|()| core.queues[index].give_back(head, written, &*self.mem));
            if let Err(malformed) = given.and_then(|()| self.tell_driver(core, index)) {
                self.fail(core, malformed);
            }
        });
    }

    fn tell_driver(&self, core: &mut Core<D>, index: usize) -> Result<(), Malformed> {
        match core.queues[index].owes_interrupt(&*self.mem)? {
            Some(true) => {
                self.counters.interrupts.add(1);
                self.interrupt.raise(USED);
            }
            Some(false) => self.counters.suppressed.add(1),
            None => {}
        }
        Ok(())
    }

    fn fail(&self, core: &mut Core<D>, malformed: Malformed) {
        tracing::debug!(device = core.device.id(), %malformed, "a virtio device is broken until its reset");
        self.counters.broken.add(1);
        core.broken = true;
        if self.version == Version::Modern {
            core.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
            if core.driver_ok() {
                self.interrupt.raise(CONFIG);
            }
        }
    }

    fn reset_device(&self, core: &mut Core<D>) {
        core.queues.iter_mut().for_each(VirtQueue::reset);
        core.device.reset();
        core.device.negotiated(0);
        core.status = 0;
        core.driver_features = 0;
        core.queue_sel = 0;
        core.broken = false;
        core.epoch += 1;
        self.interrupt.set(0);
    }

    fn offered(&self, core: &Core<D>) -> u64 {
        let transport = match self.version {
            Version::Legacy => ANY_LAYOUT,
            Version::Modern => VERSION_1,
        };
        core.device.features() | RING_FEATURES | transport
    }

    /// The features in force: offered and accepted.
    fn features(&self, core: &Core<D>) -> u64 {
        self.offered(core) & core.driver_features
    }

    fn event_idx(&self, core: &Core<D>) -> bool {
        self.features(core) & EVENT_IDX != 0
    }

    /// A bit for each queue.
    fn all_queues(&self) -> u32 {
        (1 << self.queues) - 1
    }
}

impl<D> Core<D> {
    fn new(device: D, queues: Vec<VirtQueue>) -> Core<D> {
        Core {
            device,
            queues,
            chain: Chain::default(),
            status: 0,
            driver_features: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            queue_sel: 0,
            page_size: 0,
            config_generation: 0,
            broken: false,
            epoch: 0,
        }
    }

    fn driver_ok(&self) -> bool {
        self.status & VIRTIO_CONFIG_S_DRIVER_OK != 0
    }

    /// Whether chains are taken. Legacy drivers may use a queue before DRIVER_OK.
    fn running(&self, version: Version) -> bool {
        !self.broken && (self.driver_ok() || version == Version::Legacy)
    }

    fn selected(&self) -> Option<&VirtQueue> {
        self.queues.get(self.queue_sel as usize)
    }
}
