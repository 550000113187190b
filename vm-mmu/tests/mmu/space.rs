//! The address space: the map and its errors, backends, faults, and access by address.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vm_memory::GuestMemoryBackend;
use vm_mmu::{
    Access, AccessError, AddressSpace, Backend, FillError, MapError, PAGE, Perm, RegionKind, SoftTlb,
};

use super::meet::{Meeting, delay, wait};

const BASE: u64 = 0x8000_0000;
const MIB: u64 = 1 << 20;
const LINEAR: Backend = Backend::Linear { huge: false };

fn space(pages: u64) -> AddressSpace {
    AddressSpace::new(BASE..BASE + pages * PAGE).unwrap()
}

fn pages(first: u64, end: u64) -> Range<u64> {
    BASE + first * PAGE..BASE + end * PAGE
}

fn mapped(count: u64, backend: Backend) -> AddressSpace {
    let space = space(count);
    space.map(pages(0, count), backend, Perm::RWX).unwrap();
    space
}

/// A file of `count` pages, each filled with its number plus 1.
fn image(count: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    (0..count).for_each(|page| file.write_all_at(&[page as u8 + 1; PAGE as usize], page * PAGE).unwrap());
    file
}

fn file_backend(file: &File, offset: u64, shared: bool) -> Backend {
    Backend::File { file: file.try_clone().unwrap(), offset, shared }
}

/// Resident bytes of a range as the host's own books have it.
fn rss(space: &AddressSpace, range: Range<u64>) -> u64 {
    let host = |gpa: u64| gpa.wrapping_add(space.host_offset());
    let (start, end) = (host(range.start), host(range.end));
    let mut sum = 0;
    let mut inside = false;
    for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let first = line.split_whitespace().next().unwrap();
        if let Some((from, to)) = first.split_once('-') {
            let [from, to] = [from, to].map(|bound| u64::from_str_radix(bound, 16).unwrap());
            inside = start <= from && to <= end;
        } else if inside && first == "Rss:" {
            sum += line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10;
        }
    }
    sum
}

#[test]
fn ranges_that_cannot_be_mapped_are_refused_by_name() {
    let space = space(8);
    space.map(pages(2, 4), LINEAR, Perm::RWX).unwrap();
    let refused = |range: Range<u64>| space.map(range, LINEAR, Perm::RWX).unwrap_err();
    for range in
        [BASE + 1..BASE + PAGE, BASE..BASE + PAGE + 8, BASE..BASE, Range { start: BASE + PAGE, end: BASE }]
    {
        assert!(matches!(refused(range.clone()), MapError::Unaligned { .. }), "{range:x?}");
    }
    for range in
        [pages(7, 9), 0..PAGE, BASE - PAGE..BASE + PAGE, u64::MAX - 2 * PAGE + 1..u64::MAX - PAGE + 1]
    {
        assert!(matches!(refused(range.clone()), MapError::OutOfRange { .. }), "{range:x?}");
    }
    for (range, taken) in [(pages(1, 3), 2), (pages(3, 5), 3), (pages(2, 4), 2), (pages(0, 8), 2)] {
        assert!(matches!(refused(range), MapError::Overlap { at, .. } if at == BASE + taken * PAGE));
    }
    let refusals = [space.unmap(pages(1, 4)), space.protect(pages(2, 5), Perm::RX), space.clear(pages(3, 8))];
    for (refusal, hole) in refusals.into_iter().zip([1, 4, 4]) {
        assert!(matches!(refusal.unwrap_err(), MapError::NotMapped { at } if at == BASE + hole * PAGE));
    }
    assert!(matches!(AddressSpace::new(5..PAGE), Err(MapError::Unaligned { .. })));
    assert_eq!(space.regions().len(), 1);
}

