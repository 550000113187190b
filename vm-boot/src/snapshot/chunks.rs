//! Work on guest memory or a disk, shared out by chunks to a few threads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use parking_lot::Mutex;

use super::pages::CHUNK;
use super::progress::Progress;

/// More threads than this do not make a disk faster.
const MOST_THREADS: usize = 4;

/// Calls `act` for each chunk of `size` bytes with a buffer of its length, on several threads; gives what
/// it gave, in order of the chunks, or the first error. `what` it is, is for people who wait.
pub fn each_chunk<T: Send, E: Send>(
    what: &'static str,
    size: u64,
    act: impl Fn(usize, &mut [u8]) -> Result<Option<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let count = size.div_ceil(CHUNK) as usize;
    let next = AtomicUsize::new(0);
    let progress = Progress::of(what, size);
    let found = Mutex::new((Vec::new(), None));
    let work = || {
        let mut buf = vec![0; CHUNK as usize];
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= count || found.lock().1.is_some() {
                return;
            }
            progress.at(index as u64 * CHUNK);
            let len = (size - index as u64 * CHUNK).min(CHUNK) as usize;
            let result = act(index, &mut buf[..len]);
            let mut found = found.lock();
            match result {
                Ok(None) => {}
                Ok(Some(value)) => found.0.push((index, value)),
                Err(error) => found.1 = found.1.take().or(Some(error)),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
    thread::scope(|scope| {
        // This thread works too, so one that the host refuses is not missed.
        for _ in 1..threads.min(count) {
            let _ = thread::Builder::new().name("snapshot".into()).spawn_scoped(scope, work);
        }
        work();
    });
    match found.into_inner() {
        (_, Some(error)) => Err(error),
        (mut values, None) => {
            values.sort_by_key(|&(index, _)| index);
            Ok(values.into_iter().map(|(_, value)| value).collect())
        }
    }
}
