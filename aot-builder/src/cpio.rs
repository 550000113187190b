//! Archives as kernels take them: cpio in its `newc` form, uncompressed.
//!
//! ```text
//!  "070701" │ 13 fields of 8 hexadecimal digits │ name, zero │ (to 4) │ data │ (to 4) │ next …
//! ```

use anyhow::{Result, ensure};

const HEADER: usize = 110;
const MAGIC: [&[u8]; 2] = [b"070701", b"070702"];
const END: &str = "TRAILER!!!";

/// A file of an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is in it.
    pub data: &'a [u8],
}

/// The files of an archive, up to the first thing that is wrong.
pub fn entries(archive: &[u8]) -> impl Iterator<Item = Result<Entry<'_>>> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let read = entry(archive, at?);
        let (entry, next) = match read {
            Ok(read) => read,
            Err(error) => {
                at = None;
                return Some(Err(error));
            }
        };
        at = Some(next);
        (entry.name != END).then_some(Ok(entry))
    })
}

fn entry(archive: &[u8], at: usize) -> Result<(Entry<'_>, usize)> {
    let header = archive.get(at..at + HEADER).unwrap_or_default();
    let known = MAGIC.iter().any(|magic| header.starts_with(magic));
    ensure!(known, "at byte {at}: expected a header of cpio (newc, uncompressed), found none");
    let field = |number: usize| -> Result<usize> {
        let digits = std::str::from_utf8(&header[6 + 8 * number..][..8])?;
        Ok(u32::from_str_radix(digits, 16)? as usize)
    };
    let (size, name) = (field(6)?, field(11)?);
    let text = at + HEADER;
    let data = (text + name).next_multiple_of(4);
    let whole = name > 0 && archive.len() >= data + size;
    ensure!(whole, "at byte {at}: expected {size} bytes of a file, found the end of the archive");
    let name = String::from_utf8_lossy(&archive[text..text + name - 1]);
    // A name that is no text is of no use in a message.
    let name = match name {
        std::borrow::Cow::Borrowed(name) => name,
        std::borrow::Cow::Owned(_) => "?",
    };
    Ok((Entry { name, data: &archive[data..data + size] }, (data + size).next_multiple_of(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, data: &str) -> Vec<u8> {
        let mut fields = [0; 13];
        (fields[6], fields[11]) = (data.len(), name.len() + 1);
        let digits: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        let mut bytes = format!("070701{digits}{name}\0").into_bytes();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn files_come_out_and_what_is_wrong_ends_it() {
        let archive = [file("a", "one"), file("dir/b", "three"), file(END, "")].concat();
        let found: Vec<_> = entries(&archive).map(Result::unwrap).collect();
        assert_eq!(found.iter().map(|entry| entry.name).collect::<Vec<_>>(), ["a", "dir/b"]);
        assert_eq!(found[1].data, b"three");
        for end in 0..archive.len() - 1 {
            let last = entries(&archive[..end]).last().expect("an error");
            assert!(last.is_err(), "{end} bytes");
        }
        let mut lie = archive.clone();
        lie[6 + 48..][..8].copy_from_slice(b"ffffffff");
        assert!(entries(&lie).next().expect("an error").is_err());
    }
}
