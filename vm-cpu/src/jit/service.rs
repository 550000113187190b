//! The threads that compile, and what they publish.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vm_codecache::{Cause, CodeCache, Config, Counters, Durations, Full, Histogram, New, Zone};
use vm_mmu::{AddressSpace, CodeListener, PAGE};

use super::abi::Site;
use super::ahead::{Ahead, Lease};
use super::compile::{CompileError, Compiler};
use super::enter::{self, Misfit};
use super::lift::{Binding, Options, Place};
use super::quick::{QuickShared, QuickStats};
use super::region::{Region, Shape, Surroundings};
use super::sites::{Known, assign_slots, sites_of};
use super::slots::{FIRST_KEY, FIRST_SLOT, SlotPool, SlotRange};
use crate::aot::profile::{Collector, Profile, Seen};
use crate::aot::shared::Loaded;
use crate::aot::warm::Resident;
use crate::hart::Cluster;
use crate::interp::{Block, granule_mask};
use crate::isa::{Extensions, Insn, Op};
use crate::lockstep::Lockstep;

/// How the compiler is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitConfig {
    /// Executions of a block after which the region around it is compiled.
    pub threshold: u64,
    /// So many times as many, if it has code of the quick tier and is not much of what runs; this part of them, if it
    /// has that and floating point.
    pub calm: u64,
    /// Executions after which a block gets code of the quick tier, if any does.
    pub quick: Option<u64>,
    /// Threads that compile.
    pub threads: usize,
    /// Regions that may wait; what comes when the queue is full is asked for again later.
    pub queue: usize,
    /// Optimisations in force.
    pub options: Options,
    /// The hart that asks waits for the unit: for tests.
    pub wait: bool,
    /// Size of the code cache's long-lived zone, where regions go, in bytes.
    pub long_zone: usize,
    /// Size of its short-lived zone, where quickly made code goes, in bytes.
    pub short_zone: usize,
    /// Code that stays lies in huge pages of the host.
    pub huge: bool,
    /// Units run in lock-step with the interpreter.
    pub lockstep: Option<Lockstep>,
    /// The image is new: one in so many entries into its code is compared with the interpreter, on a machine of
    /// one hart, besides the first ones.
    pub canary: Option<u64>,
    /// What is translated is noted for a profile.
    pub profile: bool,
    /// But for what the image covers.
    pub only_new: bool,
    /// Units take the first for the second: for tests of what must notice.
    pub mistake: Option<(Op, Op)>,
}

impl JitConfig {
    /// Executions of a block with floating point after which the region around it is compiled.
    pub(crate) fn threshold_of_float(&self) -> u64 {
        (self.threshold / self.calm).max(1)
    }
}

impl Default for JitConfig {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        JitConfig {
            threshold: 64_000,
            calm: 8,
            quick: Some(32),
            threads: (cores / 2).clamp(1, 4),
            queue: 256,
            options: Options::default(),
            wait: false,
            long_zone: 48 << 20,
            short_zone: 64 << 20,
            huge: true,
            lockstep: None,
            canary: None,
            profile: false,
            only_new: false,
            mistake: None,
        }
    }
}

/// Code that nearly every region fits into.
const ROOM: usize = 16 << 10;
/// How long, and how often, a compiling thread waits for room before it looks again.
const ROOM_TURN: Duration = Duration::from_millis(1);
const ROOM_TURNS: u32 = 250;

/// What a unit was made from.
pub(crate) struct Unit {
    pub(super) page: u64,
    /// Page of the second half of its only instruction, if that straddles two, else 0.
    pub(super) tail: u64,
    pub(super) sites: Box<[Site]>,
    /// Its inline caches.
    pub(super) slots: Option<SlotRange>,
    /// It is of the quick tier.
    pub(super) quick: bool,
    /// Of a region: what the instructions do not tell.
    pub(super) shape: Shape,
    /// Its hold on a unit of the image, if it is one.
    pub(super) lease: Option<Lease>,
}

/// What was learnt of accesses as they ran, by guest-physical address of the instruction.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// Their pages change too often for an inline cache.
    roaming: HashSet<u64>,
    /// They store to pages that hold code.
    beside: HashSet<u64>,
    /// They begin groups that lie across pages.
    apart: HashSet<u64>,
}

