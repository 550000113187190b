//! The first page of an image: what it is for, what is in it, and who says so.
//!
//! ```text
//!     0  magic     "VMBAOT\r\n"            256  table    64 bytes a section, in the order of the file
//!     8  format    u32                            0  name     16 bytes, ASCII
//!    12  abi       u32                           16  offset   u64, a multiple of 4096
//!    16  layout    u64                           24  length   u64
//!    24  length    u64, of the file              32  BLAKE3   of the section and the zeros behind it
//!    32  version   u64                     512  zeros
//!    40  words     u32                    4032  signature     Ed25519 over bytes 0 to 4031
//!    44  units     u32
//!    48  build id  BLAKE3
//!    80  key       Ed25519, public
//!   112  level     64 bytes, ASCII
//!   176  guest     64 bytes, ASCII
//!   240  zeros
//! ```
//! All numbers are little-endian, what a text does not fill is zero.
//!
//! **Invariant.** The sections follow the header and each other page by page up to the end of the file, so the
//! signature vouches for every byte: for those of the header itself, for all others by their BLAKE3.

use std::cmp::Ordering;
use std::ops::Range;

use ed25519_dalek::{SIGNATURE_LENGTH, Signature, Signer, SigningKey, VerifyingKey};

use super::error::ImageError;
use super::keys::KeyId;

/// The format that is written and read.
pub const FORMAT: u32 = 5;
/// What units and their loader agree on, beyond the layout of structures.
pub const ABI: u32 = 1;
/// What sections are aligned to, and the length of the header.
pub const PAGE: usize = 4096;
/// The longest file that is looked at.
pub const LONGEST: u64 = 1 << 30;
/// Bytes of a text in the header.
pub const TEXT: usize = 64;

const MAGIC: &[u8; 8] = b"VMBAOT\r\n";
const TABLE: usize = 256;
const ROW: usize = 64;
const NAME: usize = 16;
const SIGNATURE: usize = PAGE - SIGNATURE_LENGTH;

/// The sections, in the order in which they lie.
pub const SECTIONS: [&str; 5] = ["text", "units", "ranges", "lookup", "origins"];

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub name: &'static str,
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes, without the zeros behind it.
    pub length: u64,
    /// BLAKE3 of all its pages.
    pub digest: [u8; 32],
}

impl Section {
    /// Its bytes in the file.
    pub fn range(&self) -> Range<usize> {
        self.offset as usize..(self.offset + self.length) as usize
    }

    fn end(&self) -> u64 {
        self.offset + self.length.next_multiple_of(PAGE as u64)
    }
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of what units and their loader agree on.
    pub abi: u32,
    /// Number of the layout of structures that units know.
    pub layout: u64,
    /// Counts up with each image for the same guest.
    pub version: u64,
    /// Words behind the text.
    pub words: u32,
    /// How many units there are.
    pub units: u32,
    /// BLAKE3 of the guest's instructions.
    pub build_id: [u8; 32],
    /// The public key of the signature.
    pub key: [u8; 32],
    /// What it needs of the host's CPU.
    pub level: String,
    /// Whose versions are counted together.
    pub guest: String,
    /// The table.
    pub sections: [Section; SECTIONS.len()],
}

/// Lays sections out behind the header, and notes where: the file, but for its first page.
pub fn lay_out(parts: &[Vec<u8>; SECTIONS.len()]) -> ([Section; SECTIONS.len()], Vec<u8>) {
    let mut file = Vec::new();
    let sections = std::array::from_fn(|at| {
        let start = file.len();
        file.extend(&parts[at]);
        file.resize(file.len().next_multiple_of(PAGE), 0);
        Section {
            name: SECTIONS[at],
            offset: (PAGE + start) as u64,
            length: parts[at].len() as u64,
            digest: *blake3::hash(&file[start..]).as_bytes(),
        }
    });
    (sections, file)
}

impl Header {
    /// The first page, signed.
    pub fn write(&self, key: &SigningKey) -> Vec<u8> {
        let mut page = MAGIC.to_vec();
        page.extend(FORMAT.to_le_bytes());
        page.extend(self.abi.to_le_bytes());
        page.extend(self.layout.to_le_bytes());
        page.extend(self.sections[SECTIONS.len() - 1].end().to_le_bytes());
        page.extend(self.version.to_le_bytes());
        page.extend(self.words.to_le_bytes());
        page.extend(self.units.to_le_bytes());
        page.extend(self.build_id);
        page.extend(self.key);
        for text in [&self.level, &self.guest] {
            let end = page.len() + TEXT;
            page.extend(text.bytes());
            page.resize(end, 0);
        }
        page.resize(TABLE, 0);
        for section in &self.sections {
            let end = page.len() + NAME;
            page.extend(section.name.bytes());
            page.resize(end, 0);
            page.extend(section.offset.to_le_bytes());
            page.extend(section.length.to_le_bytes());
            page.extend(section.digest);
        }
        page.resize(SIGNATURE, 0);
        let signature = key.sign(&page);
        page.extend(signature.to_bytes());
        page
    }

