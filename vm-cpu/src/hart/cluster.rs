//! All harts of a machine as their surroundings see them: ports, clock, timers.
//!
//! Nothing here stops the world. A remote fence is a letter to each target, and the sender waits only
//! until those that are executing guest code have acted on it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use parking_lot::Mutex;
use vm_mmu::CodeListener;

use super::clock::Clock;
use super::port::{self, Mail, Port};
use super::strict::Reserved;

/// The greatest number of harts of a machine.
pub const MAX_HARTS: usize = 16;

/// Shared by the threads of all harts, by devices and by the control plane.
#[derive(Debug)]
pub struct Cluster {
    ports: Box<[Arc<Port>]>,
    clock: Clock,
    timers: Timers,
    /// Waits until no device works by itself.
    quieten: OnceLock<Quieten>,
    /// Reservations of harts that are configured to be strict about them.
    pub(super) reserved: Mutex<Reserved>,
}

/// See [`Cluster::set_quieten`].
struct Quieten(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Quieten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quieten")
    }
}

/// Deadlines of harts that run, watched by one thread. A sleeping hart watches its own.
#[derive(Debug)]
struct Timers {
    /// The tick at which a hart wants to be kicked; `u64::MAX` for never.
    deadlines: Box<[AtomicU64]>,
    /// `mtimecmp` of each hart.
    compare: Box<[AtomicU64]>,
    /// What the watcher sleeps for.
    next: AtomicU64,
    watcher: Mutex<Option<Thread>>,
}

fn atomics(n: usize) -> Box<[AtomicU64]> {
    (0..n).map(|_| AtomicU64::new(u64::MAX)).collect()
}

impl Cluster {
    /// Sets what waits until no device works by itself: what a hart tries and takes back must not be seen by one.
    pub fn set_quieten(&self, quieten: Box<dyn Fn() + Send + Sync>) {
        // The first stays.
        let _ = self.quieten.set(Quieten(quieten));
    }

    /// Waits until no device works by itself.
    pub(crate) fn quieten(&self) {
        self.quieten.get().inspect(|quieten| (quieten.0)());
    }

    /// A cluster of `harts` (1 to [`MAX_HARTS`]) harts on `clock`.
    ///
    /// # Panics
    /// If the number of harts is out of range: callers check their options first.
    pub fn new(harts: usize, clock: Clock) -> Arc<Self> {
        assert!((1..=MAX_HARTS).contains(&harts), "1 to {MAX_HARTS} harts");
        Arc::new(Self {
            ports: (0..harts).map(|_| Arc::default()).collect(),
            clock,
            quieten: OnceLock::new(),
            reserved: Mutex::default(),
            timers: Timers {
                deadlines: atomics(harts),
                compare: atomics(harts),
                next: AtomicU64::new(u64::MAX),
                watcher: Mutex::new(None),
            },
        })
    }

    /// Number of harts.
    pub fn harts(&self) -> usize {
        self.ports.len()
    }

    /// The machine's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The port of a hart.
    ///
    /// # Panics
    /// If there is no such hart.
    pub fn port(&self, hart: usize) -> &Arc<Port> {
        &self.ports[hart]
    }

    /// Sets interrupt wires of a hart (bits of `mip`); an unknown hart is ignored.
    pub fn raise(&self, hart: usize, bits: u64) {
        if let Some(port) = self.ports.get(hart) {
            port.set_lines(bits, true);
        }
    }

    /// Clears interrupt wires of a hart; an unknown hart is ignored.
    pub fn lower(&self, hart: usize, bits: u64) {
        if let Some(port) = self.ports.get(hart) {
            port.set_lines(bits, false);
        }
    }

    /// Raises a supervisor software interrupt in each hart of `mask`; unknown harts are ignored.
    pub fn send_ipi(&self, mask: u64) {
        for (hart, port) in self.ports.iter().enumerate() {
            if mask >> hart & 1 == 1 {
                port.post_software();
            }
        }
    }

    /// Sets `mtimecmp` of a hart; an unknown hart is ignored.
    pub fn set_mtimecmp(&self, hart: usize, ticks: u64) {
        if let Some(compare) = self.timers.compare.get(hart) {
            compare.store(ticks, SeqCst);
            self.ports[hart].kick(port::INTERRUPT);
        }
    }

    /// `mtimecmp` of a hart; never for an unknown one.
    pub fn mtimecmp(&self, hart: usize) -> u64 {
        self.timers.compare.get(hart).map_or(u64::MAX, |c| c.load(SeqCst))
    }

    /// Every hart that executes comes to the end of its unit or block soon.
    pub fn kick_all(&self) {
        for port in &self.ports {
            port.kick(port::MAIL);
        }
    }

    /// The clock was written: every hart looks at its timers again.
    pub fn clock_changed(&self) {
        for port in &self.ports {
            port.kick(port::INTERRUPT);
        }
    }

    /// Makes `Hart::run` return soon.
    pub fn request_exit(&self, hart: usize) {
        if let Some(port) = self.ports.get(hart) {
            port.kick(port::REQUEST);
        }
    }

