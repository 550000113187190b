//! The file `ram.zst`: the pages that a snapshot holds of memory, each chunk's as one frame of zstd.
//!
//! ```text
//!  ram.zst   ▓▓▓│▓▓▓▓▓│▓│▓▓▓▓   frames, in the order in which threads were done with them
//!  packed    (offset, length) of each, in the order of the chunks of the part `memory`
//! ```
//! A frame unpacks to the bytes of its chunk's pages, one after the other, which have the chunk's digest.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_mmu::PAGE;

use super::chunks::each_chunk;
use super::pages::{CHUNK, CHUNK_PAGES, Chunk, PageMap, PageSet};

/// Level 3 makes a tenth less of it in half as much time again.
const LEVEL: i32 = 1;

/// Where the frame of a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    offset: u64,
    length: u32,
}

/// Writes the pages of `from` to the empty file `to`.
pub fn pack(from: &File, map: &PageMap, to: &File) -> io::Result<Vec<Frame>> {
    let end = Mutex::new(0u64);
    each_chunk::<_, io::Error>("packing", map.size, |index, buf| {
        let Some(chunk) = map.chunk(index as u64) else { return Ok(None) };
        let mut bytes = Vec::with_capacity(chunk.pages.count() as usize * PAGE as usize);
        for (page, count) in chunk.pages.runs() {
            let run = &mut buf[page * PAGE as usize..][..count * PAGE as usize];
            from.read_exact_at(run, (index * CHUNK_PAGES + page) as u64 * PAGE)?;
            bytes.extend_from_slice(run);
        }
        let packed = zstd::bulk::compress(&bytes, LEVEL)?;
        let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
        let offset = {
            let mut end = end.lock();
            let offset = *end;
            *end += packed.len() as u64;
            offset
        };
        to.write_all_at(&packed, offset)?;
        Ok(Some(Frame { offset, length }))
    })
}

/// Bytes of the file of these frames, one for each chunk of the map; nothing if they cannot be such.
pub fn length(frames: &[Frame], map: &PageMap) -> Option<u64> {
    // What cannot be packed grows by a few bytes only.
    let small = |frame: &Frame| u64::from(frame.length) <= 2 * CHUNK;
    let all = frames.iter().try_fold(0u64, |sum, frame| sum.checked_add(frame.length.into()))?;
    let inside = |frame: &Frame| frame.offset.checked_add(frame.length.into()).is_some_and(|end| end <= all);
    let fit = frames.len() == map.chunks.len() && frames.iter().all(|frame| small(frame) && inside(frame));
    fit.then_some(all)
}

/// Puts the pages of a chunk at their places in `buf`.
pub fn unpack(file: &File, frame: Frame, chunk: &Chunk, buf: &mut [u8]) -> io::Result<()> {
    let mut packed = vec![0; frame.length as usize];
    file.read_exact_at(&mut packed, frame.offset)?;
    let mut bytes = vec![0; chunk.pages.count() as usize * PAGE as usize];
    if zstd::bulk::decompress_to_buffer(&packed, &mut bytes)? != bytes.len() {
        return Err(io::Error::new(ErrorKind::InvalidData, "a frame is shorter than its pages"));
    }
    let mut rest = &bytes[..];
    for (page, count) in chunk.pages.runs() {
        let (run, more) = rest.split_at(count * PAGE as usize);
        buf[page * PAGE as usize..][..run.len()].copy_from_slice(run);
        rest = more;
    }
    Ok(())
}

/// Copies the `wanted` pages of a chunk, all of which it has, to their places in `buf`.
pub fn unpack_some(
    file: &File,
    frame: Frame,
    chunk: &Chunk,
    wanted: &PageSet,
    buf: &mut [u8],
) -> io::Result<()> {
    if *wanted == chunk.pages {
        return unpack(file, frame, chunk, buf);
    }
    let mut whole = vec![0; buf.len()];
    unpack(file, frame, chunk, &mut whole)?;
    for (page, count) in wanted.runs() {
        let at = page * PAGE as usize..(page + count) * PAGE as usize;
        buf[at.clone()].copy_from_slice(&whole[at]);
    }
    Ok(())
}
