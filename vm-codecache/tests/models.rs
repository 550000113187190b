//! Models of the lock-free parts: loom runs each through the interleavings of its threads, and through
//! what the memory model lets their loads see.
//!
//! The files of the crate are compiled once more here, against loom's atomics. Of the epoch only the
//! promise is modelled, that memory is reused when no reader is pinned who was when it was unlinked;
//! that `crossbeam-epoch` keeps it is checked where that is developed.
//!
//! The process is its own harness: the unit tests within the files stay out.
#![allow(unsafe_code, reason = "reads and writes a cell whose exclusion loom checks")]
#![allow(dead_code, unused_imports, reason = "the models use a part of what the files define")]

#[path = "../src/cells.rs"]
mod cells;
#[path = "../src/hash.rs"]
mod hash;
#[path = "../src/limbo.rs"]
mod limbo;
#[path = "../src/shared_index.rs"]
mod shared_index;
#[path = "../src/slab.rs"]
mod slab;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

use cells::Cells;
use hash::hash;
use limbo::Limbo;
use shared_index::SharedIndex;
use slab::{NONE, Slab};
use sync::{AtomicU32, Mutex};

/// See `src/sync.rs`.
mod sync {
    pub use loom::sync::MutexGuard;
    pub use loom::sync::atomic::Ordering;
    pub use std::sync::OnceLock;

    pub const SLAB_CHUNK: usize = 4;
    pub const SHARD_BITS: u32 = 1;
    pub const FIRST_BITS: u32 = 2;

    loom::lazy_static! {
        static ref TURN: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
    }

    /// A point at which loom tries the other threads too. By itself it overlooks a conflict when the
    /// second thread reads what it then writes.
    fn turn() {
        TURN.fetch_add(1, Ordering::Relaxed);
    }

    /// Loom's atomics, with a turn before each access.
    macro_rules! atomic {
        ($name:ident, $of:ty) => {
            #[derive(Default)]
            pub struct $name(loom::sync::atomic::$name);

            impl $name {
                pub fn new(value: $of) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }
                pub fn load(&self, order: Ordering) -> $of {
                    turn();
                    self.0.load(order)
                }
                pub fn store(&self, value: $of, order: Ordering) {
                    turn();
                    self.0.store(value, order);
                }
                pub fn swap(&self, value: $of, order: Ordering) -> $of {
                    turn();
                    self.0.swap(value, order)
                }
                pub fn fetch_add(&self, value: $of, order: Ordering) -> $of {
                    turn();
                    self.0.fetch_add(value, order)
                }
                pub fn fetch_sub(&self, value: $of, order: Ordering) -> $of {
                    turn();
                    self.0.fetch_sub(value, order)
                }
                pub fn compare_exchange_weak(
                    &self,
                    old: $of,
                    new: $of,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$of, $of> {
                    turn();
                    self.0.compare_exchange(old, new, success, failure)
                }
            }
        };
    }
    atomic!(AtomicU32, u32);
    atomic!(AtomicU64, u64);

    /// Without poison, as the crate's is.
    #[derive(Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    pub fn zeroed(len: usize) -> Box<[AtomicU64]> {
        (0..len).map(|_| AtomicU64::new(0)).collect()
    }
}

fn main() {
    let models: [(&str, fn()); 9] = [
        ("a number has one owner", a_number_has_one_owner),
        ("a chain in limbo is taken once", a_chain_in_limbo_is_taken_once),
        ("a key that stays is found while a gap closes", a_key_is_found_while_a_gap_closes),
        ("a key that stays is found while the index grows", a_key_is_found_while_the_index_grows),
        ("who jumps finds code that was published", who_jumps_finds_published_code),
        ("freed memory is not run", freed_memory_is_not_run),
        ("a later translation is not unlinked with the older", a_later_translation_stays_linked),
        ("what is killed while it is moved is unlinked", what_is_killed_while_moved_is_unlinked),
        ("a cell is retired once and never in use", a_cell_is_retired_once_and_never_in_use),
    ];
    for (name, model) in models {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        let runs = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = runs.clone();
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model();
        });
        println!("model: {name} ... ok, {} interleavings", runs.load(Ordering::Relaxed));
    }
}

