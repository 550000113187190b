//! What this process takes of the host, guest memory included.

use std::time::Duration;

/// Bytes of a page of the host: x86-64 has no other base size.
const HOST_PAGE: u64 = 4096;

/// Bytes of host memory that the process holds, or `None` where the host does not tell.
pub(super) fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * HOST_PAGE)
}

/// Page faults of all threads so far: those answered from memory, and those for which the host had to read.
pub(super) fn faults() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    Some((minor, fields.nth(1)?.parse().ok()?))
}

/// CPU time of all threads so far.
pub(super) fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
