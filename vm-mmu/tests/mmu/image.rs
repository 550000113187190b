//! What an image of guest memory sees: changed pages, and bytes without a touch.

use std::os::unix::fs::FileExt;

use vm_mmu::{AccessError, AddressSpace, Backend, PAGE, Perm};

const BASE: u64 = 0x8000_0000;
const PAGES: u64 = 64;

fn mapped(backend: Backend) -> AddressSpace {
    let range = BASE..BASE + PAGES * PAGE;
    let space = AddressSpace::new(range.clone()).unwrap();
    space.map(range, backend, Perm::RWX).unwrap();
    space
}

fn changed(space: &AddressSpace) -> Vec<u64> {
    let flags = space.changed_pages(&space.range()).unwrap();
    assert_eq!(flags.len() as u64, PAGES);
    (0..PAGES).filter(|&page| flags[page as usize]).collect()
}

#[test]
fn only_touched_pages_may_differ_from_zeros() {
    // Huge pages of the host would make more of them touched.
    let space = mapped(Backend::Lazy);
    assert!(changed(&space).is_empty());
    for page in [0, 7, 63] {
        space.write_u8(BASE + page * PAGE + 5, 1).unwrap();
    }
    assert_eq!(changed(&space), [0, 7, 63]);
    let part = space.changed_pages(&(BASE + 6 * PAGE..BASE + 9 * PAGE)).unwrap();
    assert_eq!(part, [false, true, false]);
    assert!(space.changed_pages(&(BASE..BASE + 65 * PAGE)).is_err());
}

#[test]
fn of_a_file_only_what_was_written_differs() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&vec![9; (PAGES * PAGE) as usize], 0).unwrap();
    let space = mapped(Backend::File { file, offset: 0, shared: false });
    assert_eq!(space.read_u8(BASE + PAGE).unwrap(), 9);
    assert!(changed(&space).is_empty(), "reading changes nothing");
    space.write_u8(BASE + 3 * PAGE, 1).unwrap();
    assert_eq!(changed(&space), [3]);
}

#[test]
fn a_peek_is_no_touch_and_asks_for_no_permission() {
    let range = BASE..BASE + PAGES * PAGE;
    let space = mapped(Backend::Lazy);
    space.write_u32(BASE + PAGE - 2, 0x0403_0201).unwrap();
    space.protect(range, Perm { read: false, write: false, exec: true }).unwrap();
    let touched = space.regions()[0].touched;
    let mut bytes = [0; 6];
    space.peek(BASE + PAGE - 2, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 0, 0]);
    space.peek(BASE + 9 * PAGE, &mut bytes).unwrap();
    assert_eq!(space.regions()[0].touched, touched);
    let beyond = space.peek(BASE + PAGES * PAGE - 3, &mut bytes);
    assert!(matches!(beyond, Err(AccessError::Absent { .. })));
    space.unmap(BASE + PAGE..BASE + 2 * PAGE).unwrap();
    assert_eq!(space.peek(BASE + PAGE - 2, &mut bytes), Err(AccessError::Absent { gpa: BASE + PAGE }));
}
