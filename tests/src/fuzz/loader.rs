//! Any file as kernel, firmware or initrd: it is refused with a message, or lies in RAM and nowhere else.
//!
//! ```text
//!  0 role and mode   1 shape and packing   then the file itself, or what is different in a well-formed one
//! ```

use std::io::Write;
use std::ops::Range;

use flate2::write::GzEncoder;
use tempfile::TempPath;
use vm_boot::cli::Mode;
use vm_boot::loader::{Blob, Entry, Loaded, Payload, load};
use vm_mmu::{AddressSpace, Backend, PAGE, Perm};

use super::{Input, check_message, file};

const BASE: u64 = 0x8000_0000;
const RAM: Range<u64> = BASE..BASE + (8 << 20);
/// Memory that is not RAM to the loader, on both sides of it.
const AROUND: u64 = 1 << 20;
const TREE_LEN: u64 = 0x1_0000;
const CODE: u64 = BASE + 0x20_0000;

/// Each shape, as it is.
pub const SEEDS: &[&[u8]] =
    &[&[0, 1], &[0, 2], &[0, 3], &[0, 5], &[0, 10], &[4, 3], &[1, 1], &[6, 2, 0, 0, 0, 20, 1]];

/// The target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let shaped = file(&shape(&mut input));
    let shaped = shaped.into_temp_path();
    let other = file(&image(CODE - BASE)).into_temp_path();
    let blob = |path: &TempPath| Some(Blob::File(path.to_path_buf()));
    let mode = [Mode::Auto, Mode::M, Mode::S][usize::from(choice >> 3) % 3];
    let none = Payload { kernel: None, initrd: None, firmware: None, mode };
    let payload = match choice % 5 {
        0 | 1 => Payload { kernel: blob(&shaped), ..none },
        2 => Payload { kernel: blob(&other), initrd: blob(&shaped), ..none },
        3 => Payload { firmware: blob(&shaped), ..none },
        _ => Payload { kernel: blob(&shaped), firmware: blob(&other), ..none },
    };
    let memory = memory();
    match load(&payload, RAM, &memory, TREE_LEN) {
        Ok(loaded) => check(&loaded, &payload),
        Err(error) => check_message(&error),
    }
    let inside = |page| RAM.contains(&page);
    assert!(memory.tracker().take_dirty().iter().all(inside), "{payload:?}: written outside RAM");
}

/// What is loaded lies in RAM, the place of the device tree apart.
fn check(loaded: &Loaded, payload: &Payload) {
    let (pc, next) = match loaded.entry {
        Entry::Machine { pc, next } => (pc, next),
        Entry::Supervisor { pc } => (pc, None),
    };
    let places = [Some(pc..pc + 1), next.map(|next| next..next + 1), loaded.initrd.clone()];
    for place in places.into_iter().flatten() {
        assert!(RAM.start <= place.start && place.end <= RAM.end, "{payload:?}: {loaded:x?}");
        assert!(place.end <= loaded.tree.start || loaded.tree.end <= place.start, "{payload:?}: {loaded:x?}");
    }
    assert!(RAM.start <= loaded.tree.start && loaded.tree.end <= RAM.end, "{loaded:x?}");
    assert!(loaded.tree.end - loaded.tree.start >= TREE_LEN, "{loaded:x?}");
    assert_eq!(loaded.initrd.is_some(), payload.initrd.is_some());
}

fn memory() -> AddressSpace {
    let all = RAM.start - AROUND..RAM.end + AROUND;
    let memory = AddressSpace::new(all.clone()).expect("a small space");
    memory.map(all, Backend::Linear { huge: false }, Perm::RWX).expect("nothing is mapped yet");
    memory.tracker().start_dirty_log();
    memory
}