    /// Posts `letter` to the harts of `mask` except `from`, and waits until none of them can execute
    /// another guest instruction without having acted on it.
    pub fn post_and_wait(&self, from: usize, mask: u64, letter: Mail) {
        let targets = (0..self.ports.len()).filter(|&hart| hart != from && mask >> hart & 1 == 1);
        let letters: Vec<_> = targets.map(|hart| (hart, self.ports[hart].post(letter))).collect();
        self.wait_until_read(&letters);
    }

    /// Waits until no hart can execute another guest instruction without having acted on its letter
    /// among `letters` (hart, number). The caller must not be a hart that executes guest code.
    pub(super) fn wait_until_read(&self, letters: &[(usize, u64)]) {
        for &(hart, number) in letters {
            let mut turns = 0u32;
            while !self.ports[hart].has_read(number) {
                turns += 1;
                if turns < 64 { std::hint::spin_loop() } else { thread::yield_now() }
            }
        }
    }

    /// When the watcher of timers will kick `hart`.
    pub(super) fn deadline(&self, hart: usize) -> u64 {
        self.timers.deadlines[hart].load(Relaxed)
    }

    /// Asks to be kicked at tick `deadline`; replaces what the hart asked for before.
    pub(crate) fn arm(&self, hart: usize, deadline: u64) {
        if self.timers.deadlines[hart].swap(deadline, SeqCst) == deadline {
            return;
        }
        if deadline < self.timers.next.load(SeqCst)
            && let Some(watcher) = &*self.timers.watcher.lock()
        {
            watcher.unpark();
        }
    }

    /// Starts the thread that watches the deadlines of running harts. It ends when the last other
    /// reference to the cluster is gone, at the latest a second later.
    pub fn watch_timers(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let weak = Arc::downgrade(self);
        let handle = thread::Builder::new().name("timers".into()).spawn(move || {
            port::sharpen_timers();
            let second = std::time::Duration::from_secs(1);
            while let Some(cluster) = weak.upgrade() {
                let nap = cluster.fire_due().map_or(second, |nap| nap.min(second));
                drop(cluster);
                thread::park_timeout(nap);
            }
        })?;
        *self.timers.watcher.lock() = Some(handle.thread().clone());
        handle.thread().unpark();
        Ok(handle)
    }

    /// Kicks the harts whose time has come; gives the time to the next deadline.
    pub(super) fn fire_due(&self) -> Option<std::time::Duration> {
        // Awake: whoever arms from here on is seen by the scan below or finds `next` in the future.
        self.timers.next.store(u64::MAX, SeqCst);
        let now = self.clock.now();
        let mut next = u64::MAX;
        for (port, slot) in self.ports.iter().zip(&self.timers.deadlines) {
            let deadline = slot.load(SeqCst);
            if deadline > now {
                next = next.min(deadline);
            } else if slot.compare_exchange(deadline, u64::MAX, SeqCst, SeqCst).is_ok() && !port.is_sleeping()
            {
                port.kick(port::INTERRUPT);
            }
        }
        self.timers.next.store(next, SeqCst);
        // An earlier deadline may have come between the scan and the store.
        let earliest = self.timers.deadlines.iter().map(|d| d.load(SeqCst)).min().unwrap_or(u64::MAX);
        self.clock.until(earliest.min(next))
    }
}

impl CodeListener for Cluster {
    fn code_written(&self, page: u64, granules: u64) {
        for port in &self.ports {
            port.post(Mail::CodeWritten { page, granules });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_running_hart_is_kicked_at_its_deadline() {
        let cluster = Cluster::new(2, Clock::host());
        let _watcher = cluster.watch_timers().unwrap();
        cluster.arm(1, cluster.clock().now() + 20_000); // 2 ms
        let start = Instant::now();
        while cluster.port(1).attention() == 0 && start.elapsed() < Duration::from_secs(10) {
            thread::yield_now();
        }
        assert_eq!(cluster.port(1).attention(), port::INTERRUPT);
        assert_eq!(cluster.port(0).attention(), 0);
        assert!(start.elapsed() >= Duration::from_millis(2));
    }

    #[test]
    fn a_remote_fence_waits_for_harts_inside_only() {
        let cluster = Cluster::new(3, Clock::manual());
        cluster.port(1).enter();
        let reader = thread::spawn({
            let cluster = cluster.clone();
            move || {
                let mut letters = Vec::new();
                while letters.is_empty() {
                    let number = cluster.port(1).take_mail(&mut letters);
                    if !letters.is_empty() {
                        cluster.port(1).confirm(number);
                    }
                }
                letters
            }
        });
        cluster.post_and_wait(0, 0b111, Mail::FenceI);
        assert_eq!(reader.join().unwrap(), [Mail::FenceI]);
        let mut parked = Vec::new();
        cluster.port(2).take_mail(&mut parked);
        assert_eq!(parked, [Mail::FenceI]);
        let mut own = Vec::new();
        cluster.port(0).take_mail(&mut own);
        assert_eq!(own, []);
    }
}
