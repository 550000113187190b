//! Dirty pages and code granules: exact, and without a race between writer and translator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proptest::prelude::*;
use vm_mmu::tracker::{GRANULE, granules};
use vm_mmu::{AddressSpace, Backend, CodeListener, PAGE, Perm};

use super::meet::{Meeting, wait};

pub const BASE: u64 = 0x8000_0000;

/// Notes every call.
#[derive(Default)]
pub struct Heard(Mutex<Vec<(u64, u64)>>);

impl CodeListener for Heard {
    fn code_written(&self, page_gpa: u64, granules: u64) {
        self.0.lock().push((page_gpa, granules));
    }
}

impl Heard {
    /// The calls since the last time.
    pub fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.0.lock())
    }
}

pub fn space() -> (Arc<AddressSpace>, Arc<Heard>) {
    let space = AddressSpace::new(BASE..BASE + 64 * PAGE).unwrap();
    space.map(space.range(), Backend::Linear { huge: false }, Perm::RWX).unwrap();
    let heard = Arc::new(Heard::default());
    space.tracker().set_listener(heard.clone());
    (Arc::new(space), heard)
}

#[test]
fn only_written_granules_that_hold_code_are_reported_and_once() {
    let (space, heard) = space();
    let tracker = space.tracker();
    assert_eq!(tracker.add_code(BASE, 0b1011), 0);
    assert_eq!(tracker.add_code(BASE, 0b100_0000), 0b1011);
    space.write_u64(BASE + 2 * GRANULE, 1).unwrap();
    assert_eq!((heard.take(), tracker.kills()), (vec![], 0), "beside the code");
    space.write_u64(BASE + GRANULE - 4, 1).unwrap();
    assert_eq!((heard.take(), tracker.kills()), (vec![(BASE, 0b11)], 1));
    assert_eq!(tracker.code(BASE + 5), 0b100_1000);
    space.write_u64(BASE + GRANULE - 4, 1).unwrap();
    assert_eq!(heard.take(), []);
}

#[test]
fn a_write_over_several_pages_reports_each() {
    let (space, heard) = space();
    for page in 1..4 {
        space.tracker().add_code(BASE + page * PAGE, 1 | 1 << 63);
    }
    space.write(BASE + 2 * PAGE - 1, &[0; PAGE as usize + 2]).unwrap();
    assert_eq!(heard.take(), [(BASE + PAGE, 1 << 63), (BASE + 2 * PAGE, 1 | 1 << 63), (BASE + 3 * PAGE, 1)]);
}

#[test]
fn every_door_reports() {
    let (space, heard) = space();
    let increment = |word: &AtomicU64| word.fetch_add(1, Ordering::SeqCst);
    let doors: [(&str, &dyn Fn() -> bool); 7] = [
        ("write", &|| space.write(BASE, &[1]).is_ok()),
        ("store", &|| space.write_u32(BASE, 1).is_ok()),
        ("atomic", &|| space.atomic(BASE, increment).is_ok()),
        ("cas_pair", &|| space.cas_pair(BASE, 0, 1).is_ok()),
        ("fill_from", &|| space.fill_from(BASE, 3, &mut &[1u8, 2, 3][..]).is_ok()),
        ("clear", &|| space.clear(BASE..BASE + PAGE).is_ok()),
        ("unmap", &|| space.unmap(BASE..BASE + PAGE).is_ok()),
    ];
    for (name, write) in doors {
        space.tracker().add_code(BASE, 1);
        assert!(write(), "{name}");
        assert_eq!(heard.take(), [(BASE, 1)], "{name}");
    }
}

#[test]
fn reads_and_refused_writes_report_nothing() {
    let (space, heard) = space();
    space.tracker().add_code(BASE, u64::MAX);
    space.tracker().start_dirty_log();
    space.read_u64(BASE).unwrap();
    space.protect(BASE..BASE + PAGE, Perm::RX).unwrap();
    space.write_u64(BASE, 0).unwrap_err();
    assert_eq!((heard.take(), space.tracker().take_dirty().count()), (vec![], 0));
}

#[test]
fn dirty_pages_are_those_written_since_they_were_taken() {
    let (space, _) = space();
    let tracker = space.tracker();
    space.write_u8(BASE, 1).unwrap();
    assert_eq!(tracker.take_dirty().count(), 0, "not noted before the log starts");
    tracker.start_dirty_log();
    space.write(BASE + 5 * PAGE - 1, &[0; 2]).unwrap();
    space.write_u8(BASE + 63 * PAGE, 1).unwrap();
    tracker.mark_dirty(BASE + 9 * PAGE + 77);
    assert!(tracker.is_dirty(BASE + 4 * PAGE) && !tracker.is_dirty(BASE));
    let pages: Vec<u64> = tracker.take_dirty().iter().map(|gpa| (gpa - BASE) / PAGE).collect();
    assert_eq!(pages, [4, 5, 9, 63]);
    assert_eq!(tracker.take_dirty().count(), 0);
    tracker.stop_dirty_log();
    space.write_u8(BASE, 1).unwrap();
    assert_eq!(tracker.take_dirty().count(), 0);
}

#[test]
fn what_lies_outside_of_memory_is_nobodys_code() {
    let (space, heard) = space();
    let tracker = space.tracker();
    assert_eq!((tracker.add_code(0x1000, 1), tracker.code(0x1000)), (u64::MAX, 0));
    for (gpa, len) in [(0, 8), (u64::MAX, 1), (BASE, 0), (BASE + 64 * PAGE, 8)] {
        tracker.wrote(gpa, len);
    }
    tracker.add_code(BASE, 1);
    tracker.wrote(BASE - 10, 11);
    assert_eq!(heard.take(), [(BASE, 1)], "a range that only ends inside");
}