const STUB: u64 = 9;
const GPA: u64 = 0x8000_0000;

fn a_number_has_one_owner() {
    let slab = Arc::new(Slab::<AtomicU32>::new(2));
    // Both are on the free list, as is a head that may come back.
    let both = [slab.take().unwrap(), slab.take().unwrap()];
    both.into_iter().for_each(|n| slab.give(n));
    let own = |number: u32, slab: &Slab<AtomicU32>| {
        assert_eq!(slab.get(number).swap(1, Ordering::Relaxed), 0, "two owners");
    };
    let disown = |number: u32, slab: &Slab<AtomicU32>| {
        slab.get(number).store(0, Ordering::Relaxed);
        slab.give(number);
    };
    let other = {
        let slab = slab.clone();
        thread::spawn(move || {
            let held = [slab.take(), slab.take()];
            held.iter().flatten().for_each(|&n| own(n, &slab));
            held.iter().flatten().for_each(|&n| disown(n, &slab));
        })
    };
    let held = [slab.take(), slab.take()];
    held.iter().flatten().for_each(|&n| own(n, &slab));
    held.iter().flatten().for_each(|&n| disown(n, &slab));
    other.join().unwrap();
    assert_eq!(slab.used(), 0);
}

fn a_chain_in_limbo_is_taken_once() {
    let next: Arc<[AtomicU32; 4]> = Arc::default();
    let limbo = Arc::new(Limbo::default());
    let other = {
        let (limbo, next) = (limbo.clone(), next.clone());
        thread::spawn(move || {
            next[1].store(2, Ordering::Relaxed);
            limbo.push(1, &next[2]);
        })
    };
    limbo.push(3, &next[3]);
    let mut found = [0; 4];
    let mut walk = |mut at: u32| {
        while at != NONE {
            found[at as usize] += 1;
            at = next[at as usize].load(Ordering::Relaxed);
        }
    };
    walk(limbo.take());
    other.join().unwrap();
    walk(limbo.take());
    assert_eq!(found, [0, 1, 1, 1]);
}

/// Hashes in one shard, which want the same slot of a small table.
const NEIGHBOURS: [u64; 2] = [0, 1 << 40];

fn a_key_is_found_while_a_gap_closes() {
    let index = Arc::new(SharedIndex::default());
    index.shard(0).lock().insert(NEIGHBOURS[0], 1);
    index.shard(0).lock().insert(NEIGHBOURS[1], 2);
    let writer = {
        let index = index.clone();
        thread::spawn(move || index.shard(0).lock().remove(NEIGHBOURS[0], 1))
    };
    assert_eq!(index.shard(0).get(NEIGHBOURS[1], |n| n == 2), Some(2));
    writer.join().unwrap();
    assert_eq!(index.shard(0).get(NEIGHBOURS[0], |n| n == 1), None);
}

fn a_key_is_found_while_the_index_grows() {
    let index = Arc::new(SharedIndex::default());
    index.shard(0).lock().insert(NEIGHBOURS[0], 1);
    index.shard(0).lock().insert(NEIGHBOURS[1], 2);
    let writer = {
        let index = index.clone();
        thread::spawn(move || {
            // The first starts to grow, the second moves what there is.
            index.shard(0).lock().insert(2 << 40, 3);
            index.shard(0).lock().insert(3 << 40, 4);
        })
    };
    assert_eq!(index.shard(0).get(NEIGHBOURS[1], |n| n == 2), Some(2));
    writer.join().unwrap();
    assert_eq!(index.shard(0).get(3 << 40, |n| n == 4), Some(4));
}

/// Cells, the memory they lead to, and one reader's pin.
struct World {
    cells: Cells,
    code: [UnsafeCell<u32>; 3],
    pinned: AtomicBool,
}

const FREED: u32 = 0;

impl World {
    fn new() -> Arc<Self> {
        let code = [UnsafeCell::new(FREED), UnsafeCell::new(FREED), UnsafeCell::new(FREED)];
        Arc::new(Self { cells: Cells::new(3, STUB), code, pinned: AtomicBool::new(false) })
    }

