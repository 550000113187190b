//! Compressed files, unpacked while they are streamed.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::error::Problem;

/// How a file is compressed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Unread(&'static str),
}

const MAGIC: [(&[u8], Compression); 7] = [
    (b"\x1f\x8b", Compression::Gzip),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"\xfd7zXZ\0", Compression::Unread("xz")),
    (b"BZh", Compression::Unread("bzip2")),
    (b"\x5d\0\0", Compression::Unread("lzma")),
    (b"\x02\x21\x4c\x18", Compression::Unread("lz4")),
    (b"\x89LZO", Compression::Unread("lzo")),
];

impl Compression {
    /// Recognises a format.
    pub fn of(head: &[u8]) -> Option<Self> {
        MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, kind)| kind)
    }
}

/// The bytes inside a compressed stream.
pub(super) fn unpack(kind: Compression, packed: impl Read + 'static) -> Result<Box<dyn Read>, Problem> {
    match kind {
        Compression::Gzip => Ok(Box::new(MultiGzDecoder::new(packed))),
        Compression::Zstd => match StreamingDecoder::new(packed) {
            Ok(decoder) => Ok(Box::new(decoder)),
            Err(error) => Err(Problem::Read(std::io::Error::other(error))),
        },
        Compression::Unread(name) => Err(Problem::Compression(name)),
    }
}