#[test]
fn files_that_cannot_back_a_region_are_refused_by_name() {
    let space = space(8);
    let file = image(2);
    let refused = |backend, perm| space.map(pages(0, 3), backend, perm).unwrap_err();
    assert!(matches!(
        refused(file_backend(&file, 0, false), Perm::RWX),
        MapError::FileTooShort { need: 0x3000, have: 0x2000 }
    ));
    assert!(matches!(
        refused(file_backend(&file, !(PAGE - 1), false), Perm::RWX),
        MapError::FileTooShort { .. }
    ));
    assert!(matches!(refused(file_backend(&file, 8, false), Perm::RWX), MapError::FileOffset { offset: 8 }));
    assert_eq!(space.regions(), []);
}

#[test]
fn a_read_only_shared_file_maps_read_only_and_can_never_be_made_writable() {
    let named = tempfile::NamedTempFile::new().unwrap();
    named.as_file().write_all_at(&[7; 2 * PAGE as usize], 0).unwrap();
    let file = File::open(named.path()).unwrap();
    let space = space(8);
    space.map(pages(1, 2), LINEAR, Perm::RW).unwrap();
    assert!(matches!(
        space.map(pages(2, 4), file_backend(&file, 0, true), Perm::RWX),
        Err(MapError::FileReadOnly { .. })
    ));
    space.map(pages(2, 4), file_backend(&file, 0, true), Perm::R).unwrap();
    assert_eq!(space.read_u8(BASE + 2 * PAGE).unwrap(), 7);
    assert!(matches!(space.write_u8(BASE + 2 * PAGE, 0), Err(AccessError::Denied { .. })));

    let before = space.regions();
    for refusal in [space.protect(pages(1, 4), Perm::RW), space.clear(pages(1, 4))] {
        assert!(matches!(refusal, Err(MapError::FileReadOnly { at }) if at == BASE + 2 * PAGE));
    }
    assert_eq!(space.regions(), before, "the part that could have been changed is not");
}

#[test]
fn a_mapping_that_the_host_refuses_leaves_the_range_free() {
    let space = space(8);
    let directory = File::open("/").unwrap(); // opens, has a length, cannot be mapped
    let refused =
        space.map(pages(2, 3), Backend::File { file: directory, offset: 0, shared: false }, Perm::RWX);
    assert!(matches!(refused, Err(MapError::Host { .. } | MapError::FileTooShort { .. })), "{refused:?}");
    assert!(space.read_u8(BASE + 2 * PAGE).is_err());
    assert_eq!(space.memory().num_regions(), 0);
    space.map(pages(0, 8), LINEAR, Perm::RWX).unwrap();
    assert_eq!(space.read_u8(BASE + 2 * PAGE).unwrap(), 0);
}

#[test]
fn permissions_are_honoured_and_can_be_changed() {
    let space = mapped(4, LINEAR);
    space.write_u32(BASE + PAGE, 5).unwrap();
    space.protect(pages(1, 2), Perm::RX).unwrap();
    assert_eq!(
        space.write_u32(BASE + PAGE, 6),
        Err(AccessError::Denied { gpa: BASE + PAGE, wanted: Perm { read: false, write: true, exec: false } })
    );
    assert_eq!(space.read_u32(BASE + PAGE).unwrap(), 5);
    assert_eq!(
        [Access::Load, Access::Store, Access::Fetch].map(|access| space.fault(BASE + PAGE, access)),
        [true, false, true]
    );
    assert_eq!(
        space.write(BASE + PAGE - 4, &[1; 8]).unwrap_err(),
        space.write_u32(BASE + PAGE, 6).unwrap_err()
    );
    assert_eq!(space.read_u32(BASE + PAGE - 4).unwrap(), 0, "a refused write has written nothing");
    let ranges: Vec<_> = space.regions().into_iter().map(|region| (region.range, region.perm)).collect();
    assert_eq!(ranges, [(pages(0, 1), Perm::RWX), (pages(1, 2), Perm::RX), (pages(2, 4), Perm::RWX)]);
    space.protect(pages(0, 4), Perm::NONE).unwrap();
    assert!(
        space.read_u8(BASE).is_err() && space.host_ptr(BASE, PAGE).is_some_and(|ram| ram.perm == Perm::NONE)
    );
}

