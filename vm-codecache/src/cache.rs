//! The cache as the engine sees it.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::adopt::Adopted;
use crate::birth::{New, Ticket};
use crate::collect::Collector;
use crate::config::Config;
use crate::core::Core;
use crate::death::Cause;
use crate::error::{CacheError, Full};
use crate::reader::Reader;
use crate::sealed::Sealed;
use crate::slab::Slab;
use crate::sync::{Mutex, Ordering};
use crate::tally::Counters;
use crate::translation::state;
use crate::zone::Zone;

/// Longest probe that [`Counters::probe_lengths`] tells apart.
const PROBES: usize = 16;

/// Translations, their memory, and the cells that lead to them. `M` is what the engine keeps of each:
/// it is dropped when the translation's memory is freed, on the thread that polls.
pub struct CodeCache<M: Send + Sync + 'static> {
    pub(crate) core: Arc<Core>,
    metas: Slab<Meta<M>>,
    collector: Mutex<Collector>,
    kick: RwLock<Option<Box<dyn Fn() + Send + Sync>>>,
}

struct Meta<M>(RwLock<Option<M>>);

impl<M> Default for Meta<M> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<M: Send + Sync + 'static> CodeCache<M> {
    /// An empty cache. `stub` is the host address that cells without a translation hold: an exit back
    /// to the dispatcher.
    pub fn new(config: &Config, stub: u64) -> Result<Self, CacheError> {
        let core = Arc::new(Core::new(config, stub)?);
        Ok(Self {
            metas: Slab::new(config.translations),
            collector: Mutex::new(Collector::new(config, &core)),
            kick: RwLock::new(None),
            core,
        })
    }

    /// The number of a translation to be. `None` if all are taken, until a sweep has passed.
    pub fn reserve(&self) -> Option<Ticket> {
        self.core.reserve()
    }

    /// Whether code of `bytes` would find room now. If not, a sweep makes some, which takes calls of
    /// [`CodeCache::poll`] and an epoch: who can wait should, before it makes the code.
    pub fn has_room(&self, zone: Zone, bytes: usize) -> bool {
        self.core.zones.has_room(zone, bytes)
    }

    /// Address of the cell of a guest-physical address, for the code of the ticket's translation to
    /// jump through: `jmp [cell]`. It stays this address's for as long as the ticket and then the
    /// translation live. When all cells are taken the answer is one that always leads to the stub.
    pub fn link(&self, ticket: &mut Ticket, gpa: u64) -> u64 {
        self.core.link(ticket, gpa)
    }

    /// Makes a translation live: all cells of its entries lead to it. One that had these entries
    /// before loses them, and dies when it has none left. Returns its number.
    ///
    /// The caller read the guest's bytes a while ago: see [`CodeCache::publish_if`]. A write that the
    /// cache was told of while this ran has killed it already.
    pub fn publish(&self, ticket: Ticket, new: New<'_, M>) -> Result<u32, Full> {
        self.publish_if(ticket, new, |_| true)
    }

    /// As [`CodeCache::publish`], if `holds` says that the guest's bytes still are the same. It is asked
    /// when writes find the translation already and no reader does yet: so a stale one is never entered.
    pub fn publish_if(
        &self,
        ticket: Ticket,
        new: New<'_, M>,
        holds: impl FnOnce(&M) -> bool,
    ) -> Result<u32, Full> {
        let keep = |number, meta| *self.metas.get(number).0.write() = Some(meta);
        self.core.publish(ticket, new, keep, |number| self.meta(number, holds) == Some(true))
    }

    /// Maps the text of an image, from a page of it on, into the stable zone, and words of this process behind its
    /// last page. Once only.
    pub fn adopt(&self, image: &Sealed, text: &Range<usize>, words: usize) -> Result<Adopted, CacheError> {
        self.core.adopt(image, text, words)
    }

    /// Offset of a host address in the text of an image. `None` if it is not in the stable zone.
    pub fn offset_in(&self, adopted: &Adopted, host_pc: u64) -> Option<u64> {
        self.core.arena.offset(host_pc)?.checked_sub(adopted.start)
    }

    /// As [`CodeCache::publish_if`], for code that is in its place: `len` bytes at `at` of the text. What `new`
    /// says of code and zone counts for nothing.
    pub fn publish_adopted(
        &self,
        ticket: Ticket,
        adopted: &Adopted,
        (at, len): (u32, u32),
        new: New<'_, M>,
        holds: impl FnOnce(&M) -> bool,
    ) -> Result<u32, Full> {
        let bytes = len as usize;
        let piece = self.core.zones.claim(adopted.start + u64::from(at), bytes).ok_or(Full::Size(bytes))?;
        let keep = |number, meta| *self.metas.get(number).0.write() = Some(meta);
        let new = New { zone: Zone::Stable, code: &[], ..new };
        self.core.publish_piece(ticket, piece, new, keep, |number| self.meta(number, holds) == Some(true))
    }

    /// Address of the cell of `gpa`, if a translation is live there now. Takes no lock. The cell is
    /// this address's until the caller's reader repins or unpins.
    #[inline]
    pub fn lookup(&self, gpa: u64) -> Option<u64> {
        self.core.cells.find_live(gpa).map(|cell| self.core.cells.address(cell))
    }

    /// As [`CodeCache::lookup`], whether a translation is live or not.
    #[inline]
    pub fn cell_of(&self, gpa: u64) -> Option<u64> {
        self.core.cells.find(gpa).map(|cell| self.core.cells.address(cell))
    }

    /// Kills every translation made from any of `granules` (a bit for each 64 bytes) of the page at
    /// `page_gpa`. Returns how many; when it does, no cell leads to any of them.
    pub fn invalidate(&self, page_gpa: u64, granules: u64, cause: Cause) -> usize {
        self.invalidate_many(std::iter::once((page_gpa, granules)), cause)
    }

    /// As [`CodeCache::invalidate`] for several pages, with one synchronisation.
    pub fn invalidate_many(&self, ranges: impl Iterator<Item = (u64, u64)>, cause: Cause) -> usize {
        self.core.tally.pauses.time(|| self.core.invalidate(ranges, cause))
    }

    /// Kills one translation. Whether it was live.
    pub fn kill(&self, number: u32, cause: Cause) -> bool {
        self.core.tally.pauses.time(|| self.core.kill_if(number, cause, |_| true))
    }

    /// Kills all translations, in every zone. Returns how many.
    pub fn kill_all(&self, cause: Cause) -> usize {
        self.core.kill_all(cause)
    }

    /// Kills the translations made from a page that `keep` does not want. `keep` must not call the
    /// cache.
    pub fn retain_page(&self, page_gpa: u64, keep: impl Fn(&M) -> bool, cause: Cause) -> usize {
        let keep = |number| self.meta(number, &keep).unwrap_or(true);
        self.core.tally.pauses.time(|| self.core.retain(page_gpa, keep, cause))
    }

    /// Calls `f` with the metadata of a translation that is not freed yet.
    pub fn meta<R>(&self, number: u32, f: impl FnOnce(&M) -> R) -> Option<R> {
        if number >= self.core.translations.end() {
            return None;
        }
        self.metas.get(number).0.read_recursive().as_ref().map(f)
    }

    /// Calls `act` with the number, the heat and the metadata of each translation that is live when its turn comes.
    /// In the stable zone heat is what it was published with.
    pub fn each_live(&self, mut act: impl FnMut(u32, u32, &M)) {
        for number in 1..self.core.translations.end() {
            let translation = self.core.translations.get(number);
            if translation.state.load(Ordering::Relaxed) == state::LIVE {
                let zones = &self.core.zones;
                let is_stable = zones.segments(Zone::Stable).contains(&zones.segment_of(translation.piece()));
                let heat = match is_stable {
                    true => translation.heat.load(Ordering::Relaxed),
                    false => self.core.heat.of(translation),
                };
                self.meta(number, |meta| act(number, heat, meta));
            }
        }
    }

    /// The translation whose code is at a host address: live, or dead and not freed yet.
    pub fn resolve(&self, host_pc: u64) -> Option<u32> {
        self.core.resolve(host_pc)
    }

    /// A reader for the calling thread, which runs a hart.
    pub fn reader(self: &Arc<Self>) -> Reader<M> {
        Reader::new(self.clone())
    }

    /// Does a piece of what is due: counts heat, sweeps, frees what no hart can run any more. Called
    /// regularly by a thread that is no hart's. Whether there is more to do right away.
    pub fn poll(&self) -> bool {
        // Whoever polls already does it for all.
        let Some(mut collector) = self.collector.try_lock() else { return false };
        let free = |number| drop(self.metas.get(number).0.write().take());
        self.core.tally.poll_time.time(|| collector.poll(&self.core, free, || self.kick()))
    }

    /// Sets what asks all harts to reach their safepoint, [`Reader::repin`], soon.
    pub fn set_kick(&self, kick: Box<dyn Fn() + Send + Sync>) {
        *self.kick.write() = Some(kick);
    }

    fn kick(&self) {
        if let Some(kick) = &*self.kick.read() {
            self.core.tally.kicks.add(1);
            kick();
        }
    }

    /// What happened so far, and what there is now.
    pub fn counters(&self) -> Counters {
        let (core, tally) = (&*self.core, &self.core.tally);
        let [short, long, stable] = Zone::ALL.map(|zone| tally.zone(zone, core.zones.usage(zone)));
        let mut probe_lengths = vec![0; PROBES];
        core.cells.probe_lengths(&mut probe_lengths);
        Counters {
            published: short.published + long.published + stable.published,
            short,
            long,
            stable,
            resident: core.arena.resident(),
            translations: core.translations.used().into(),
            live: tally.live(),
            killed: tally.causes(),
            promoted_bytes: tally.promoted_bytes.get(),
            compacted_bytes: tally.compacted_bytes.get(),
            swept_bytes: tally.swept_bytes.get(),
            regretted_bytes: tally.regretted_bytes.get(),
            segments_freed: tally.segments_freed.get(),
            huge_pages: tally.huge_pages.get(),
            sweep_time: tally.sweep_time.durations(),
            epochs: tally.graces.get(),
            epoch_time: tally.grace_time.durations(),
            kicks: tally.kicks.get(),
            pauses: tally.pauses.durations(),
            poll_time: tally.poll_time.durations(),
            windows: core.heat.window().into(),
            cells: core.cells.used().into(),
            granules: core.granules.used().into(),
            probe_lengths,
        }
    }
}
