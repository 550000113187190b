//! Devices write through `vm-memory`: their writes take the same door, under virtio queues too.

use std::io::Write;

use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::{Queue, QueueT};
use vm_memory::bitmap::Bitmap;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileMemory};
use vm_mmu::{Backend, PAGE, Perm};

use super::tracker::{BASE, space};

const TABLE: u64 = BASE + 0x1000;
const AVAIL: u64 = BASE + 0x2000;
const USED: u64 = BASE + 0x3000;
const BUFFER: u64 = BASE + 0x8000;

#[test]
fn every_way_of_writing_reaches_the_listener_after_the_bytes() {
    let (space, heard) = space();
    let memory = space.memory();
    let at = GuestAddress(BUFFER + 60);
    let ways: [(&str, &dyn Fn()); 6] = [
        ("write_slice", &|| memory.write_slice(&[7; 8], at).unwrap()),
        ("write_obj", &|| memory.write_obj(7u64, at).unwrap()),
        ("read_volatile_from", &|| memory.read_exact_volatile_from(at, &mut &[7u8; 8][..], 8).unwrap()),
        ("atomic store", &|| memory.store(7u32, at, std::sync::atomic::Ordering::Release).unwrap()),
        ("slice", &|| memory.get_slice(at, 8).unwrap().copy_from(&[7u8; 8])),
        ("reference", &|| memory.get_slice(at, 8).unwrap().get_ref::<u16>(2).unwrap().store(7)),
    ];
    for (name, write) in ways {
        space.write(BUFFER, &[0; 128]).unwrap();
        space.tracker().add_code(BUFFER, 0b111);
        write();
        let killed = heard.take();
        assert_eq!(killed.len(), 1, "{name}");
        assert!(killed[0].0 == BUFFER && killed[0].1 & 0b100 == 0, "{name}: {killed:x?}");
        assert_ne!(space.read_u64(BUFFER + 60).unwrap(), 0, "{name}");
        space.write(BUFFER, &[0; 192]).unwrap();
        heard.take();
    }
}

#[test]
fn writes_are_dirty_exactly_where_they_are() {
    let (space, _) = space();
    let memory = space.memory();
    space.tracker().start_dirty_log();
    memory.write_slice(&[1; 2], GuestAddress(BUFFER + PAGE - 1)).unwrap();
    let mut buf = [0; 4];
    memory.read_slice(&mut buf, GuestAddress(BASE)).unwrap();
    assert_eq!(space.tracker().take_dirty().iter().collect::<Vec<_>>(), [BUFFER, BUFFER + PAGE]);

    let slice = memory.get_slice(GuestAddress(BUFFER), 8 * PAGE as usize).unwrap();
    let part = slice.offset(2 * PAGE as usize).unwrap().subslice(PAGE as usize, 8).unwrap();
    assert!(!part.bitmap().dirty_at(0));
    part.copy_from(&[1u8; 8]);
    assert!(part.bitmap().dirty_at(0));
    assert_eq!(space.tracker().take_dirty().iter().collect::<Vec<_>>(), [BUFFER + 3 * PAGE]);
}

#[test]
fn a_virtio_chain_writes_through_the_door_across_regions() {
    let (space, heard) = space();
    // The second buffer crosses into a region of another kind.
    space.unmap(BASE + 16 * PAGE..BASE + 64 * PAGE).unwrap();
    space.map(BASE + 16 * PAGE..BASE + 20 * PAGE, Backend::Lazy, Perm::RWX).unwrap();
    let second = BASE + 16 * PAGE - 16;
    heard.take();

    let memory = space.memory();
    let (next, write) = (VRING_DESC_F_NEXT as u16, VRING_DESC_F_WRITE as u16);
    let descriptors = [Descriptor::new(BUFFER, 64, next | write, 1), Descriptor::new(second, 32, write, 0)];
    for (index, descriptor) in descriptors.into_iter().enumerate() {
        memory.write_obj(RawDescriptor::from(descriptor), GuestAddress(TABLE + 16 * index as u64)).unwrap();
    }
    space.write(AVAIL, &[0, 0, 1, 0, 0, 0]).unwrap(); // flags, idx = 1, ring[0] = 0

    let mut queue = Queue::new(8).unwrap();
    queue.set_desc_table_address(Some(TABLE as u32), Some(0));
    queue.set_avail_ring_address(Some(AVAIL as u32), Some(0));
    queue.set_used_ring_address(Some(USED as u32), Some(0));
    queue.set_ready(true);
    assert!(queue.is_valid(&*memory));

    space.tracker().add_code(BUFFER, 1);
    space.tracker().add_code(BASE + 16 * PAGE, 1);
    let chain = queue.pop_descriptor_chain(memory.clone()).unwrap();
    let head = chain.head_index();
    let mut writer = chain.writer(&*memory).unwrap();
    writer.write_all(&[0xab; 96]).unwrap();
    queue.add_used(&*memory, head, 96).unwrap();

    assert_eq!(heard.take(), [(BUFFER, 1), (BASE + 16 * PAGE, 1)]);
    assert_eq!(space.read_u64(BASE + 16 * PAGE + 8).unwrap(), 0xabab_abab_abab_abab);
    assert_eq!(space.read_u16(USED + 2).unwrap(), 1);
}

#[test]
fn rom_and_holes_are_not_there_for_devices() {
    let (space, _) = space();
    space.protect(BASE + PAGE..BASE + 2 * PAGE, Perm::RX).unwrap();
    space.unmap(BASE + 2 * PAGE..BASE + 3 * PAGE).unwrap();
    let memory = space.memory();
    for gpa in [BASE + PAGE, BASE + 2 * PAGE, 0, u64::MAX] {
        assert!(memory.write_obj(1u8, GuestAddress(gpa)).is_err(), "{gpa:#x}");
    }
    assert_eq!(memory.write(&[1; 32], GuestAddress(BASE + PAGE - 16)).unwrap(), 16);
    assert!(!memory.check_range(GuestAddress(BASE + PAGE - 16), 32));
}
