//! The least ELF that a loader takes: a header, a program header a segment, the bytes.

const PAGE: u64 = 4096;
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const EXECUTABLE: u16 = 2;
const RISCV: u16 = 243;
/// Double-precision floating-point ABI, compressed instructions.
const FLAGS: u32 = 5;
const LOAD: u32 = 1;
const READ_WRITE_EXECUTE: u32 = 7;

/// Bytes and the page-aligned address where they belong.
pub struct Segment<'a> {
    pub at: u64,
    pub bytes: &'a [u8],
}

/// A static executable that starts at `entry`.
pub fn executable(entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    half(&mut file, &[EXECUTABLE, RISCV]);
    word(&mut file, &[1]);
    double(&mut file, &[entry, HEADER, 0]);
    word(&mut file, &[FLAGS]);
    half(&mut file, &[HEADER as u16, PROGRAM_HEADER as u16, segments.len() as u16, 0, 0, 0]);
    let mut offset = PAGE;
    for segment in segments {
        let len = segment.bytes.len() as u64;
        word(&mut file, &[LOAD, READ_WRITE_EXECUTE]);
        double(&mut file, &[offset, segment.at, segment.at, len, len, PAGE]);
        offset += len.next_multiple_of(PAGE);
    }
    for segment in segments {
        file.resize(file.len().next_multiple_of(PAGE as usize), 0);
        file.extend(segment.bytes);
    }
    file
}

fn half(file: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| file.extend(value.to_le_bytes()));
}

fn word(file: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| file.extend(value.to_le_bytes()));
}

fn double(file: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| file.extend(value.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSegment};

    #[test]
    fn a_reader_of_elf_finds_what_was_put_in() {
        let segments = [Segment { at: 0x10000, bytes: b"code" }, Segment { at: 0x20000, bytes: &[7; 5000] }];
        let file = executable(0x10002, &segments);
        let read = object::File::parse(&*file).expect("an ELF");
        assert_eq!((read.entry(), read.architecture()), (0x10002, object::Architecture::Riscv64));
        let found: Vec<_> =
            read.segments().map(|s| (s.address(), s.data().expect("bytes").to_vec())).collect();
        assert_eq!(found, [(0x10000, b"code".to_vec()), (0x20000, vec![7; 5000])]);
    }
}