/// The file: bytes as they are, or a well-formed one with damage; then packed, or not.
fn shape(input: &mut Input) -> Vec<u8> {
    let choice = input.byte();
    let rest = Input(std::mem::take(&mut input.0));
    let bytes = match choice & 3 {
        0 => rest.rest().to_vec(),
        1 => rest.damage(program()),
        2 => rest.damage(image(CODE - BASE)),
        _ => rest.damage(with_efi(image(CODE - BASE))),
    };
    match choice >> 2 & 3 {
        1 => {
            let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&bytes).and_then(|()| gzip.finish()).expect("memory takes all")
        }
        2 => [b"\x28\xb5\x2f\xfd", &bytes[..]].concat(),
        _ => bytes,
    }
}

/// Puts numbers into a file.
fn put<const BYTES: usize>(file: &mut [u8], at: usize, values: &[u64]) {
    for (slot, value) in file[at..].chunks_exact_mut(BYTES).zip(values) {
        slot.copy_from_slice(&value.to_le_bytes()[..BYTES]);
    }
}

/// A Linux image of a page (Documentation/arch/riscv/boot-image-header.rst).
fn image(text_offset: u64) -> Vec<u8> {
    let mut file = vec![0; PAGE as usize];
    put::<8>(&mut file, 8, &[text_offset, 2 * PAGE, 0]);
    file[48..60].copy_from_slice(b"RISCV\0\0\0RSC\x05");
    file
}

/// The same as an EFI application with one section, which ends with the file.
fn with_efi(mut file: Vec<u8>) -> Vec<u8> {
    const HEADER: usize = 64;
    let half = PAGE / 2;
    file[..2].copy_from_slice(b"MZ");
    put::<4>(&mut file, 60, &[HEADER as u64]);
    file[HEADER..HEADER + 4].copy_from_slice(b"PE\0\0");
    put::<2>(&mut file, HEADER + 6, &[1]);
    put::<4>(&mut file, HEADER + 24 + 16, &[half, half]);
    file
}

/// An ELF with a segment of two pages, of which the file has some bytes, and the symbol `tohost`.
fn program() -> Vec<u8> {
    const SEGMENT: u64 = 0x200;
    const SYMBOLS: u64 = 0x300;
    const NAMES: u64 = 0x340;
    const SECTIONS: u64 = 0x380;
    let mut file = vec![0; 0x380 + 3 * 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    put::<2>(&mut file, 16, &[2, 243, 1]);
    put::<8>(&mut file, 24, &[CODE, 64, SECTIONS]);
    put::<2>(&mut file, 52, &[64, 56, 1, 64, 3, 2]);
    // Type and flags; offset, addresses, sizes, alignment.
    put::<4>(&mut file, 64, &[1, 7]);
    put::<8>(&mut file, 72, &[SEGMENT, CODE, CODE, 0x80, 2 * PAGE, 8]);
    // The second symbol: name, then value.
    put::<4>(&mut file, SYMBOLS as usize + 24, &[1]);
    put::<8>(&mut file, SYMBOLS as usize + 32, &[CODE + PAGE]);
    file[NAMES as usize + 1..][..6].copy_from_slice(b"tohost");
    for (n, kind, offset, size, link, entry) in [(1, 2, SYMBOLS, 48, 2, 24), (2, 3, NAMES, 16, 0, 0)] {
        let header = SECTIONS as usize + n * 64;
        put::<4>(&mut file, header + 4, &[kind]);
        put::<8>(&mut file, header + 24, &[offset, size]);
        put::<4>(&mut file, header + 40, &[link]);
        put::<8>(&mut file, header + 56, &[entry]);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Damage to what is refused from the start would test nothing.
    #[test]
    fn every_well_formed_file_is_loaded() {
        for (bytes, pc) in [(program(), CODE), (image(0), BASE), (with_efi(image(CODE - BASE)), CODE)] {
            let path = file(&bytes).into_temp_path();
            let kernel = Some(Blob::File(path.to_path_buf()));
            let payload = Payload { kernel, initrd: None, firmware: None, mode: Mode::S };
            let loaded = load(&payload, RAM, &memory(), TREE_LEN).expect("a good file");
            assert_eq!(loaded.entry, Entry::Supervisor { pc });
            assert_eq!(loaded.htif.map(|htif| htif.tohost), (bytes[1] == b'E').then_some(CODE + PAGE));
        }
    }
}