#[test]
fn accesses_cross_adjoining_regions_and_stop_at_holes() {
    let space = space(8);
    space.map(pages(0, 2), LINEAR, Perm::RWX).unwrap();
    space.map(pages(2, 3), Backend::Lazy, Perm::RW).unwrap();
    space.map(pages(3, 5), file_backend(&image(2), 0, false), Perm::RWX).unwrap();
    let data: Vec<u8> = (0..4 * PAGE + 100).map(|at| (at % 251) as u8).collect();
    space.write(BASE + 50, &data).unwrap();
    let mut back = vec![0; data.len()];
    space.read(BASE + 50, &mut back).unwrap();
    assert!(back == data);
    space.write_u64(BASE + 2 * PAGE - 3, 0x0102_0304_0506_0708).unwrap();
    assert_eq!(space.read_u64(BASE + 2 * PAGE - 3).unwrap(), 0x0102_0304_0506_0708);
    assert_eq!(space.read_u8(BASE + 2 * PAGE).unwrap(), 0x05);

    let hole = Err(AccessError::Absent { gpa: BASE + 5 * PAGE });
    assert_eq!(space.write(BASE + 5 * PAGE - 1, &[9, 9]), hole);
    assert_eq!(space.read_u8(BASE + 5 * PAGE - 1).unwrap(), 2, "nothing of it was written");
    assert_eq!(space.read_u16(BASE + 5 * PAGE - 1), hole.map(|()| 0));
    for gpa in [BASE - 1, BASE + 8 * PAGE, u64::MAX, u64::MAX - 7] {
        assert!(matches!(space.read_u64(gpa), Err(AccessError::Absent { .. })), "{gpa:#x}");
        assert_eq!(space.host_ptr(gpa, 8), None);
    }
    assert!(space.read(BASE, &mut []).is_ok());
}

#[test]
fn the_host_offset_is_one_constant_and_lines_up_with_huge_pages() {
    let space = space(2048);
    space.map(pages(0, 512), LINEAR, Perm::RWX).unwrap();
    space.map(pages(600, 601), Backend::Lazy, Perm::RWX).unwrap();
    for gpa in [BASE, BASE + 600 * PAGE + 12] {
        assert_eq!(space.host_ptr(gpa, 4).unwrap().host, gpa.wrapping_add(space.host_offset()));
    }
    assert_eq!(space.host_offset() % (2 * MIB), 0);
}

#[test]
fn the_host_keeps_only_what_was_touched() {
    for backend in [Backend::Lazy, LINEAR] {
        let space = mapped(1024, backend);
        assert_eq!(rss(&space, space.range()), 0);
        (0..10).for_each(|page| space.write_u8(BASE + page * 64 * PAGE, 1).unwrap());
        let resident = rss(&space, space.range());
        assert_eq!(resident, space.regions()[0].resident);
        if space.regions()[0].kind == RegionKind::Lazy {
            assert_eq!(
                (resident, space.regions()[0].touched, space.regions()[0].faults),
                (10 * PAGE, 10 * PAGE, 10)
            );
        }
        space.clear(pages(0, 65)).unwrap();
        assert_eq!((space.read_u8(BASE).unwrap(), space.read_u8(BASE + 128 * PAGE).unwrap()), (0, 1));
        assert!(rss(&space, space.range()) < resident);
        space.unmap(pages(0, 1024)).unwrap();
        assert_eq!(rss(&space, space.range()), 0);
    }
}

#[test]
fn eager_memory_is_there_at_once_and_stays_when_cleared() {
    let space = mapped(256, Backend::Eager);
    assert_eq!(rss(&space, space.range()), MIB);
    space.write_u64(BASE + 8, 7).unwrap();
    space.clear(pages(0, 256)).unwrap();
    assert_eq!(rss(&space, space.range()), MIB);
    assert_eq!(space.read_u64(BASE + 8).unwrap(), 0);
}