impl Learnt {
    /// Whether the access at an address has to look for code.
    pub fn is_beside(&self, gpa: u64) -> bool {
        !self.beside.is_empty() && self.beside.contains(&gpa)
    }

    /// Whether the group that begins at an address lies across pages too often to be one.
    pub fn is_apart(&self, gpa: u64) -> bool {
        !self.apart.is_empty() && self.apart.contains(&gpa)
    }
}

/// Addresses remembered at most of a kind, before all are forgotten.
const LEARNT: usize = 1 << 16;

fn learn(kind: &mut HashSet<u64>, found: impl IntoIterator<Item = u64>) {
    if kind.len() > LEARNT {
        kind.clear();
    }
    kind.extend(found);
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct JitStats {
    /// Regions published.
    pub regions: u64,
    /// Guest instructions in them.
    pub insns: u64,
    /// Bytes of host code.
    pub bytes: u64,
    /// Nanoseconds that threads spent compiling.
    pub nanoseconds: u64,
    /// How long a region took to compile.
    pub compiling: Durations,
    /// How long a region waited for a thread.
    pub waiting: Durations,
    /// Regions that wait now.
    pub queued: usize,
    /// The most that ever did.
    pub queued_max: usize,
    /// Regions asked for while the queue was full.
    pub refused: u64,
    /// Turns of a millisecond that compiling threads waited for room in the cache.
    pub crowded: u64,
    /// Regions that another one covered before it was their turn.
    pub covered: u64,
    /// Regions whose bytes had changed before they were published.
    pub stale: u64,
    /// Regions that the compiler gave up.
    pub failed: u64,
    /// Units made anew because inline caches were of no use.
    pub grounded: u64,
    /// Units made anew because they stored beside code.
    pub beside: u64,
    /// Units made anew because what they checked at once lay across pages.
    pub apart: u64,
    /// Of the quick tier.
    pub quick: QuickStats,
}

#[derive(Default)]
struct Counts {
    regions: AtomicU64,
    insns: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    compiling: Histogram,
    waiting: Histogram,
    queued_max: AtomicUsize,
    refused: AtomicU64,
    crowded: AtomicU64,
    covered: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    grounded: AtomicU64,
    beside: AtomicU64,
    apart: AtomicU64,
}

struct Queue {
    jobs: Mutex<Jobs>,
    length: AtomicUsize,
    ready: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<(Instant, Region)>,
    /// What was taken from there last.
    taken: VecDeque<Taken>,
    closed: bool,
}

/// A region that was taken to be compiled.
struct Taken {
    page: u64,
    /// Offsets of its blocks.
    blocks: Box<[u32]>,
    /// When it was done, if it is.
    done: Option<Instant>,
}

/// Regions that are remembered.
const TAKEN: usize = 8;

impl Jobs {
    /// Whether another region holds the block that asked for this one, and was not there yet when it did: blocks of
    /// one loop are hot at the same time, and whoever reaches one of them reaches the others. If not, it asks again.
    fn is_covered(&self, since: Instant, region: &Region) -> bool {
        let covers = |taken: &Taken| {
            taken.page == region.page
                && taken.done.is_none_or(|done| done >= since)
                && taken.blocks.binary_search(&region.seed).is_ok()
        };
        self.taken.iter().any(covers)
    }

    fn take(&mut self, region: &Region) {
        if self.taken.len() == TAKEN {
            self.taken.pop_front();
        }
        let blocks = region.blocks.iter().map(|block| block.offset).collect();
        self.taken.push_back(Taken { page: region.page, blocks, done: None });
    }

    /// A region that was taken is compiled, or will not be.
    fn done(&mut self, region: &Region, published: bool) {
        let is_it = |taken: &Taken| {
            taken.done.is_none()
                && taken.page == region.page
                && taken.blocks.binary_search(&region.seed).is_ok()
        };
        let Some(at) = self.taken.iter().position(is_it) else { return };
        if published {
            self.taken[at].done = Some(Instant::now());
        } else {
            self.taken.remove(at);
        }
    }
}

/// Whom to tell that code waits for room.
type WhenFull = OnceLock<Box<dyn Fn() + Send + Sync>>;

/// The optimising engine of a machine, shared by its harts.
pub struct Jit {
    config: JitConfig,
    pub(super) cache: Arc<CodeCache<Unit>>,
    pub(super) memory: Weak<AddressSpace>,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    when_full: Arc<WhenFull>,
    pub(super) learnt: Arc<Mutex<Learnt>>,
    /// What harts share that make code of the quick tier.
    pub(super) quick: QuickShared,
    pub(super) collector: Option<Arc<Collector>>,
    ahead: Option<Arc<Ahead>>,
    /// Who compiles if harts wait for it.
    own: Option<Mutex<Worker>>,
}

impl std::fmt::Debug for Jit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jit").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Jit {
    /// Starts the compiling threads, and listens to stores into `memory` on behalf of `cluster` as well.
    pub fn start(
        config: JitConfig,
        image: Option<Loaded>,
        memory: &Arc<AddressSpace>,
        cluster: &Arc<Cluster>,
    ) -> Result<Arc<Jit>, JitError> {
        let quick = config.quick.filter(|_| super::quick::is_supported());
        let config = JitConfig { quick, ..config };
        let (slot, key) = image.as_ref().map_or((FIRST_SLOT, FIRST_KEY), |image| Ahead::free_slots(image));
        let stable = image
            .as_ref()
            .map_or(0, |image| image.text().len() + image.words() as usize * 8 + 2 * PAGE as usize);
        let JitConfig { long_zone: long, short_zone: short, huge, .. } = config;
        let zones = Config { long, short, stable, huge, ..Config::default() };
        let cache = Arc::new(CodeCache::new(&zones, enter::stub())?);
        let ahead = image.map(|image| Ahead::new(image, &cache)).transpose()?;
        let queue =
            Arc::new(Queue { jobs: Mutex::default(), length: AtomicUsize::new(0), ready: Condvar::new() });
        let counts: Arc<Counts> = Arc::default();
        let learnt: Arc<Mutex<Learnt>> = Arc::default();
        let pool = SlotPool::new(slot, key);
        let collector = config.profile.then(Arc::<Collector>::default);
        let when_full: Arc<WhenFull> = Arc::default();
        let worker = || -> Result<Worker, CompileError> {
            Ok(Worker {
                compiler: Compiler::new()?,
                cache: cache.clone(),
                memory: Arc::downgrade(memory),
                queue: queue.clone(),
                counts: counts.clone(),
                when_full: when_full.clone(),
                options: Options { alone: config.lockstep == Some(Lockstep::Units), ..config.options },
                counted: ahead.is_some(),
                pool: pool.clone(),
                learnt: learnt.clone(),
                collector: collector.clone(),
                calm: config.calm > 1,
            })
        };
        let own = if config.wait { Some(Mutex::new(worker()?)) } else { None };
        for number in 0..if config.wait { 0 } else { config.threads.max(1) } {
            let worker = worker()?;
            thread::Builder::new().name(format!("jit-{number}")).spawn(move || worker.work())?;
        }
        let memory_of = Arc::downgrade(memory);
        let quick = QuickShared::default();
        let jit = Arc::new(Jit {
            config,
            cache,
            memory: memory_of,
            queue,
            counts,
            when_full,
            learnt,
            quick,
            collector,
            ahead,
            own,
        });
        memory
            .tracker()
            .set_listener(Arc::new(Listener { jit: Arc::downgrade(&jit), cluster: cluster.clone() }));
        let kicked = Arc::downgrade(cluster);
        jit.cache.set_kick(Box::new(move || {
            if let Some(cluster) = kicked.upgrade() {
                cluster.kick_all();
            }
        }));
        Ok(jit)
    }

    /// How it was configured.
    pub fn config(&self) -> &JitConfig {
        &self.config
    }

    /// Address of the cell of a guest-physical address that has a unit.
    #[inline]
    pub(crate) fn lookup(&self, gpa: u64) -> Option<u64> {
        self.cache.lookup(gpa)
    }

    /// Whether another region may be asked for now.
    pub(crate) fn has_room(&self) -> bool {
        let room = self.own.is_some() || self.queue.length.load(Relaxed) < self.config.queue;
        if !room {
            self.counts.refused.fetch_add(1, Relaxed);
        }
        room
    }

    /// Has a region compiled, unless too many wait.
    pub(crate) fn request(&self, mut region: Region) -> bool {
        if let Some((right, wrong)) = self.config.mistake {
            let insns = region.blocks.iter_mut().flat_map(|block| &mut block.insns);
            insns.filter(|insn| insn.op == right).for_each(|insn| insn.op = wrong);
        }
        if let Some(worker) = &self.own {
            worker.lock().compile(&region);
            return true;
        }
        let mut jobs = self.queue.jobs.lock();
        if jobs.waiting.len() >= self.config.queue {
            self.counts.refused.fetch_add(1, Relaxed);
            return false;
        }
        jobs.waiting.push_back((Instant::now(), region));
        self.queue.length.store(jobs.waiting.len(), Relaxed);
        self.counts.queued_max.fetch_max(jobs.waiting.len(), Relaxed);
        drop(jobs);
        self.queue.ready.notify_one();
        true
    }

    /// What has been noted so far, if it is.
    pub fn profile(&self) -> Option<Profile> {
        let (collector, memory) = (self.collector.as_ref()?, self.memory.upgrade()?);
        Some(self.profile_of(collector, &memory))
    }

    fn profile_of(&self, collector: &Collector, memory: &AddressSpace) -> Profile {
        let learnt = self.learnt.lock();
        let list = |kind: &HashSet<u64>| kind.iter().copied().collect::<Vec<u64>>();
        let [roaming, beside, apart] = [&learnt.roaming, &learnt.beside, &learnt.apart].map(list);
        drop(learnt);
        collector.profile(memory, |gpa| self.quick.heat.of(gpa), [&roaming, &beside, &apart])
    }

    /// What the optimised code in the cache was made from, as far as it can still be entered.
    pub fn resident(&self) -> Vec<Resident> {
        let Some(memory) = self.memory.upgrade() else { return Vec::new() };
        let mut found = Vec::new();
        self.cache.each_live(|number, heat, unit| {
            if !unit.quick && unit.is_true(&memory) {
                found.push((number, heat, unit.page, unit.sites.clone(), unit.shape.clone()));
            }
        });
        let residents = found.into_iter().filter_map(|(number, heat, page, mut sites, mut shape)| {
            // Others may have been made since for some of its entries.
            let leads_here = |&offset: &u16| self.unit_at(page + u64::from(offset)) == Some(number);
            shape.entries = shape.entries.into_iter().filter(leads_here).collect();
            let region = Region::again(page, &sites, &shape, heat.into())?;
            set_apart(page, &mut sites, &self.learnt.lock());
            Some(Resident { region, sites })
        });
        residents.collect()
    }

    /// The number of the unit that code which goes on at an address comes to.
    fn unit_at(&self, gpa: u64) -> Option<u32> {
        self.cache.resolve(self.cache.lookup(gpa).and_then(enter::target)?)
    }

    /// Whether what is not executed from an image is counted: one was given, whatever has become of it.
    pub(crate) fn counts_here(&self) -> bool {
        self.ahead.is_some()
    }

    /// Whether there is an image in use.
    pub(crate) fn has_image(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| !ahead.is_quarantined())
    }

    /// Whether the code at a host address is of an image in use.
    pub(crate) fn is_watched(&self, host_pc: u64) -> bool {
        self.has_image() && self.ahead.as_ref().is_some_and(|ahead| ahead.holds(&self.cache, host_pc))
    }

    /// The image was wrong: it is used no more, and all units die, so that none of its is left.
    pub(crate) fn quarantine(&self, report: Option<String>) {
        let Some(ahead) = &self.ahead else { return };
        ahead.quarantine(report.unwrap_or_default());
        let killed = self.cache.kill_all(Cause::Engine);
        tracing::warn!(killed, "the image's code was wrong once: it is used no more, the guest is unharmed");
    }

    /// How the image was wrong, once it was.
    pub fn quarantined(&self) -> Option<&str> {
        self.ahead.as_ref()?.report()
    }

    /// The guest-physical address of the instruction that the code at a host address is of, if the address is in
    /// the text of the image and the unit there is bound.
    pub fn guest_pc(&self, host_pc: u64) -> Option<u64> {
        self.ahead.as_ref()?.guest_pc(&self.cache, host_pc)
    }

    /// Binds a unit of the image that can be entered at `block`, whose first instruction is `first`. Whether
    /// there is one now. `mark` marks granules of a page as code.
    pub(crate) fn bind(
        &self,
        extensions: Extensions,
        block: &Block,
        first: &Insn,
        mark: impl FnMut(u64, u64),
    ) -> bool {
        let (Some(ahead), Some(memory)) = (&self.ahead, self.memory.upgrade()) else { return false };
        let suits = |page: u64, sites: &[Site]| {
            let learnt = self.learnt.lock();
            let is = |kind: &HashSet<u64>, site: &Site| kind.contains(&(page + u64::from(site.offset)));
            let misfit = |site: &Site| {
                site.slot != 0 && is(&learnt.roaming, site)
                    || !site.beside && is(&learnt.beside, site)
                    || !site.apart && is(&learnt.apart, site)
            };
            let learnt_some =
                !learnt.roaming.is_empty() || !learnt.beside.is_empty() || !learnt.apart.is_empty();
            !learnt_some || !sites.iter().any(misfit)
        };
        let Some(unit) = ahead.bind(&self.cache, &memory, extensions, (block, first), &suits, mark) else {
            return false;
        };
        if let Some(collector) = self.collector.as_ref().filter(|_| !self.config.only_new) {
            collector.saw(&memory, block.gpa & !(PAGE - 1), ahead.blocks(unit).into_iter(), Some(block.gpa));
        }
        true
    }

    /// Has room made in the code cache.
    pub(super) fn want_room(&self) {
        self.when_full.get().inspect(|tell| tell());
    }

    /// Executions of a block so far, by whatever engine.
    pub(crate) fn heat(&self, block: &Block) -> u64 {
        Surroundings::heat(self, block)
    }

    /// The block at `gpa` of the quick tier asks again after `left` more executions; the hart has retired `now`
    /// instructions.
    pub(crate) fn ask_again(&self, gpa: u64, left: u64, now: u64) {
        self.quick.heat.again(gpa, left, now);
    }

    /// Instructions retired since the block at `gpa` of the quick tier last asked.
    pub(crate) fn took(&self, gpa: u64, now: u64) -> u64 {
        self.quick.heat.took(gpa, now)
    }

    /// Kills the units of a page whose bytes are no longer in memory.
    pub(crate) fn verify(&self, page: u64) {
        let Some(memory) = self.memory.upgrade() else { return };
        self.cache.retain_page(page, |unit| unit.is_true(&memory), Cause::Fence);
    }

    /// Drops a unit some of whose accesses do not suit it; in the next one they are made otherwise.
    pub(crate) fn drop_misfit(&self, misfit: &Misfit) {
        match misfit {
            Misfit::Roaming { number, slots } => self.ground(*number, slots),
            Misfit::Beside { gpa } if self.config.options.beside => {
                learn(&mut self.learnt.lock().beside, [*gpa]);
                self.counts.beside.fetch_add(1, Relaxed);
                self.drop_units_of(*gpa);
            }
            Misfit::Beside { .. } => {}
            Misfit::Apart { gpa } => {
                learn(&mut self.learnt.lock().apart, [*gpa]);
                self.counts.apart.fetch_add(1, Relaxed);
                self.drop_units_of(*gpa);
            }
        }
    }

    fn drop_units_of(&self, gpa: u64) {
        let page = gpa & !(PAGE - 1);
        self.cache.invalidate(page, granule_mask(gpa - page, 1), Cause::Engine);
    }

    fn ground(&self, number: u32, slots: &[u16]) {
        let found = self.cache.meta(number, |unit| {
            if unit.lease.as_ref().is_some_and(Lease::bears_useless_slots) {
                return None;
            }
            let sites = unit.sites.iter().filter(|site| slots.contains(&site.slot));
            Some(sites.map(|site| unit.page + u64::from(site.offset)).collect::<Vec<u64>>())
        });
        let Some(found) = found.flatten() else { return };
        learn(&mut self.learnt.lock().roaming, found);
        self.counts.grounded.fetch_add(1, Relaxed);
        self.cache.kill(number, Cause::Engine);
    }

    /// Forgets every unit: the machine is reset.
    pub fn forget(&self) {
        self.cache.kill_all(Cause::Reset);
    }

    /// A step of the cache's housekeeping; for the control plane, several times a second.
    ///
    /// True if there is more to do right away.
    pub fn poll(&self) -> bool {
        self.cache.poll()
    }

    /// Sets what is called, on a compiling thread, when code waits for room that [`Jit::poll`] has to make.
    pub fn call_when_full(&self, when_full: Box<dyn Fn() + Send + Sync>) {
        // The first stays.
        let _ = self.when_full.set(when_full);
    }

    /// Counters of the code cache.
    pub fn cache_counters(&self) -> Counters {
        self.cache.counters()
    }

    /// Counters of the compiler.
    pub fn stats(&self) -> JitStats {
        let Counts {
            regions,
            insns,
            bytes,
            nanoseconds,
            compiling,
            waiting,
            queued_max,
            refused,
            crowded,
            covered,
            stale,
            failed,
            grounded,
            beside,
            apart,
        } = &*self.counts;
        JitStats {
            regions: regions.load(Relaxed),
            insns: insns.load(Relaxed),
            bytes: bytes.load(Relaxed),
            nanoseconds: nanoseconds.load(Relaxed),
            compiling: compiling.durations(),
            waiting: waiting.durations(),
            queued: self.queue.length.load(Relaxed),
            queued_max: queued_max.load(Relaxed),
            refused: refused.load(Relaxed),
            crowded: crowded.load(Relaxed),
            covered: covered.load(Relaxed),
            stale: stale.load(Relaxed),
            failed: failed.load(Relaxed),
            grounded: grounded.load(Relaxed),
            beside: beside.load(Relaxed),
            apart: apart.load(Relaxed),
            quick: self.quick.stats(),
        }
    }
}