#[test]
fn a_granule_dies_once_however_many_write() {
    let (space, heard) = space();
    let tracker = space.tracker();
    for _ in 0..300 {
        tracker.add_code(BASE, u64::MAX);
        std::thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| space.write(BASE, &[1; 2048]).unwrap())));
        });
        let union = heard.take().into_iter().fold(0, |all, (_, granules)| {
            assert_eq!(all & granules, 0, "reported twice");
            all | granules
        });
        assert_eq!(union, u64::MAX >> 32);
    }
}

/// The invariant that makes self-modifying code safe: a translator that read old bytes is told. Writer
/// and translator go through the same pages, which `prepare` makes ready, neither more than a few ahead of the
/// other.
fn let_writer_and_translator_meet(prepare: impl Fn(&AddressSpace, u64)) {
    const PAGES: u64 = 256;
    let space = AddressSpace::new(BASE..BASE + PAGES * PAGE).unwrap();
    space.map(space.range(), Backend::Eager, Perm::RWX).unwrap();
    (0..PAGES).for_each(|page| prepare(&space, BASE + page * PAGE));
    let word = |page: u64| BASE + page * PAGE + 8;
    let (meeting, written, translated) = (Meeting::default(), AtomicU64::new(0), AtomicU64::new(0));
    let near = |other: &AtomicU64, page, lead| wait(|| other.load(Ordering::Relaxed) + lead >= page);
    let write_all = |round| {
        for page in 0..PAGES {
            near(&translated, page, round % 5 + 1); // never both 0: one must go first
            written.store(page, Ordering::Relaxed);
            space.write_u64(word(page), round).unwrap();
        }
    };
    let translate_all = |round| {
        let translate = |page| {
            near(&written, page, round % 7);
            translated.store(page, Ordering::Relaxed);
            space.tracker().add_code(word(page), 1);
            space.read_u64(word(page)).unwrap()
        };
        (0..PAGES).map(translate).collect::<Vec<u64>>()
    };
    let end = Instant::now() + Duration::from_millis(700);
    let mut lost = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1.. {
                if meeting.meet(0, 2 * round) {
                    break;
                }
                write_all(round);
                meeting.meet(0, 2 * round + 1);
            }
        });
        for round in 1.. {
            meeting.meet(1, 2 * round);
            let read = translate_all(round);
            meeting.meet(1, 2 * round + 1);
            for (page, read) in (0..).zip(read) {
                let told = space.tracker().code(word(page)) & 1 == 0;
                lost += u64::from(read != round && !told);
                space.write_u8(BASE + page * PAGE, 0).unwrap();
            }
            written.store(0, Ordering::Relaxed);
            translated.store(0, Ordering::Relaxed);
            if Instant::now() > end {
                meeting.leave();
                break;
            }
        }
    });
    assert_eq!(lost, 0, "old bytes were translated and nobody was told");
}

#[test]
fn a_translator_reads_the_new_bytes_or_the_writer_sees_its_granule() {
    let_writer_and_translator_meet(|_, _| ());
}

#[test]
fn so_it_is_in_a_page_that_holds_other_code() {
    let_writer_and_translator_meet(|space, page| _ = space.tracker().add_code(page, 1 << 63));
}

/// The writer has no fence there, as generated code has none.
#[test]
fn so_it_is_in_a_shared_page() {
    let_writer_and_translator_meet(|space, page| {
        space.tracker().add_code(page, 1 << 63);
        assert!(space.tracker().share(page), "the host has no membarrier");
    });
}

#[test]
fn a_translation_holds_while_its_granules_are_marked_and_its_bytes_are_there() {
    let (space, _) = space();
    let tracker = space.tracker();
    for shared in [false, true] {
        tracker.add_code(BASE, 0b11);
        assert!(tracker.holds(BASE, 0b11, || true), "shared: {shared}");
        assert!(!tracker.holds(BASE, 0b11, || false));
        assert!(!tracker.holds(BASE, 0b111, || true), "never marked");
        let disturbed = std::cell::Cell::new(0);
        let disturb = || {
            if disturbed.replace(disturbed.get() + 1) == 0 {
                tracker.add_code(BASE + PAGE, 1);
                space.write_u8(BASE + PAGE, 1).unwrap();
            }
            true
        };
        assert!(tracker.holds(BASE, 0b11, disturb), "a write to other code takes another turn at most");
        space.write_u8(BASE + GRANULE, 1).unwrap();
        assert!(!tracker.holds(BASE, 0b11, || true), "written");
        assert!(tracker.holds(BASE, 0b01, || true), "beside what was written");
        assert!(tracker.share(BASE));
    }
    assert!(!tracker.share(BASE - PAGE) && !tracker.holds(BASE - PAGE, 1, || true), "no memory");
}

proptest! {
    #[test]
    fn granules_are_those_that_the_bytes_touch(gpa in 0u64..3 * PAGE, len in 0u64..2 * PAGE) {
        let naive = (0..64).filter(|granule| {
            let start = PAGE + granule * GRANULE;
            gpa < start + GRANULE && start < gpa + len && len > 0
        });
        prop_assert_eq!(granules(PAGE, gpa, len), naive.map(|granule| 1 << granule).sum::<u64>());
    }
}
