//! ELF programs: segments to their *physical* addresses, the entry, and the symbols of the
//! host-target interface.

use std::io::{Read, SeekFrom};

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{LittleEndian, ReadCache, ReadRef};
use vm_mmu::AddressSpace;

use super::Htif;
use super::error::Problem;
use super::layout::Layout;
use super::source::{Blob, Seekable};

const EXPECTED: &str = "a 64-bit little-endian RISC-V program";
const LE: LittleEndian = LittleEndian;

/// A loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// First instruction.
    pub entry: u64,
    /// Where it talks to the host, if it does.
    pub htif: Option<Htif>,
}

/// One piece of the file and where it belongs.
struct Segment {
    offset: u64,
    file_len: u64,
    at: u64,
    /// Where the program sees it once it has page tables.
    virt: u64,
    len: u64,
}

/// Whether a file is an ELF of any kind.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// Loads a program; `name` is what it is called when another thing is in its way.
pub(super) fn load(
    blob: &Blob,
    head: &[u8],
    name: &'static str,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<Program, Problem> {
    check_kind(head)?;
    let (mut file, len) = blob.open()?;
    let file_len = len.ok_or(Problem::NotAFile)?;
    let cache = ReadCache::new(blob.open()?.0);
    let header = FileHeader64::<LittleEndian>::parse(&cache).map_err(damaged)?;
    let mut segments = segments(header, &cache)?;
    let bias = bias(header, &segments, layout.base());
    for segment in &mut segments {
        segment.at = segment.at.wrapping_add(bias);
        place(segment, &mut *file, file_len, name, layout, memory)?;
    }
    Ok(Program { entry: entry(header.e_entry(LE), bias, &segments)?, htif: find_htif(header, &cache)? })
}

/// The physical address of the entry, which kernels that are linked high give as a virtual one. A hart
/// can only begin where something has been loaded.
fn entry(named: u64, bias: u64, segments: &[Segment]) -> Result<u64, Problem> {
    let inside = |address: u64, start: fn(&Segment) -> u64| {
        let found = segments.iter().find(|segment| address.wrapping_sub(start(segment)) < segment.len);
        found.map(|segment| segment.at + (address - start(segment)))
    };
    let found = inside(named.wrapping_add(bias), |segment| segment.at).or_else(|| inside(named, |s| s.virt));
    let expected = "an even address in one of its segments";
    let refused = Problem::Header { what: "entry address of the program", expected, found: named };
    found.filter(|entry| entry.is_multiple_of(2)).ok_or(refused)
}

/// Class, byte order, machine and type, each with its own message.
fn check_kind(head: &[u8]) -> Result<(), Problem> {
    let half = |at: usize| head.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let (Some(kind), Some(machine)) = (half(16), half(18)) else {
        return Err(Problem::Truncated { expected: 64, found: head.len() as u64 });
    };
    let found = match (head[4], head[5]) {
        (_, elf::ELFDATA2MSB) => "a big-endian ELF".to_owned(),
        _ if machine != elf::EM_RISCV => format!("an ELF for {}", machine_name(machine)),
        (elf::ELFCLASS64, _) if matches!(kind, elf::ET_EXEC | elf::ET_DYN) => return Ok(()),
        (elf::ELFCLASS64, _) => format!("an ELF of type {kind}, which is not linked to be run"),
        _ => "a 32-bit ELF".to_owned(),
    };
    Err(Problem::Format { expected: EXPECTED, found })
}

fn machine_name(machine: u16) -> String {
    match machine {
        elf::EM_X86_64 => "x86-64".to_owned(),
        elf::EM_386 => "x86".to_owned(),
        elf::EM_AARCH64 => "arm64".to_owned(),
        elf::EM_ARM => "arm".to_owned(),
        _ => format!("machine {machine}"),
    }
}