impl Surroundings for Jit {
    fn has_region(&self, gpa: u64) -> bool {
        self.unit_at(gpa).and_then(|number| self.cache.meta(number, |unit| !unit.quick)).unwrap_or(false)
    }

    fn heat(&self, block: &Block) -> u64 {
        block.heat + self.quick.heat.of(block.gpa)
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        self.queue.jobs.lock().closed = true;
        self.queue.ready.notify_all();
    }
}

/// Why there is no JIT.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// No room for code.
    #[error(transparent)]
    Cache(#[from] vm_codecache::CacheError),
    /// No code generator.
    #[error(transparent)]
    Compiler(#[from] CompileError),
    /// No thread.
    #[error("cannot start a compiling thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Stores into code: the units first, then the harts.
struct Listener {
    jit: Weak<Jit>,
    cluster: Arc<Cluster>,
}

impl CodeListener for Listener {
    fn code_written(&self, page: u64, granules: u64) {
        if let Some(jit) = self.jit.upgrade() {
            jit.cache.invalidate(page, granules, Cause::Store);
        }
        self.cluster.code_written(page, granules);
    }
}

/// One compiling thread.
struct Worker {
    compiler: Compiler,
    cache: Arc<CodeCache<Unit>>,
    memory: Weak<AddressSpace>,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    when_full: Arc<WhenFull>,
    options: Options,
    /// There is an image too.
    counted: bool,
    pool: Arc<SlotPool>,
    learnt: Arc<Mutex<Learnt>>,
    collector: Option<Arc<Collector>>,
    /// Regions that others cover are left out.
    calm: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(region) = self.next() {
            self.wait_for_room();
            let start = Instant::now();
            let published = self.compile(&region);
            self.queue.jobs.lock().done(&region, published);
            self.counts.compiling.record(start.elapsed());
            self.counts.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        }
    }

    /// Waits for the cache's housekeeping while it has no room. What it cannot make in a while is refused by the
    /// cache, and asked for again.
    fn wait_for_room(&self) {
        for _ in 0..ROOM_TURNS {
            if self.cache.has_room(Zone::Long, ROOM) {
                return;
            }
            self.counts.crowded.fetch_add(1, Relaxed);
            self.when_full.get().inspect(|tell| tell());
            thread::sleep(ROOM_TURN);
        }
    }

    /// The region that ran most often of those that wait, and is still wanted.
    fn next(&self) -> Option<Region> {
        let mut jobs = self.queue.jobs.lock();
        loop {
            if jobs.closed {
                return None;
            }
            let hottest = (0..jobs.waiting.len()).max_by_key(|&at| jobs.waiting[at].1.heat);
            if let Some((since, region)) = hottest.and_then(|at| jobs.waiting.swap_remove_back(at)) {
                self.queue.length.store(jobs.waiting.len(), Relaxed);
                if self.calm && jobs.is_covered(since, &region) {
                    self.counts.covered.fetch_add(1, Relaxed);
                    continue;
                }
                self.counts.waiting.record(since.elapsed());
                jobs.take(&region);
                return Some(region);
            }
            self.queue.ready.wait(&mut jobs);
        }
    }

    /// Whether there is a unit now.
    fn compile(&mut self, region: &Region) -> bool {
        let Some(memory) = self.memory.upgrade() else { return false };
        let mut unit = Unit::of(region);
        set_apart(unit.page, &mut unit.sites, &self.learnt.lock());
        if self.options.slots {
            unit.assign_slots(region, self.options.group, &self.learnt.lock(), &self.pool);
        }
        if !unit.is_true(&memory) {
            self.counts.stale.fetch_add(1, Relaxed);
            return false;
        }
        let Some(mut ticket) = self.cache.reserve() else { return false };
        let number = ticket.number();
        let compiled = {
            let mut cell = |gpa: u64| self.cache.link(&mut ticket, gpa);
            let place = Place {
                sites: &unit.sites,
                slots: unit.slots.as_ref().map(|range| range.span),
                binding: Binding::Here { number, cell: &mut cell, counted: self.counted },
                options: self.options,
            };
            self.compiler.compile(region, place)
        };
        if let Err(error) = compiled {
            tracing::warn!(%error, "left to the interpreter");
            self.counts.failed.fetch_add(1, Relaxed);
            return false;
        }
        let starts = region.entries().map(|at| region.page + u64::from(region.blocks[at].offset));
        let entries: Vec<(u64, u32)> = starts.zip(self.compiler.entries.iter().copied()).collect();
        let (page, granules, insns) = (region.page, region.granules(), unit.sites.len() as u64);
        let new = New {
            zone: Zone::Long,
            code: &self.compiler.code,
            entries: &entries,
            pages: &[(page, granules)],
            meta: unit,
            heat: region.heat.min(u32::MAX.into()) as u32,
        };
        let holds = |unit: &Unit| memory.tracker().holds(page, granules, || unit.is_true(&memory));
        match self.cache.publish_if(ticket, new, holds) {
            Ok(_) => {}
            Err(Full::Stale) => {
                self.counts.stale.fetch_add(1, Relaxed);
                return false;
            }
            Err(_) => return false,
        }
        if let Some(collector) = &self.collector {
            let blocks = region.blocks.iter().map(|block| Seen {
                offset: block.offset,
                end: block.end,
                heat: region.heat,
                optimised: true,
                ways: block.ways,
            });
            collector.saw(&memory, page, blocks, None);
        }
        self.counts.regions.fetch_add(1, Relaxed);
        self.counts.insns.fetch_add(insns, Relaxed);
        self.counts.bytes.fetch_add(self.compiler.code.len() as u64, Relaxed);
        tracing::trace!(page, entries = entries.len(), insns, bytes = self.compiler.code.len(), "region");
        true
    }
}

/// Has those accesses check by themselves whose groups lie across pages.
fn set_apart(page: u64, sites: &mut [Site], learnt: &Learnt) {
    sites.iter_mut().for_each(|site| site.apart |= learnt.is_apart(page + u64::from(site.offset)));
}

impl Unit {
    fn of(region: &Region) -> Unit {
        let (page, sites, shape) = (region.page, sites_of(region), region.shape());
        Unit { page, tail: 0, sites, slots: None, quick: false, shape, lease: None }
    }

    /// Gives accesses their inline caches, if there is room; not those that roam. Says which have to look for
    /// code.
    fn assign_slots(&mut self, region: &Region, group: bool, learnt: &Learnt, pool: &Arc<SlotPool>) {
        let page = self.page;
        let is = |kind: &HashSet<u64>, offset: u16| kind.contains(&(page + u64::from(offset)));
        let known = Known { roams: &|at| is(&learnt.roaming, at), beside: &|at| is(&learnt.beside, at) };
        let mut range = None;
        let span = assign_slots(&mut self.sites, region, group, &known, |len| {
            range = pool.take(len);
            range.as_ref().map(|range| range.span)
        });
        if let (Some(range), Some(span)) = (&mut range, span) {
            range.span = span;
        }
        self.slots = range;
    }

    /// Whether memory still holds what it was made from.
    pub(super) fn is_true(&self, memory: &AddressSpace) -> bool {
        let half = |at: u64| memory.read_u16(at).map_or(0, u32::from);
        self.sites.iter().all(|site| {
            let at = self.page + u64::from(site.offset);
            let second = if u64::from(site.offset) + 2 == PAGE { self.tail } else { at + 2 };
            let bits = if site.insn.len == 2 { half(at) } else { half(at) | half(second) << 16 };
            bits == site.insn.bits
        })
    }
}
