//! The file `working-set`: which pages the guest touched first when a machine went on from the snapshot, so that
//! the next one has them read in before it asks.
//!
//! It is written by the first machine that goes on, is no part of what was saved, and may be wrong or missing: all
//! that it does is to bring pages in.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::codec;

/// The name of the file.
const NAME: &str = "working-set";

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The header's digest: which snapshot it is of.
    snapshot: [u8; 32],
    /// Runs of bytes of memory, from its start.
    runs: Vec<(u64, u64)>,
}

/// The runs of memory of `size` bytes that a machine touches first, if that is known.
pub fn read(dir: &Path, snapshot: [u8; 32], size: u64) -> Option<Vec<Range<u64>>> {
    let file = dir.join(NAME);
    let small = fs::metadata(&file).ok()?.len() < codec::LIMIT as u64;
    let record: Record = codec::decode(&fs::read(file).ok().filter(|_| small)?).ok()?;
    let whole = |at: u64| at.is_multiple_of(vm_mmu::PAGE);
    let fits = |&(start, end): &(u64, u64)| start < end && end <= size && whole(start) && whole(end);
    let valid = record.snapshot == snapshot && record.runs.iter().all(fits);
    valid.then(|| record.runs.into_iter().map(|(start, end)| start..end).collect())
}

/// Notes them. Where that cannot be written, the next machine does without.
pub fn write(dir: &Path, snapshot: [u8; 32], runs: &[Range<u64>]) {
    let record = Record { snapshot, runs: runs.iter().map(|run| (run.start, run.end)).collect() };
    let draft = dir.join(format!(".{NAME}-{}", std::process::id()));
    let put = codec::encode(&record)
        .map_err(std::io::Error::other)
        .and_then(|bytes| fs::write(&draft, bytes))
        .and_then(|()| fs::rename(&draft, dir.join(NAME)));
    if let Err(error) = put {
        tracing::debug!(%error, "the working set is not noted");
        // Most likely it was never made.
        let _ = fs::remove_file(&draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, size) = (dir.path(), 1 << 20);
        assert_eq!(read(dir, [1; 32], size), None);
        write(dir, [1; 32], &[0..4096, 8192..size]);
        assert_eq!(read(dir, [1; 32], size).unwrap(), [0..4096, 8192..size]);
        assert_eq!(read(dir, [2; 32], size), None);
        assert_eq!(read(dir, [1; 32], size - 4096), None);
        for bad in [5..4096, 4096..4096, 0..77] {
            write(dir, [1; 32], &[bad]);
            assert_eq!(read(dir, [1; 32], size), None);
        }
        fs::write(dir.join(NAME), "broken").unwrap();
        assert_eq!(read(dir, [1; 32], size), None);
    }
}