fn segments<'data, R: ReadRef<'data>>(
    header: &FileHeader64<LittleEndian>,
    data: R,
) -> Result<Vec<Segment>, Problem> {
    let headers = header.program_headers(LE, data).map_err(damaged)?;
    let loads: Vec<Segment> = headers
        .iter()
        .filter(|header| header.p_type(LE) == elf::PT_LOAD && header.p_memsz(LE) > 0)
        .map(|header| Segment {
            offset: header.p_offset(LE),
            file_len: header.p_filesz(LE),
            at: header.p_paddr(LE),
            virt: header.p_vaddr(LE),
            len: header.p_memsz(LE),
        })
        .collect();
    if loads.is_empty() {
        return Err(Problem::Elf("expected at least one segment to load, found none".to_owned()));
    }
    Ok(loads)
}

/// A position-independent program linked below RAM (as firmware often is, at 0) goes to its start.
fn bias(header: &FileHeader64<LittleEndian>, segments: &[Segment], base: u64) -> u64 {
    let lowest = segments.iter().map(|segment| segment.at).min().unwrap_or(base);
    let movable = header.e_type(LE) == elf::ET_DYN && lowest < base;
    if movable { base - (lowest & !(vm_mmu::PAGE - 1)) } else { 0 }
}

/// RAM is zero when a payload is loaded, so what the file does not hold needs no work.
fn place(
    segment: &Segment,
    file: &mut dyn Seekable,
    file_len: u64,
    name: &'static str,
    layout: &mut Layout,
    memory: &AddressSpace,
) -> Result<(), Problem> {
    if segment.file_len > segment.len {
        return Err(Problem::Header {
            what: "file size of a segment",
            expected: "at most its memory size",
            found: segment.file_len,
        });
    }
    let end = segment.offset.saturating_add(segment.file_len);
    if end > file_len {
        return Err(Problem::Truncated { expected: end, found: file_len });
    }
    let range = layout.claim(name, segment.at, segment.len)?;
    file.seek(SeekFrom::Start(segment.offset)).map_err(Problem::Read)?;
    let loaded = memory.fill_from(range.start, segment.file_len, &mut file.take(segment.file_len))?;
    if loaded < segment.file_len {
        return Err(Problem::Truncated { expected: end, found: segment.offset + loaded });
    }
    Ok(())
}

fn find_htif<'data, R: ReadRef<'data>>(
    header: &'data FileHeader64<LittleEndian>,
    data: R,
) -> Result<Option<Htif>, Problem> {
    let sections = header.sections(LE, data).map_err(damaged)?;
    if !sections.iter().any(|section| section.sh_type(LE) == elf::SHT_SYMTAB) {
        return Ok(None);
    }
    let symbols = sections.symbols(LE, data, elf::SHT_SYMTAB).map_err(damaged)?;
    let address = |name: &[u8]| {
        let symbol = symbols.iter().find(|symbol| symbol.name(LE, symbols.strings()) == Ok(name));
        symbol.map(|symbol| symbol.st_value(LE))
    };
    Ok(address(b"tohost").map(|tohost| Htif { tohost, fromhost: address(b"fromhost") }))
}

