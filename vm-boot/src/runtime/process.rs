//! What this process takes of the host, guest memory included.

/// Bytes of a page of the host: x86-64 has no other base size.
const HOST_PAGE: u64 = 4096;

/// Bytes of host memory that the process holds, or `None` where the host does not tell.
pub(super) fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * HOST_PAGE)
}
