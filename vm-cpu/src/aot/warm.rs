//! An image made while the machine runs, for the one that goes on from its snapshot.
//!
//! ```text
//!  units in the cache ─► their regions, hottest first, on all cores ─until time is up─► image, signed by the user's own key
//! ```
//! Regions are as they were, not discovered again: what was learnt in making them, and how they lead to each other,
//! stays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use thiserror::Error;

use super::build::{Made, SHARED_WORDS, again, assemble};
use super::{About, CpuLevel, ImageError, image, layout_hash};
use crate::jit::abi::Site;
use crate::jit::compile::{CompileError, Compiler};
use crate::jit::region::Region;

/// Why there is no image.
#[derive(Debug, Error)]
pub enum WarmError {
    /// No code is made for this host.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Too much of something.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// A unit of a running machine.
#[derive(Debug)]
pub struct Resident {
    pub(crate) region: Region,
    /// Its instructions, with what is known of their accesses.
    pub(crate) sites: Box<[Site]>,
}

/// An image of the units, the hottest first, as far as `patience` goes. `None` if that is nothing.
pub fn image_of(
    units: Vec<Resident>,
    guest: &str,
    key: &SigningKey,
    patience: Duration,
) -> Result<Option<Vec<u8>>, WarmError> {
    let end = Instant::now() + patience;
    let jobs = again(units);
    let made: Mutex<Vec<Option<Made>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), CompileError> {
        let mut compiler = Compiler::new()?;
        while Instant::now() < end {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { break };
            match job.compile(&mut compiler) {
                Ok(unit) => made.lock()[at] = Some(unit),
                Err(error) => tracing::warn!(%error, "left out of the snapshot's code"),
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
    })?;
    let contents = assemble(jobs.into_iter().zip(made.into_inner()));
    if contents.units.is_empty() {
        return Ok(None);
    }
    tracing::debug!(units = contents.units.len(), "code for the snapshot");
    let about = About {
        guest: guest.to_owned(),
        version: 1,
        layout_hash: layout_hash(),
        cpu_level: CpuLevel::of_host(),
        shared_words: SHARED_WORDS,
    };
    Ok(Some(image::write(&contents, &about, key)?))
}