fn damaged(error: object::Error) -> Problem {
    Problem::Elf(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use vm_mmu::{Backend, Perm};

    pub const BASE: u64 = 0x8000_0000;

    /// An ELF with one segment of 16 bytes in a file of 0x1010 bytes, linked at `at`.
    pub fn synthetic(at: u64) -> Vec<u8> {
        let mut file = vec![0; 0x1010];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16..18].copy_from_slice(&elf::ET_EXEC.to_le_bytes());
        file[18..20].copy_from_slice(&elf::EM_RISCV.to_le_bytes());
        file[20] = 1;
        for (offset, value) in [(24, at), (32, 64)] {
            file[offset..offset + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        for (offset, value) in [(52, 64u16), (54, 56), (56, 1), (58, 64)] {
            file[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
        }
        file[64..68].copy_from_slice(&elf::PT_LOAD.to_le_bytes());
        // Offset, virtual and physical address, file size, memory size.
        for (index, value) in [0x1000, 0xffff_ffff_8000_0000, at, 16, 32].into_iter().enumerate() {
            file[72 + index * 8..80 + index * 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        file[0x1000..].copy_from_slice(b"sixteen bytes...");
        file
    }

    pub fn memory(size: u64) -> AddressSpace {
        let memory = AddressSpace::new(BASE..BASE + size).unwrap();
        memory.map(BASE..BASE + size, Backend::Linear { huge: false }, Perm::RWX).unwrap();
        memory
    }

    fn load_bytes(bytes: &[u8]) -> (Result<Program, Problem>, AddressSpace) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let memory = memory(8 << 20);
        let mut layout = Layout::new(BASE..BASE + (8 << 20), 0x1000).unwrap();
        let head = &bytes[..bytes.len().min(4096)];
        (load(&Blob::File(file.path().into()), head, "kernel", &mut layout, &memory), memory)
    }

    #[test]
    fn segments_go_to_their_physical_addresses() {
        let (program, memory) = load_bytes(&synthetic(BASE + 0x3000));
        assert_eq!(program.unwrap(), Program { entry: BASE + 0x3000, htif: None });
        let mut text = [0; 18];
        memory.read(BASE + 0x3000, &mut text).unwrap();
        assert_eq!(&text, b"sixteen bytes...\0\0");
    }

    #[test]
    fn a_movable_program_goes_to_the_start_of_ram() {
        let mut file = synthetic(0x100);
        file[16..18].copy_from_slice(&elf::ET_DYN.to_le_bytes());
        let (program, memory) = load_bytes(&file);
        assert_eq!(program.unwrap().entry, BASE + 0x100);
        assert_eq!(memory.read_u8(BASE + 0x100).unwrap(), b's');
    }

    #[test]
    fn wrong_kinds_are_named() {
        let file = synthetic(BASE);
        for (at, bytes, part) in [
            (4, &[1][..], "32-bit"),
            (5, &[2], "big-endian"),
            (18, &[62, 0], "x86-64"),
            (18, &[183, 0], "arm64"),
            (18, &[9, 9], "machine 2313"),
            (16, &[1, 0], "not linked to be run"),
        ] {
            let mut wrong = file.clone();
            wrong[at..at + bytes.len()].copy_from_slice(bytes);
            let message = load_bytes(&wrong).0.unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(EXPECTED), "{message}");
        }
    }

    #[test]
    fn bad_segments_are_refused() {
        assert!(matches!(load_bytes(&synthetic(0x1000)).0, Err(Problem::Outside { .. })));
        assert!(matches!(load_bytes(&synthetic(u64::MAX - 8)).0, Err(Problem::Outside { .. })));
        assert!(matches!(load_bytes(&synthetic(BASE)[..0x1008]).0, Err(Problem::Truncated { .. })));
        assert!(matches!(load_bytes(&synthetic(BASE)[..12]).0, Err(Problem::Truncated { .. })));
        let mut larger_than_memory = synthetic(BASE);
        larger_than_memory[104] = 0;
        larger_than_memory[96 + 1] = 1;
        assert!(load_bytes(&larger_than_memory).0.is_err());
        let mut no_segment = synthetic(BASE);
        no_segment[56] = 0;
        assert!(matches!(load_bytes(&no_segment).0, Err(Problem::Elf(_))));
    }

    #[test]
    fn a_virtual_entry_is_where_its_segment_lies() {
        let mut file = synthetic(BASE + 0x3000);
        file[24..32].copy_from_slice(&0xffff_ffff_8000_0004u64.to_le_bytes());
        assert_eq!(load_bytes(&file).0.unwrap().entry, BASE + 0x3004);
    }

    #[test]
    fn an_entry_outside_of_what_is_loaded_is_refused() {
        for entry in [0, BASE - 2, BASE + 1, BASE + 32, 0xffff_ffff_7fff_fffe] {
            let mut file = synthetic(BASE);
            file[24..32].copy_from_slice(&u64::to_le_bytes(entry));
            let error = load_bytes(&file).0.unwrap_err();
            assert!(matches!(error, Problem::Header { found, .. } if found == entry), "{error}");
        }
    }

    #[test]
    fn noise_in_any_header_byte_never_panics() {
        let file = synthetic(BASE);
        for at in 0..120 {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut noisy = file.clone();
                noisy[at] = byte;
                let _ = load_bytes(&noisy);
            }
        }
    }
}
