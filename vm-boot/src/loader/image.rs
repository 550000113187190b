//! The header of a RISC-V Linux `Image` (Documentation/arch/riscv/boot-image-header.rst).
//!
//! ```text
//!   0 code0 code1   8 text_offset  16 image_size  24 flags  32 version
//!  48 "RISCV\0\0\0" (old magic)    56 "RSC\x05"   60 offset of the PE header, for EFI
//! ```

use super::error::Problem;

/// Bytes of the header.
const LEN: usize = 64;
const MAGIC: &[u8] = b"RSC\x05";
const OLD_MAGIC: &[u8] = b"RISCV\0\0\0";
/// Bytes of the PE file header, which an EFI kernel has right behind this one.
const PE_HEADER: u64 = 24;
/// Bytes of its section table for each section.
const PE_SECTION: u64 = 40;
const FLAG_BIG_ENDIAN: u64 = 1;
/// Images are linked to run from multiples of this.
const ALIGN: u64 = 2 << 20;
/// No kernel is as large; a header that says so is damaged.
const SIZE_LIMIT: u64 = 1 << 30;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the image wants to lie, from the start of RAM.
    pub text_offset: u64,
    /// Bytes that it needs there, with what is not in the file.
    pub image_size: u64,
    /// Bytes of the file, if it has an EFI section table that says so.
    pub file_size: Option<u64>,
}

impl Header {
    /// Reads the header of an `Image`; `None` if it is none.
    pub fn read(head: &[u8]) -> Result<Option<Self>, Problem> {
        let magic = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
        if !magic(56, MAGIC) && !magic(48, OLD_MAGIC) {
            return Ok(None);
        }
        let (Some(text_offset), Some(image_size), Some(flags)) =
            (u64_at(head, 8), u64_at(head, 16), u64_at(head, 24))
        else {
            return Err(Problem::Truncated { expected: LEN as u64, found: head.len() as u64 });
        };
        let expected = efi_headers_end(head);
        if (head.len() as u64) < expected {
            return Err(Problem::Truncated { expected, found: head.len() as u64 });
        }
        let header = Self { text_offset, image_size, file_size: efi_file_size(head) };
        header.check(flags)?;
        Ok(Some(header))
    }

    fn check(&self, flags: u64) -> Result<(), Problem> {
        if flags & FLAG_BIG_ENDIAN != 0 {
            return Err(Problem::Format {
                expected: "a little-endian RISC-V kernel",
                found: "a big-endian one".to_owned(),
            });
        }
        if !self.text_offset.is_multiple_of(ALIGN) || self.text_offset > SIZE_LIMIT {
            return Err(Problem::Header {
                what: "text_offset of the image",
                expected: "a multiple of 2 MiB up to 1 GiB",
                found: self.text_offset,
            });
        }
        if self.image_size > SIZE_LIMIT {
            return Err(Problem::Header {
                what: "image_size of the image",
                expected: "at most 1 GiB",
                found: self.image_size,
            });
        }
        Ok(())
    }
}

/// Where the headers of an EFI kernel end, as far as what is there tells; 0 for another kernel.
fn efi_headers_end(head: &[u8]) -> u64 {
    if !head.starts_with(b"MZ") {
        return 0;
    }
    let Some(pe) = u32_at(head, 60).map(u64::from) else { return LEN as u64 };
    let field = |at: u64| usize::try_from(at).ok().and_then(|at| u16_at(head, at)).map(u64::from);
    match (field(pe + 6), field(pe + 20)) {
        (Some(sections), Some(optional)) => pe + PE_HEADER + optional + sections * PE_SECTION,
        _ => pe + PE_HEADER,
    }
}

/// The end of the last section in the file (PE/COFF: 24 bytes of file header, optional header, then
/// 40 bytes a section with size and offset of its data at 16 and 20).
fn efi_file_size(head: &[u8]) -> Option<u64> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let pe = u32_at(head, 60)? as usize;
    if head.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let sections = usize::from(u16_at(head, pe + 6)?);
    let table = pe + 24 + usize::from(u16_at(head, pe + 20)?);
    let ends = (0..sections).map(|section| {
        let at = table + section * 40;
        Some(u64::from(u32_at(head, at + 16)?) + u64::from(u32_at(head, at + 20)?))
    });
    ends.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

