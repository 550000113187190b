//! Row P1: a copy of 1 KiB through the guest-memory helper, beside a plain one.

use anyhow::Result;
use std::hint::black_box;
use std::time::Instant;
use vm_mmu::{AddressSpace, Backend, Perm};

const SIZE: usize = 1024;
const RAM: std::ops::Range<u64> = 0x8000_0000..0x8010_0000;
const COPIES: u32 = 200_000;
const RUNS: u32 = 9;

/// Nanoseconds of one copy of 1 KiB.
pub struct Copies {
    /// Out of guest memory.
    pub read: f64,
    /// Into guest memory.
    pub write: f64,
    /// Between two buffers of the host.
    pub plain: f64,
}

/// Nanoseconds of one copy in the shortest of some runs.
fn time(mut copy: impl FnMut(u64)) -> f64 {
    let run = |copy: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        for i in 0..COPIES {
            copy(u64::from(i % 64) * SIZE as u64);
        }
        start.elapsed()
    };
    let shortest = (0..RUNS).map(|_| run(&mut copy)).min().unwrap_or_default();
    shortest.as_secs_f64() * 1e9 / f64::from(COPIES)
}

/// Measures all three on memory that the first-level cache holds in part.
pub fn measure() -> Result<Copies> {
    let space = AddressSpace::new(RAM)?;
    space.map(RAM, Backend::Linear { huge: false }, Perm::RWX)?;
    let mut buffer = vec![1_u8; SIZE];
    let mut other = vec![2_u8; 64 * SIZE];
    let mut failed = false;
    let write = time(|at| failed |= space.write(RAM.start + at, black_box(&buffer)).is_err());
    let read = time(|at| failed |= space.read(RAM.start + at, black_box(&mut buffer)).is_err());
    let plain = time(|at| {
        let at = at as usize;
        black_box(&mut other)[at..at + SIZE].copy_from_slice(black_box(&buffer));
    });
    anyhow::ensure!(!failed, "a copy inside guest RAM was refused");
    Ok(Copies { read, write, plain })
}
