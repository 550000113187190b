//! The file `state`: a header with a table, then the parts that the table names.
//!
//! ```text
//!    0  magic      "VMBSNAP\0"
//!    8  format     u32
//!   12  parts      u32, how many
//!   16  digest     BLAKE3 of bytes 0 to 15 and of the table
//!   48  table      64 bytes a part:
//!                    0  name     12 bytes, ASCII, the rest zero
//!                   12  version  u32, of the part's layout
//!                   16  offset   u64, in the file
//!                   24  length   u64
//!                   32  digest   BLAKE3 of the part
//!       parts      one after the other, up to the end of the file
//! ```
//! All numbers are little-endian. A reader that does not know a part ignores it; what must not be
//! ignored raises the format.

use super::error::Reason;

/// The newest format: a snapshot that does not stand alone.
pub const FORMAT: u32 = 2;
/// The oldest that is read, and what is written for a snapshot that stands alone.
pub const OLDEST: u32 = 1;

const MAGIC: &[u8; 8] = b"VMBSNAP\0";
const HEAD: usize = 48;
const ROW: usize = 64;
const NAME: usize = 12;
/// Far more than there are.
const MOST: usize = 256;

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// Of its layout.
    pub version: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the part.
    pub name: String,
    /// Version of its layout.
    pub version: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Digest of its bytes.
    pub digest: [u8; 32],
}

/// A `state` file that was read and is whole.
#[derive(Debug)]
pub struct Parts {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    digest: [u8; 32],
}

/// The bytes of a `state` file of these parts in this format, and the digest of its header.
pub fn write(format: u32, parts: &[Part]) -> (Vec<u8>, [u8; 32]) {
    let mut table = Vec::new();
    let mut offset = (HEAD + parts.len() * ROW) as u64;
    for part in parts {
        let mut name = [0; NAME];
        name[..part.name.len()].copy_from_slice(part.name.as_bytes());
        table.extend(name);
        table.extend(part.version.to_le_bytes());
        table.extend(offset.to_le_bytes());
        table.extend((part.bytes.len() as u64).to_le_bytes());
        table.extend(blake3::hash(&part.bytes).as_bytes());
        offset += part.bytes.len() as u64;
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(format.to_le_bytes());
    bytes.extend((parts.len() as u32).to_le_bytes());
    let digest = header_digest(&bytes, &table);
    bytes.extend(digest);
    bytes.extend(table);
    parts.iter().for_each(|part| bytes.extend(&part.bytes));
    (bytes, digest)
}

fn header_digest(head: &[u8], table: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(table);
    *hasher.finalize().as_bytes()
}

impl Parts {
    /// Reads the header and checks every part against it. An error comes with the part it is about.
    pub fn read(bytes: Vec<u8>) -> Result<Parts, (String, Reason)> {
        let (rows, digest) = header(&bytes).map_err(|reason| ("header".to_owned(), reason))?;
        let mut end = (HEAD + rows.len() * ROW) as u64;
        for row in &rows {
            if row.offset != end {
                let found = format!("{} at {:#x} and not at {end:#x}", row.name, row.offset);
                return Err(("header".to_owned(), Reason::Invalid(found)));
            }
            end = end.saturating_add(row.length);
            let there = (bytes.len() as u64).saturating_sub(row.offset);
            let content = piece(&bytes, row).ok_or(Reason::Length { expected: row.length, found: there });
            let content = content.map_err(|reason| (row.name.clone(), reason))?;
            if blake3::hash(content).as_bytes() != &row.digest {
                return Err((row.name.clone(), Reason::Digest));
            }
        }
        let found = bytes.len() as u64;
        if found != end {
            return Err(("state".to_owned(), Reason::Length { expected: end, found }));
        }
        Ok(Parts { bytes, rows, digest })
    }

    /// Whether there is a part of this name.
    pub fn has(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name)
    }

    /// The bytes of the part `name`, whose layout must be `version`.
    pub fn part(&self, name: &str, version: u32) -> Result<&[u8], Reason> {
        let row = self.rows.iter().find(|row| row.name == name).ok_or(Reason::Missing)?;
        match row.version {
            found if found > version => Err(Reason::Newer { found, known: version }),
            found if found < version => Err(Reason::Older { found, known: version }),
            _ => piece(&self.bytes, row).ok_or(Reason::Missing),
        }
    }

    /// The table.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The digest of the header, by which the whole snapshot is known.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn header(bytes: &[u8]) -> Result<(Vec<Row>, [u8; 32]), Reason> {
    let short = |expected: usize| Reason::Length { expected: expected as u64, found: bytes.len() as u64 };
    let magic = &bytes[..MAGIC.len().min(bytes.len())];
    if magic != &MAGIC[..magic.len()] || magic.is_empty() {
        let found = format!("{:?}", String::from_utf8_lossy(magic));
        return Err(Reason::Foreign { expected: "the mark VMBSNAP", found });
    }
    let head = bytes.get(..HEAD).ok_or_else(|| short(HEAD))?;
    let format = u32_at(head, 8);
    if format > FORMAT {
        return Err(Reason::Newer { found: format, known: FORMAT });
    }
    if format < OLDEST {
        return Err(Reason::Older { found: format, known: OLDEST });
    }
    let count = u32_at(head, 12) as usize;
    if count > MOST {
        return Err(Reason::Invalid(format!("expected at most {MOST} parts, found {count}")));
    }
    let end = HEAD + count * ROW;
    let table = bytes.get(HEAD..end).ok_or_else(|| short(end))?;
    let digest = header_digest(&head[..16], table);
    if digest != head[16..48] {
        return Err(Reason::Digest);
    }
    let rows = table.chunks_exact(ROW).map(row).collect::<Result<_, _>>()?;
    Ok((rows, digest))
}