/// What a file that is neither a RISC-V `Image` nor an ELF might be instead.
pub(super) fn stranger(head: &[u8]) -> Option<&'static str> {
    let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    if has(0x202, b"HdrS") {
        Some("an x86 bzImage")
    } else if has(56, b"ARM\x64") {
        Some("an arm64 Image")
    } else if has(0x24, &[0x18, 0x28, 0x6f, 0x01]) {
        Some("an arm zImage")
    } else if has(4, b"zimg") {
        Some("a compressed EFI application (zboot); extract the kernel inside it first")
    } else if has(0, &[0x27, 0x05, 0x19, 0x56]) {
        Some("a U-Boot uImage; pass the Image that it was made from")
    } else if has(0, &[0xd0, 0x0d, 0xfe, 0xed]) {
        Some("a device tree or FIT image")
    } else if has(0, b"MZ") {
        Some("an EFI application for another architecture")
    } else if has(0, b"#!") {
        Some("a script")
    } else if has(0, b"07070") {
        Some("a cpio archive; is it the initrd?")
    } else {
        None
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An `Image` of `len` bytes that asks for `image_size` bytes at `text_offset`.
    pub fn synthetic(text_offset: u64, image_size: u64, len: usize) -> Vec<u8> {
        let mut image: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        image[..LEN].fill(0);
        image[8..16].copy_from_slice(&text_offset.to_le_bytes());
        image[16..24].copy_from_slice(&image_size.to_le_bytes());
        image[56..60].copy_from_slice(MAGIC);
        image
    }

    /// The same with an EFI section table whose data ends at `end`.
    pub fn with_efi(mut image: Vec<u8>, end: u32) -> Vec<u8> {
        image[..2].copy_from_slice(b"MZ");
        image[60..64].copy_from_slice(&64u32.to_le_bytes());
        image[64..192].fill(0);
        image[64..68].copy_from_slice(b"PE\0\0");
        image[70..72].copy_from_slice(&1u16.to_le_bytes());
        image[64 + 24 + 16..][..4].copy_from_slice(&(end - 0x1000).to_le_bytes());
        image[64 + 24 + 20..][..4].copy_from_slice(&0x1000u32.to_le_bytes());
        image
    }

    #[test]
    fn header_is_read() {
        let image = synthetic(0x20_0000, 0x123_4000, 4096);
        let header = Header { text_offset: 0x20_0000, image_size: 0x123_4000, file_size: None };
        assert_eq!(Header::read(&image).unwrap(), Some(header));
        let efi = Header::read(&with_efi(image, 0x9000)).unwrap().unwrap();
        assert_eq!(efi, Header { file_size: Some(0x9000), ..header });
        assert_eq!(Header::read(&[0; 4096]).unwrap(), None);
    }

    #[test]
    fn damaged_headers_are_refused() {
        let mut big = synthetic(0x20_0000, 0x1000, 64);
        big[24] = 1;
        assert!(matches!(Header::read(&big), Err(Problem::Format { .. })));
        for image in [synthetic(0x1000, 0x1000, 64), synthetic(0x20_0000, 1 << 60, 64)] {
            assert!(matches!(Header::read(&image), Err(Problem::Header { .. })));
        }
    }

    #[test]
    fn an_efi_kernel_cut_off_in_its_headers_is_truncated() {
        let image = with_efi(synthetic(0x20_0000, 0x1000, 512), 0x9000);
        for cut in 64..efi_headers_end(&image) as usize {
            assert!(matches!(Header::read(&image[..cut]), Err(Problem::Truncated { .. })), "{cut}");
        }
    }

    #[test]
    fn no_head_panics() {
        let image = with_efi(synthetic(0x20_0000, 0x1000, 512), 0x9000);
        for cut in 0..image.len() {
            let _ = Header::read(&image[..cut]);
        }
        for at in 0..image.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut noisy = image.clone();
                noisy[at] = byte;
                let _ = Header::read(&noisy);
                stranger(&noisy);
            }
        }
    }

    #[test]
    fn strangers_are_named() {
        let mut x86 = vec![0; 0x300];
        x86[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(stranger(&x86), Some("an x86 bzImage"));
        let mut arm64 = vec![0; 64];
        arm64[56..60].copy_from_slice(b"ARM\x64");
        assert_eq!(stranger(&arm64), Some("an arm64 Image"));
        assert_eq!(stranger(&[0; 64]), None);
    }
}