    /// Writes to the memory of translation `number`. Loom reports who reads or writes it meanwhile.
    fn write(&self, number: u32, value: u32) {
        // SAFETY: loom checks the exclusion that a dereference needs; that is the model's point.
        self.code[number as usize].with_mut(|code| unsafe { *code = value });
    }

    /// Looks `GPA` up and runs what is there: the stub, or the code of a translation.
    fn run(&self) -> Option<u32> {
        self.pinned.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let target = self.cells.find_live(GPA).map_or(STUB, |cell| self.cells.target(cell));
        // SAFETY: as in `write`.
        let answer = (target != STUB).then(|| self.code[target as usize].with(|code| unsafe { *code }));
        self.pinned.store(false, Ordering::Release);
        answer
    }

    /// Whether a grace that starts now has passed.
    fn has_grace(&self) -> bool {
        fence(Ordering::SeqCst);
        !self.pinned.load(Ordering::Acquire)
    }
}

fn who_jumps_finds_published_code() {
    let world = World::new();
    let publisher = {
        let world = world.clone();
        thread::spawn(move || {
            let cell = world.cells.acquire(GPA).unwrap();
            world.write(1, 11);
            world.cells.bind(cell, 1, 1, |_| ());
        })
    };
    assert!(matches!(world.run(), None | Some(11)));
    publisher.join().unwrap();
    assert_eq!(world.run(), Some(11));
}

fn freed_memory_is_not_run() {
    let world = World::new();
    let cell = world.cells.acquire(GPA).unwrap();
    world.write(1, 11);
    world.cells.bind(cell, 1, 1, |_| ());
    let killer = {
        let world = world.clone();
        thread::spawn(move || {
            world.cells.unbind(cell, 1);
            if world.has_grace() {
                world.write(1, FREED);
            }
        })
    };
    assert!(matches!(world.run(), None | Some(11)));
    killer.join().unwrap();
    assert_eq!(world.run(), None);
}

fn a_later_translation_stays_linked() {
    let world = World::new();
    let cell = world.cells.acquire(GPA).unwrap();
    world.write(1, 11);
    world.cells.bind(cell, 1, 1, |_| ());
    let publisher = {
        let world = world.clone();
        thread::spawn(move || {
            world.write(2, 22);
            world.cells.bind(cell, 2, 2, |before| assert_eq!(before, 1));
        })
    };
    world.cells.unbind(cell, 1);
    assert!(matches!(world.run(), None | Some(22)), "what was killed is not entered");
    publisher.join().unwrap();
    assert_eq!(world.run(), Some(22));
}

fn what_is_killed_while_moved_is_unlinked() {
    let world = World::new();
    let cell = world.cells.acquire(GPA).unwrap();
    world.write(1, 11);
    world.cells.bind(cell, 1, 1, |_| ());
    let mover = {
        let world = world.clone();
        thread::spawn(move || {
            world.write(2, 11);
            world.cells.redirect(cell, 1, 2);
        })
    };
    world.cells.unbind(cell, 1);
    mover.join().unwrap();
    assert_eq!(world.run(), None);
}

fn a_cell_is_retired_once_and_never_in_use() {
    let cells = Arc::new(Cells::new(3, STUB));
    let unused = Arc::new(Limbo::default());
    let refer = |cells: &Cells, unused: &Limbo| {
        let cell = cells.acquire(GPA).unwrap();
        assert_eq!(cells.get(cell).gpa(), GPA);
        if cells.release(cell) {
            unused.push(cell, &cells.get(cell).next);
        }
    };
    let other = {
        let (cells, unused) = (cells.clone(), unused.clone());
        thread::spawn(move || refer(&cells, &unused))
    };
    refer(&cells, &unused);
    let mut retired = Vec::new();
    let mut collect = || {
        let mut cell = unused.take();
        while cell != NONE {
            let next = cells.get(cell).next.load(Ordering::Relaxed);
            if cells.retire(cell) {
                retired.push(cell);
            }
            cell = next;
        }
    };
    collect();
    other.join().unwrap();
    collect();
    assert!(cells.find(GPA).is_none());
    assert_eq!(retired.len() as u32, cells.used(), "each cell retires once");
    retired.into_iter().for_each(|cell| cells.free(cell));
    assert_eq!(cells.used(), 0);
}
