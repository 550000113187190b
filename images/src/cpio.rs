//! Writes cpio archives in the "newc" format, the one the kernel unpacks as its
//! initramfs.
//!
//! Invariant: the bytes depend on the entries and their order alone. Owner is
//! root, times are zero and inode numbers count up, so one input gives one
//! archive on every machine.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// An archive being written to `W`.
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
}

struct Header {
    mode: u32,
    links: u32,
    device: (u32, u32),
}

impl<W: Write> Archive<W> {
    /// Starts an archive on `out`.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a directory that everyone may read.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, &Header { mode: DIRECTORY | 0o755, links: 2, device: (0, 0) }, &[])
    }

    /// Adds a regular file with the permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.entry(path, &Header { mode: REGULAR | mode, links: 1, device: (0, 0) }, data)
    }

    /// Adds the node of a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, &Header { mode: CHARACTER | 0o600, links: 1, device: (major, minor) }, &[])
    }

    /// Ends the archive and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.record("TRAILER!!!", &Header { mode: 0, links: 1, device: (0, 0) }, &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, header: &Header, data: &[u8]) -> io::Result<()> {
        self.inode += 1;
        self.record(path, header, data)
    }

    fn record(&mut self, path: &str, header: &Header, data: &[u8]) -> io::Result<()> {
        let size = u32::try_from(data.len())
            .map_err(|_| io::Error::other(format!("{path}: expected at most 4 GiB, found {}", data.len())))?;
        let name_size = path.len() as u32 + 1;
        let (major, minor) = header.device;
        write!(self.out, "070701")?;
        for field in [self.inode, header.mode, 0, 0, header.links, 0, size, 0, 0, major, minor, name_size, 0]
        {
            write!(self.out, "{field:08X}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + path.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    /// Headers and data start at multiples of four.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(archive: &[u8], header: usize, index: usize) -> u32 {
        let at = header + 6 + index * 8;
        u32::from_str_radix(std::str::from_utf8(&archive[at..at + 8]).unwrap(), 16).unwrap()
    }

    #[test]
    fn an_archive_of_one_file_has_these_bytes() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a/b", 0o644, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let expected = concat!(
            "070701",
            "00000001",
            "000081A4",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000004",
            "00000000",
            "a/b\0",
            "\0\0",
            "hello\0\0\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000B",
            "00000000",
            "TRAILER!!!\0",
            "\0\0\0",
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn every_record_starts_at_a_multiple_of_four() {
        for length in 0..9 {
            let mut archive = Archive::new(Vec::new());
            archive.file(&"n".repeat(length + 1), 0o600, &vec![b'x'; length]).unwrap();
            let bytes = archive.finish().unwrap();
            assert_eq!(bytes.len() % 4, 0, "length {length}");
            let trailer = bytes.windows(6).rposition(|window| window == b"070701").unwrap();
            assert_eq!(trailer % 4, 0, "length {length}");
        }
    }

    #[test]
    fn a_device_node_carries_its_numbers() {
        let mut archive = Archive::new(Vec::new());
        archive.character_device("dev/console", 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(field(&bytes, 0, 1), 0o020_600);
        assert_eq!((field(&bytes, 0, 9), field(&bytes, 0, 10)), (5, 1));
    }
}