#[test]
fn huge_pages_are_a_wish() {
    let space = AddressSpace::new(BASE..BASE + 4 * MIB).unwrap();
    space.map(BASE..BASE + 4 * MIB, Backend::Linear { huge: true }, Perm::RWX).unwrap();
    space.write_u8(BASE + 3 * MIB, 1).unwrap();
    assert!(space.regions()[0].resident >= PAGE);
}

#[test]
fn a_private_file_is_loaded_when_touched_and_never_changed() {
    let file = image(64);
    let space = space(80);
    space.map(pages(0, 60), file_backend(&file, 4 * PAGE, false), Perm::RWX).unwrap();
    assert_eq!((rss(&space, space.range()), space.regions()[0].touched), (0, 0));
    space.write_u8(BASE + 59 * PAGE, 0xee).unwrap();
    assert_eq!((space.read_u8(BASE).unwrap(), space.read_u8(BASE + 59 * PAGE + 1).unwrap()), (5, 64));
    let info = &space.regions()[0];
    assert_eq!((info.kind, info.touched, info.faults), (RegionKind::FilePrivate, 2 * PAGE, 2));
    let mut byte = [0];
    file.read_exact_at(&mut byte, 63 * PAGE).unwrap();
    assert_eq!(byte, [64], "copy on write");
    space.clear(pages(59, 60)).unwrap();
    assert_eq!(space.read_u8(BASE + 59 * PAGE).unwrap(), 64, "the file's bytes again");
    space.unmap(pages(0, 10)).unwrap();
    assert_eq!(space.read_u8(BASE + 10 * PAGE).unwrap(), 15, "what is left keeps its place in the file");
}

#[test]
fn the_tail_of_a_file_reads_zeros() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[9; 5000]).unwrap();
    let space = space(4);
    space.map(pages(0, 2), file_backend(&file, 0, false), Perm::R).unwrap();
    assert_eq!(space.read_u16(BASE + 4999).unwrap(), 9);
}

#[test]
fn a_shared_file_is_the_memory() {
    let file = image(8);
    let space = mapped(8, file_backend(&file, 0, true));
    space.write(BASE + PAGE - 1, &[0xaa, 0xbb]).unwrap();
    let mut bytes = [0; 2];
    file.read_exact_at(&mut bytes, PAGE - 1).unwrap();
    assert_eq!(bytes, [0xaa, 0xbb]);
    space.clear(pages(1, 3)).unwrap();
    assert_eq!([0, 1, 2, 3].map(|page| space.read_u8(BASE + page * PAGE).unwrap()), [1, 0, 0, 4]);
    file.read_exact_at(&mut bytes, PAGE - 1).unwrap();
    assert_eq!(bytes, [0xaa, 0], "cleared in the file too");
    drop(space);
    file.read_exact_at(&mut bytes, 3 * PAGE).unwrap();
    assert_eq!(bytes, [4, 4], "the file outlives the machine");
}

/// Two threads go through the same pages, neither more than one ahead of the other.
#[test]
fn threads_that_fault_on_one_page_get_one_frame() {
    const PAGES: u64 = 256;
    let space = mapped(PAGES, Backend::Lazy);
    let (meeting, at) = (Meeting::default(), [AtomicU64::new(0), AtomicU64::new(0)]);
    let touch_all = |me: usize, round: u64| {
        for page in 0..PAGES {
            at[me].store(page, Ordering::Relaxed);
            wait(|| at[1 - me].load(Ordering::Relaxed) + 1 >= page);
            delay(if me == 0 { round % 7 } else { round % 11 });
            let word = BASE + page * PAGE;
            assert!(space.fault(word, Access::Store));
            space.atomic(word, |word: &AtomicU64| word.fetch_add(3, Ordering::SeqCst)).unwrap();
        }
        at[me].store(PAGES, Ordering::Relaxed);
    };
    let end = Instant::now() + Duration::from_millis(500);
    let mut wrong = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1.. {
                if meeting.meet(0, 2 * round) {
                    break;
                }
                touch_all(0, round);
                meeting.meet(0, 2 * round + 1);
            }
        });
        for round in 1.. {
            meeting.meet(1, 2 * round);
            touch_all(1, round);
            meeting.meet(1, 2 * round + 1);
            wrong += u64::from(space.regions()[0].faults != PAGES * round);
            wrong +=
                (0..PAGES).filter(|page| space.read_u64(BASE + page * PAGE).unwrap() != 6).count() as u64;
            space.clear(pages(0, PAGES)).unwrap();
            at.iter().for_each(|at| at.store(0, Ordering::Relaxed));
            if Instant::now() > end {
                meeting.leave();
                break;
            }
        }
    });
    assert_eq!(wrong, 0, "rounds in which a page got two frames, or a word lost a count");
}