fn row(bytes: &[u8]) -> Result<Row, Reason> {
    let name = String::from_utf8_lossy(&bytes[..NAME]).trim_end_matches('\0').to_owned();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        return Err(Reason::Invalid(format!("expected the name of a part, found {name:?}")));
    }
    let digest = std::array::from_fn(|at| bytes[32 + at]);
    Ok(Row { name, version: u32_at(bytes, 12), offset: u64_at(bytes, 16), length: u64_at(bytes, 24), digest })
}

fn piece<'a>(bytes: &'a [u8], row: &Row) -> Option<&'a [u8]> {
    let start = usize::try_from(row.offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(row.length).ok()?)?)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|k| bytes[at + k]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|k| bytes[at + k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let part = |name, version, bytes: &[u8]| Part { name, version, bytes: bytes.to_vec() };
        write(
            OLDEST,
            &[part("machine", 1, b"what it is"), part("empty", 2, b""), part("harts", 3, &[7; 100])],
        )
        .0
    }

    #[test]
    fn parts_come_out_as_they_went_in() {
        let parts = Parts::read(sample()).unwrap();
        assert_eq!(parts.part("machine", 1).unwrap(), b"what it is");
        assert_eq!(parts.part("empty", 2).unwrap(), b"");
        assert_eq!(parts.part("harts", 3).unwrap(), [7; 100]);
        assert!(matches!(parts.part("harts", 2), Err(Reason::Newer { found: 3, known: 2 })));
        assert!(matches!(parts.part("harts", 4), Err(Reason::Older { found: 3, known: 4 })));
        assert!(matches!(parts.part("none", 1), Err(Reason::Missing)));
    }

    #[test]
    fn every_flipped_byte_and_every_end_is_refused() {
        let good = sample();
        for at in 0..good.len() {
            for bit in [1, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                assert!(Parts::read(bad).is_err(), "byte {at}");
            }
            assert!(Parts::read(good[..at].to_vec()).is_err(), "only {at} bytes");
        }
        let mut longer = good;
        longer.push(0);
        assert!(matches!(Parts::read(longer), Err((part, Reason::Length { .. })) if part == "state"));
    }

    #[test]
    fn the_part_is_named_and_the_reason() {
        let (good, rows) = (sample(), Parts::read(sample()).unwrap().rows);
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bad = good.clone();
            change(&mut bad);
            let (part, reason) = Parts::read(bad).unwrap_err();
            format!("{part}: {reason}")
        };
        let harts = rows[2].offset as usize;
        assert!(refused(&|bad| bad[harts + 3] = 0).starts_with("harts: is damaged"));
        assert!(
            refused(&|bad| bad.truncate(harts + 9))
                .contains("harts: is damaged: expected 100 bytes, found 9")
        );
        assert!(refused(&|bad| bad[0] = b'X').starts_with("header: is no snapshot of vm-boot"));
        assert!(refused(&|bad| bad.clear()).contains("is no snapshot"));
        assert!(
            refused(&|bad| bad[8] = 9).contains("newer vm-boot: it has format 9, this one reads up to 2")
        );
        assert!(refused(&|bad| bad[8] = 0).contains("older vm-boot"));
        assert!(refused(&|bad| bad[12] = 2).contains("header: is damaged"));
    }
}
