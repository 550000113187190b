//! Tiny functions to publish and to run: `mov eax, answer; ret`.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unsafe_code, reason = "runs the functions that were published")]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use vm_codecache::{CodeCache, Config, Full, New, Reader, Zone};

/// What the stub answers.
pub const STUB: u32 = 0xffff_ffff;

/// Where cells without a translation lead.
pub extern "C" fn stub() -> u32 {
    STUB
}

/// A cache with metadata `M` whose zones have `segments` segments of 64 KiB each.
pub fn cache<M: Send + Sync>(segments: usize) -> CodeCache<M> {
    CodeCache::new(&config(segments), stub as *const () as u64).unwrap()
}

/// Its configuration.
pub fn config(segments: usize) -> Config {
    let zone = segments * (64 << 10);
    Config { short: zone, long: zone, stable: zone, segment: 64 << 10, ..Config::default() }
}

/// Code that answers `answer` and is `len` bytes long, 6 at least.
pub fn code(answer: u32, len: usize) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(answer.to_le_bytes());
    code.push(0xc3);
    code.resize(len.max(6), 0xcc);
    code
}

/// Publishes code for `gpa` that answers `answer`, made from the granule of that address.
pub fn publish<M: Send + Sync>(cache: &CodeCache<M>, gpa: u64, answer: u32, meta: M) -> Result<u32, Full> {
    let ticket = cache.reserve().ok_or(Full::Lists)?;
    let code = code(answer, 64);
    let pages = [(gpa & !0xfff, 1 << (gpa >> 6 & 63))];
    cache.publish(
        ticket,
        New { zone: Zone::Short, code: &code, entries: &[(gpa, 0)], pages: &pages, meta, heat: 1 },
    )
}

/// Makes so many cells that nothing refers to that all such will be retired.
pub fn retire_cells<M: Send + Sync>(cache: &CodeCache<M>) {
    let mut ticket = cache.reserve().unwrap();
    (1..1 << 14).for_each(|i| _ = cache.link(&mut ticket, i << 40));
}

/// Jumps through a cell.
///
/// The caller is pinned since it got the address, or nobody polls.
pub fn call(cell: u64) -> u32 {
    // SAFETY: the address is that of a cell, which stays an `AtomicU64` for as long as the cache
    // lives; what it holds is the stub or one of the functions made here, which are entered with the C
    // convention, touch nothing but eax, and are not freed while the caller is pinned.
    unsafe {
        let cell = &*std::ptr::with_exposed_provenance::<AtomicU64>(cell as usize);
        let target = std::ptr::with_exposed_provenance::<()>(cell.load(Ordering::Acquire) as usize);
        std::mem::transmute::<*const (), extern "C" fn() -> u32>(target)()
    }
}

/// What a cell holds.
pub fn target(cell: u64) -> u64 {
    // SAFETY: as in `call`: the address of an `AtomicU64` that lives as long as the cache.
    unsafe { (*std::ptr::with_exposed_provenance::<AtomicU64>(cell as usize)).load(Ordering::Acquire) }
}

/// Does what generated code does when it is entered.
pub fn touch<M: Send + Sync>(reader: &Reader<M>, number: u32) {
    // SAFETY: the array has a byte for each number, and lives as long as the reader.
    let byte = unsafe { AtomicU8::from_ptr(reader.touched().add(number as usize).cast_mut()) };
    byte.store(1, Ordering::Relaxed);
}

/// Code that answers what the cell at `address` leads to: `mov rax, address; jmp [rax]`.
pub fn jump(address: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8];
    code.extend(address.to_le_bytes());
    code.extend([0xff, 0x20]);
    code
}