#[test]
fn a_fault_is_answered_handled_or_not() {
    let space = space(4);
    space.map(pages(0, 1), Backend::Lazy, Perm::RX).unwrap();
    let answers = [Access::Fetch, Access::Load, Access::Store].map(|access| space.fault(BASE + 5, access));
    assert_eq!(answers, [true, true, false]);
    assert!(!space.fault(BASE + PAGE, Access::Load) && !space.fault(0, Access::Load));
}

#[test]
fn atomics_by_address_want_alignment_and_read_write_memory() {
    let space = mapped(2, LINEAR);
    let add = |gpa| space.atomic(gpa, |word: &AtomicU64| word.fetch_add(1, Ordering::SeqCst));
    assert_eq!((add(BASE + 8), add(BASE + 8)), (Ok(0), Ok(1)));
    assert_eq!(add(BASE + 4), Err(AccessError::Misaligned { gpa: BASE + 4, size: 8 }));
    assert_eq!(space.cas_pair(BASE + 16, 0, u128::MAX), Ok(0));
    assert_eq!(space.cas_pair(BASE + 16, 0, 1), Ok(u128::MAX));
    assert_eq!(space.cas_pair(BASE + 24, 0, 1), Err(AccessError::Misaligned { gpa: BASE + 24, size: 16 }));
    space.protect(pages(0, 2), Perm::RX).unwrap();
    assert!(add(BASE).is_err() && space.cas_pair(BASE, 0, 0).is_err());
}

/// Gives `left` bytes in odd portions, with interruptions, then ends or fails.
struct Stream {
    left: usize,
    fails: bool,
    calls: usize,
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.left == 0 && self.fails {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = self.left.min(buf.len()).min(7001);
        buf[..count].fill(0x5a);
        self.left -= count;
        Ok(count)
    }
}

#[test]
fn a_stream_fills_memory_up_to_its_end() {
    let space = mapped(64, Backend::Lazy);
    let stream = |left, fails| Stream { left, fails, calls: 0 };
    assert_eq!(space.fill_from(BASE + 10, 100_000, &mut stream(70_001, false)).unwrap(), 70_001);
    assert_eq!([70_010, 70_011].map(|at| space.read_u8(BASE + at).unwrap()), [0x5a, 0]);
    assert_eq!(space.fill_from(BASE, 5, &mut stream(70_000, false)).unwrap(), 5);
    let failed = space.fill_from(BASE, 100, &mut stream(60, true));
    assert!(matches!(failed, Err(FillError::Read { gpa, .. }) if gpa == BASE + 60));
    let mut untouched = stream(10, false);
    assert!(matches!(space.fill_from(BASE, 65 * PAGE, &mut untouched), Err(FillError::Access(_))));
    assert_eq!(untouched.calls, 0);
    let mut file = image(3);
    file.seek(SeekFrom::Start(PAGE)).unwrap();
    assert_eq!(space.fill_from(BASE, 3 * PAGE, &mut file).unwrap(), 2 * PAGE);
    assert_eq!(space.read_u8(BASE).unwrap(), 2);
}

#[test]
fn memory_outlives_the_address_space_while_somebody_holds_it() {
    let space = Arc::new(mapped(4, LINEAR));
    space.write_u8(BASE, 3).unwrap();
    let (view, tlb) = (space.memory(), SoftTlb::new(space.clone()));
    drop(space);
    assert_eq!(tlb.memory().read_u8(BASE).unwrap(), 3);
    drop(tlb);
    use vm_memory::{Bytes, GuestAddress};
    assert_eq!(view.read_obj::<u8>(GuestAddress(BASE)).unwrap(), 3);
}

