//! The kernel: a Linux `Image`, an ELF, or a raw binary that firmware starts.

use vm_mmu::AddressSpace;

use super::error::{LoadError, Problem, Role, about};
use super::image::{Header, stranger};
use super::layout::Layout;
use super::source::{Blob, Source};
use super::{Entry, Htif, elf};
use crate::cli::Mode;

/// Where firmware expects the next stage, from the start of RAM.
const NEXT_STAGE: u64 = 2 << 20;

const EXPECTED: &str = "a RISC-V kernel (Linux Image or 64-bit ELF)";
const EXPECTED_OR_RAW: &str = "a RISC-V kernel (Linux Image, 64-bit ELF or raw binary)";

/// A loaded kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// First instruction.
    pub pc: u64,
    /// Host-target interface, of a bare program.
    pub htif: Option<Htif>,
    machine_mode: bool,
}

impl Kernel {
    /// How it starts without firmware.
    pub fn entry(&self) -> Entry {
        match self.machine_mode {
            true => Entry::Machine { pc: self.pc, next: None },
            false => Entry::Supervisor { pc: self.pc },
        }
    }
}

/// Loads a kernel; `firmware` says that some is there to start it.
pub(super) fn load(
    blob: &Blob,
    mode: Mode,
    firmware: bool,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<Kernel, LoadError> {
    about(Role::Kernel, blob, || {
        let source = Source::open_unpacked(blob)?;
        if elf::is_elf(&source.head) {
            return load_elf(blob, &source, mode, layout, memory);
        }
        match Header::read(&source.head)? {
            Some(header) => load_image(source, header, mode, firmware, layout, memory),
            None => load_raw(source, mode, firmware, layout, memory),
        }
    })
}

fn load_elf(
    blob: &Blob,
    source: &Source,
    mode: Mode,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<Kernel, Problem> {
    if source.len.is_none() {
        let found = "one that is compressed or comes from a pipe".to_owned();
        return Err(Problem::Format { expected: "an ELF as a plain file", found });
    }
    let program = elf::load(blob, &source.head, "kernel", layout, memory)?;
    Ok(Kernel { pc: program.entry, htif: program.htif, machine_mode: mode != Mode::S })
}

/// At its text offset, but never where firmware lies.
fn load_image(
    source: Source,
    header: Header,
    mode: Mode,
    firmware: bool,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<Kernel, Problem> {
    let offset = if firmware { header.text_offset.max(NEXT_STAGE) } else { header.text_offset };
    let pc = layout.base() + offset;
    let found = stream(source, pc, header.image_size, "kernel", layout, memory)?;
    match header.file_size {
        Some(expected) if found < expected => Err(Problem::Truncated { expected, found }),
        _ => Ok(Kernel { pc, htif: None, machine_mode: mode == Mode::M }),
    }
}

/// A raw binary says nothing of itself, so somebody must have said what it is.
fn load_raw(
    source: Source,
    mode: Mode,
    firmware: bool,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<Kernel, Problem> {
    let known = firmware || mode != Mode::Auto;
    refuse_stranger(&source.head, if known { EXPECTED_OR_RAW } else { EXPECTED })?;
    if !known {
        let found = "neither; for a raw binary say --mode m, --mode s or --firmware".to_owned();
        return Err(Problem::Format { expected: EXPECTED, found });
    }
    let machine_mode = mode == Mode::M && !firmware;
    let pc = layout.base() + if machine_mode { 0 } else { NEXT_STAGE };
    stream(source, pc, 0, "kernel", layout, memory)?;
    Ok(Kernel { pc, htif: None, machine_mode })
}

/// Formats that are plainly something else.
pub(super) fn refuse_stranger(head: &[u8], expected: &'static str) -> Result<(), Problem> {
    match stranger(head) {
        Some(found) => Err(Problem::Format { expected, found: found.to_owned() }),
        None => Ok(()),
    }
}

/// Streams all of a file to `at` and takes that place, at least `size` bytes of it. Returns the bytes
/// that the file had.
pub(super) fn stream(
    mut source: Source,
    at: u64,
    size: u64,
    name: &'static str,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<u64, Problem> {
    let room = layout.room(at);
    let least = size.max(source.len.unwrap_or(0));
    if room == 0 {
        layout.claim(name, at, least.max(1))?;
    }
    if room < least {
        return Err(layout.no_room(at, least));
    }
    let loaded = memory.fill_from(at, room, &mut source.stream)?;
    if loaded == room && ends_not(&mut source)? {
        return Err(layout.no_room(at, loaded + 1));
    }
    layout.claim(name, at, loaded.max(size))?;
    Ok(loaded)
}

/// Whether a stream has still more bytes.
fn ends_not(source: &mut Source) -> Result<bool, Problem> {
    use std::io::Read;
    let mut next = [0];
    source.stream.read(&mut next).map(|got| got > 0).map_err(Problem::Read)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::elf::tests::{BASE, memory, synthetic as synthetic_elf};
    use super::super::image::tests::{synthetic, with_efi};
    use super::super::{Loaded, Payload, load as load_payload};
    use super::*;

    const RAM: u64 = 16 << 20;

    struct Bench {
        directory: tempfile::TempDir,
        memory: AddressSpace,
    }

    impl Bench {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), memory: memory(RAM) }
        }

        fn file(&self, name: &str, bytes: &[u8]) -> Option<Blob> {
            let path = self.directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Some(Blob::File(path))
        }

        fn load(&self, payload: &Payload) -> Result<Loaded, LoadError> {
            load_payload(payload, BASE..BASE + RAM, &self.memory, 0x1_0000)
        }

        fn holds(&self, at: u64, bytes: &[u8]) -> bool {
            let mut found = vec![0; bytes.len()];
            self.memory.read(at, &mut found).unwrap();
            found == bytes
        }
    }

    fn kernel(kernel: Option<Blob>) -> Payload {
        Payload { kernel, initrd: None, firmware: None, mode: Mode::Auto }
    }

    #[test]
    fn an_image_goes_to_its_text_offset_however_it_is_packed() {
        let image = synthetic(0x20_0000, 0x10_0000, 0x8_0123);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&image).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&image[..], ruzstd::encoding::CompressionLevel::Fastest);
        for (name, bytes) in [("raw", image.clone()), ("gzip", gzip.finish().unwrap()), ("zstd", zstd)] {
            let bench = Bench::new();
            let loaded = bench.load(&kernel(bench.file("Image", &bytes))).unwrap();
            assert_eq!(loaded.entry, Entry::Supervisor { pc: BASE + 0x20_0000 }, "{name}");
            assert!(bench.holds(BASE + 0x20_0000, &image), "{name}");
        }
    }

    #[test]
    fn firmware_kernel_and_initrd_each_have_their_place() {
        let bench = Bench::new();
        let (firmware, raw, initrd) = (vec![1; 0x3000], vec![2; 0x5000], vec![3; 0x1801]);
        let payload = Payload {
            kernel: bench.file("u-boot.bin", &raw),
            initrd: bench.file("initrd", &initrd),
            firmware: bench.file("fw.bin", &firmware),
            mode: Mode::Auto,
        };
        let loaded = bench.load(&payload).unwrap();
        assert_eq!(loaded.entry, Entry::Machine { pc: BASE, next: Some(BASE + 0x20_0000) });
        let at = loaded.initrd.unwrap();
        assert_eq!(at.end - at.start, 0x1801);
        assert!(at.end <= loaded.tree.start && at.start.is_multiple_of(4096));
        assert!(bench.holds(BASE, &firmware));
        assert!(bench.holds(BASE + 0x20_0000, &raw));
        assert!(bench.holds(at.start, &initrd));
    }

    #[test]
    fn modes_of_a_kernel_without_firmware() {
        let bench = Bench::new();
        let elf = bench.file("kernel.elf", &synthetic_elf(BASE));
        let machine = Entry::Machine { pc: BASE, next: None };
        assert_eq!(bench.load(&kernel(elf.clone())).unwrap().entry, machine);
        let supervised = Payload { mode: Mode::S, ..kernel(elf) };
        assert_eq!(bench.load(&supervised).unwrap().entry, Entry::Supervisor { pc: BASE });
        let raw = bench.file("raw", &[0x13; 64]);
        let bare = Payload { mode: Mode::M, ..kernel(raw) };
        assert_eq!(bench.load(&bare).unwrap().entry, machine);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bench = Bench::new();
        let image = with_efi(synthetic(0x20_0000, 0x2_0000, 0x1_0000), 0x1_0000);
        let mut x86 = vec![0; 0x1000];
        x86[0x202..0x206].copy_from_slice(b"HdrS");
        let huge = synthetic(0x20_0000, 64 << 20, 4096);
        for (name, bytes, part) in [
            ("empty", &b""[..], "is empty"),
            ("cut", &image[..0x8000], "truncated"),
            ("x86", &x86, "x86 bzImage"),
            ("xz", b"\xfd7zXZ\0rest", "xz: decompress it first"),
            ("cut.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "cannot be read"),
            ("noise", &[0xa5; 5000], "say --mode m, --mode s or --firmware"),
            ("huge", &huge, "give the machine more --memory"),
        ] {
            let message = bench.load(&kernel(bench.file(name, bytes))).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(name), "{message}");
        }
        let absent =
            bench.load(&kernel(Some(Blob::File(bench.directory.path().join("absent"))))).unwrap_err();
        assert!(absent.to_string().contains("cannot be opened"), "{absent}");
        let directory = bench.load(&kernel(Some(Blob::File(bench.directory.path().into())))).unwrap_err();
        assert!(directory.to_string().contains("expected a regular file"), "{directory}");
    }

    #[test]
    fn an_initrd_larger_than_ram_is_refused() {
        let bench = Bench::new();
        let path = bench.directory.path().join("initrd");
        std::fs::File::create(&path).unwrap().set_len(RAM + 1).unwrap();
        let payload =
            Payload { initrd: Some(Blob::File(path)), ..kernel(bench.file("k.elf", &synthetic_elf(BASE))) };
        let message = bench.load(&payload).unwrap_err().to_string();
        assert!(message.contains("initrd") && message.contains("more --memory"), "{message}");
    }
}