    /// Reads the first page of a file of `length` bytes that is known to be [`whole`].
    pub fn read(page: &[u8], length: u64) -> Result<Header, ImageError> {
        let zeros = |range: Range<usize>| page[range].iter().all(|&byte| byte == 0);
        if !zeros(176 + TEXT..TABLE) || !zeros(TABLE + ROW * SECTIONS.len()..SIGNATURE) {
            return Err(invalid("unused bytes", "zeros", "others"));
        }
        let mut end = PAGE as u64;
        let mut sections = [Section { name: "", offset: 0, length: 0, digest: [0; 32] }; SECTIONS.len()];
        for (at, section) in sections.iter_mut().enumerate() {
            *section = row(&page[TABLE + at * ROW..][..ROW], SECTIONS[at], end, length)?;
            end = section.end();
        }
        if end != length {
            return Err(invalid("sections", format!("an end at {length:#x}"), format!("{end:#x}")));
        }
        Ok(Header {
            abi: u32_at(page, 12),
            layout: u64_at(page, 16),
            version: u64_at(page, 32),
            words: u32_at(page, 40),
            units: u32_at(page, 44),
            build_id: array_at(page, 48),
            key: key_of(page),
            level: text("level", &page[112..176])?,
            guest: guest(&page[176..240])?,
            sections,
        })
    }

    /// Checks that the sections are what was written.
    pub fn check_sections(&self, file: &[u8]) -> Result<(), ImageError> {
        for section in &self.sections {
            let pages = &file[section.offset as usize..section.end() as usize];
            if blake3::hash(pages).as_bytes() != &section.digest {
                return Err(ImageError::Checksum { section: section.name });
            }
        }
        Ok(())
    }
}

/// Checks that a file of `length` bytes is an image of this format, and as long as it was when written. Of its
/// bytes the first page is looked at.
pub fn whole(page: &[u8], length: u64) -> Result<(), ImageError> {
    let magic = &page[..MAGIC.len().min(page.len())];
    if magic.is_empty() || magic != &MAGIC[..magic.len()] {
        return Err(ImageError::Foreign { found: String::from_utf8_lossy(magic).into_owned() });
    }
    if page.len() >= 12 {
        same_number("format", u32_at(page, 8), FORMAT)?;
    }
    if page.len() < PAGE {
        return Err(ImageError::Truncated { expected: PAGE as u64, found: length });
    }
    let expected = u64_at(page, 24).min(LONGEST);
    match length.cmp(&expected) {
        Ordering::Less => Err(ImageError::Truncated { expected, found: length }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(ImageError::Oversized { expected, found: length }),
    }
}

/// Refuses a number that is not the one known.
pub fn same_number(what: &'static str, found: u32, known: u32) -> Result<(), ImageError> {
    match found.cmp(&known) {
        Ordering::Less => Err(ImageError::Older { what, found, known }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(ImageError::Newer { what, found, known }),
    }
}

/// The key that a file which is known to be [`whole`] names.
pub fn key_of(file: &[u8]) -> [u8; 32] {
    array_at(file, 80)
}

/// Checks the signature of a file that is known to be [`whole`].
pub fn check_signature(file: &[u8], key: &VerifyingKey) -> Result<(), ImageError> {
    let signature = Signature::from_bytes(&array_at(file, SIGNATURE));
    key.verify_strict(&file[..SIGNATURE], &signature)
        .map_err(|_| ImageError::Signature { key: KeyId::of(key.as_bytes()) })
}

/// Refuses a text that has no place in the header.
pub fn check_text(field: &'static str, text: &str) -> Result<(), ImageError> {
    match (1..=TEXT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(invalid(field, "1 to 64 characters of ASCII", format!("{text:?}"))),
    }
}

/// Refuses a text that is no name of a guest, and of a directory.
pub fn check_guest(text: &str) -> Result<(), ImageError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    check_text("guest", text)?;
    match text.bytes().all(plain) && !text.starts_with('.') {
        true => Ok(()),
        false => Err(invalid("guest", "letters, digits, and ._-+ but not . in front", format!("{text:?}"))),
    }
}

fn text(field: &'static str, bytes: &[u8]) -> Result<String, ImageError> {
    let found = String::from_utf8_lossy(bytes);
    let text = found.trim_end_matches('\0');
    check_text(field, text).map(|()| text.to_owned())
}

fn guest(bytes: &[u8]) -> Result<String, ImageError> {
    let name = text("guest", bytes)?;
    check_guest(&name).map(|()| name)
}

fn row(bytes: &[u8], name: &'static str, offset: u64, file: u64) -> Result<Section, ImageError> {
    let mut expected = [0; NAME];
    expected[..name.len()].copy_from_slice(name.as_bytes());
    if bytes[..NAME] != expected {
        return Err(invalid("section", name, format!("{:?}", String::from_utf8_lossy(&bytes[..NAME]))));
    }
    let section =
        Section { name, offset: u64_at(bytes, 16), length: u64_at(bytes, 24), digest: array_at(bytes, 32) };
    if section.offset != offset {
        return Err(invalid("section", format!("{name} at {offset:#x}"), format!("{:#x}", section.offset)));
    }
    if section.length > file - offset {
        let (room, found) = (file - offset, section.length);
        return Err(invalid("section", format!("{name} of at most {room} bytes"), found.to_string()));
    }
    Ok(section)
}

/// A refusal of a field.
pub fn invalid(field: &'static str, expected: impl Into<String>, found: impl Into<String>) -> ImageError {
    ImageError::Header { field, expected: expected.into(), found: found.into() }
}

fn array_at<const BYTES: usize>(bytes: &[u8], at: usize) -> [u8; BYTES] {
    std::array::from_fn(|k| bytes[at + k])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