#[derive(Clone, Debug)]
enum Change {
    Map(u64, u64, u8),
    Unmap(u64, u64),
    Protect(u64, u64, bool),
    Clear(u64, u64),
    Write(u64, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let bounds = || (0u64..18, 0u64..18);
    prop_oneof![
        (bounds(), 0u8..4).prop_map(|((a, b), kind)| Change::Map(a, b, kind)),
        bounds().prop_map(|(a, b)| Change::Unmap(a, b)),
        (bounds(), any::<bool>()).prop_map(|((a, b), write)| Change::Protect(a, b, write)),
        bounds().prop_map(|(a, b)| Change::Clear(a, b)),
        (0u64..16, 1u8..).prop_map(|(page, byte)| Change::Write(page, byte)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_change_of_the_map_is_made_whole_or_not_at_all(changes in prop::collection::vec(change(), 1..40)) {
        let space = space(16);
        let file = image(16);
        // Per page: what it reads, what it reads when cleared, and whether it may be written.
        let mut model: Vec<Option<(u8, u8, bool)>> = vec![None; 16];
        for change in changes {
            let regions = space.regions();
            let (a, b) = match change {
                Change::Map(a, b, _) | Change::Unmap(a, b) | Change::Protect(a, b, _) | Change::Clear(a, b) => (a, b),
                Change::Write(page, _) => (page, page + 1),
            };
            let possible = a < b && b <= 16;
            let all = |test: fn(&Option<(u8, u8, bool)>) -> bool| possible && model[a as usize..b as usize].iter().all(test);
            let (done, expected) = match change {
                Change::Map(_, _, kind) => {
                    let backend = match kind {
                        0 => LINEAR,
                        1 => Backend::Lazy,
                        2 => Backend::Eager,
                        _ => file_backend(&file, 0, false),
                    };
                    (space.map(pages(a, b), backend, Perm::RWX).is_ok(), all(|page| page.is_none()))
                }
                Change::Unmap(..) => (space.unmap(pages(a, b)).is_ok(), all(|page| page.is_some())),
                Change::Protect(_, _, write) => {
                    let perm = if write { Perm::RWX } else { Perm::RX };
                    (space.protect(pages(a, b), perm).is_ok(), all(|page| page.is_some()))
                }
                Change::Clear(..) => (space.clear(pages(a, b)).is_ok(), all(|page| page.is_some())),
                Change::Write(_, byte) => (space.write_u8(BASE + a * PAGE, byte).is_ok(), all(|page| page.is_some_and(|page| page.2))),
            };
            prop_assert_eq!(done, expected, "{:?}", change);
            if !done {
                prop_assert_eq!(space.regions(), regions);
                continue;
            }
            for page in a..b {
                let slot = &mut model[page as usize];
                *slot = match (&change, slot.take()) {
                    (Change::Map(_, _, 3), _) => { let byte = (page - a) as u8 + 1; Some((byte, byte, true)) }
                    (Change::Map(..), _) => Some((0, 0, true)),
                    (Change::Protect(_, _, write), Some((now, fresh, _))) => Some((now, fresh, *write)),
                    (Change::Clear(..), Some((_, fresh, write))) => Some((fresh, fresh, write)),
                    (Change::Write(_, byte), Some((_, fresh, write))) => Some((*byte, fresh, write)),
                    _ => None,
                };
            }
            for (page, state) in model.iter().enumerate() {
                let gpa = BASE + page as u64 * PAGE;
                prop_assert_eq!(space.read_u8(gpa).ok(), state.map(|state| state.0));
                let in_view = space.memory().address_in_range(vm_memory::GuestAddress(gpa));
                prop_assert_eq!(in_view, state.is_some_and(|state| state.2), "DMA sees what may be read and written");
            }
        }
    }
}
