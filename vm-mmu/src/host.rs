//! Host instructions on guest RAM.
//!
//! Guest RAM is shared with other harts, with devices and with the guest's own idea of a memory
//! model, so Rust's plain accesses (which may be torn, merged or invented) are wrong for it. A [`Word`]
//! access is exactly one host `mov`: single-copy atomic when aligned, as RVWMO asks, and legal at any
//! alignment. x86-TSO is stronger than RVWMO, so these need no fence of their own.

#![allow(unsafe_code, reason = "single-instruction accesses to memory that Rust does not own")]

use std::arch::asm;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

mod sealed {
    pub trait Sealed {}
}

/// A value that one host instruction can load or store: `u8`, `u16`, `u32`, `u64`.
pub trait Word: Copy + sealed::Sealed + 'static {
    /// Bytes.
    const SIZE: u64;

    /// Loads from host address `a + b` (wrapping).
    ///
    /// # Safety
    /// `SIZE` bytes from `a + b` must be mapped readable, and be memory that no Rust reference other
    /// than to an atomic covers.
    unsafe fn load(a: u64, b: u64) -> Self;

    /// Stores to host address `a + b` (wrapping).
    ///
    /// # Safety
    /// As for [`Word::load`], and mapped writable.
    unsafe fn store(a: u64, b: u64, value: Self);
}

macro_rules! word {
    ($t:ty, $wide:ty, $load:literal, $store:literal, $class:ident) => {
        impl sealed::Sealed for $t {}
        impl Word for $t {
            const SIZE: u64 = size_of::<$t>() as u64;

            #[inline(always)]
            unsafe fn load(a: u64, b: u64) -> $t {
                let value: $wide;
                // SAFETY: reads SIZE bytes at a + b, which the caller vouches for, and nothing else;
                // being opaque to the compiler it cannot be torn or merged, so a race is a hardware
                // race, not undefined behaviour.
                unsafe {
                    asm!($load, v = out(reg) value, a = in(reg) a, b = in(reg) b,
                         options(nostack, preserves_flags, readonly));
                }
                value as $t
            }

            #[inline(always)]
            unsafe fn store(a: u64, b: u64, value: $t) {
                // SAFETY: writes SIZE bytes at a + b, which the caller vouches for, and nothing else.
                unsafe {
                    asm!($store, v = in($class) value, a = in(reg) a, b = in(reg) b,
                         options(nostack, preserves_flags));
                }
            }
        }
    };
}

word!(u8, u32, "movzx {v:e}, byte ptr [{a} + {b}]", "mov byte ptr [{a} + {b}], {v}", reg_byte);
word!(u16, u32, "movzx {v:e}, word ptr [{a} + {b}]", "mov word ptr [{a} + {b}], {v:x}", reg);
word!(u32, u32, "mov {v:e}, dword ptr [{a} + {b}]", "mov dword ptr [{a} + {b}], {v:e}", reg);
word!(u64, u64, "mov {v}, qword ptr [{a} + {b}]", "mov qword ptr [{a} + {b}], {v}", reg);

/// An atomic that may lie in guest RAM: `AtomicU32`, `AtomicU64`.
pub trait AtomicWord: sealed::Sealed + Sync + 'static {
    /// Bytes; also the alignment it needs.
    const SIZE: u64;

    /// The atomic at host address `host`.
    ///
    /// # Safety
    /// `SIZE` bytes from `host` must stay mapped writable for `'a`, and `host` must be aligned to
    /// `SIZE`.
    unsafe fn at<'a>(host: u64) -> &'a Self;
}

macro_rules! atomic_word {
    ($t:ty) => {
        impl sealed::Sealed for $t {}
        impl AtomicWord for $t {
            const SIZE: u64 = size_of::<$t>() as u64;

            #[inline(always)]
            unsafe fn at<'a>(host: u64) -> &'a $t {
                // SAFETY: mapped and aligned as the caller vouches; all bit patterns are valid; an
                // atomic may be shared with whatever else the guest does to its memory.
                unsafe { &*std::ptr::with_exposed_provenance::<$t>(host as usize) }
            }
        }
    };
}

atomic_word!(AtomicU32);
atomic_word!(AtomicU64);

/// Whether this host can do [`cas_pair`]. Every x86-64 since 2006 can.
pub(crate) fn has_cas_pair() -> bool {
    is_x86_feature_detected!("cmpxchg16b")
}

/// 128-bit compare-and-swap at `host`; returns what was there (equal to `old` if it was replaced).
///
/// # Safety
/// 16 bytes from `host` must be mapped writable, `host` aligned to 16, and [`has_cas_pair`] true.
#[inline]
pub(crate) unsafe fn cas_pair(host: u64, old: u128, new: u128) -> u128 {
    let (mut low, mut high) = (old as u64, (old >> 64) as u64);
    // SAFETY: reads and maybe writes the 16 bytes at `host`, which the caller vouches for. The compiler
    // keeps rbx to itself, so it is swapped in and put back. (The intrinsic of `core::arch` may become
    // a call into libatomic, which is not there.)
    unsafe {
        asm!("xchg rsi, rbx", "lock cmpxchg16b [rdi]", "mov rbx, rsi",
             inout("rsi") new as u64 => _, in("rcx") (new >> 64) as u64, in("rdi") host,
             inout("rax") low, inout("rdx") high, options(nostack));
    }
    u128::from(high) << 64 | u128::from(low)
}

/// Prepares the process for [`order_everywhere`]; whether the host can do that. The first time in a process of several
/// threads takes some ten milliseconds, for which the host waits on all CPUs; with one thread it takes nothing.
pub fn can_order_everywhere() -> bool {
    // SAFETY: registers an intent of this process; touches no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 }
}

/// Makes every running thread of the process order its earlier accesses before its later ones, as if
/// each executed [`full_fence`] now. Microseconds, so that many others need not fence at all.
pub(crate) fn order_everywhere() {
    // SAFETY: a barrier; touches no memory. It cannot fail after a successful registration.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) };
}

/// Orders all earlier accesses before all later ones, between cores.
///
/// A locked read-modify-write of the stack top costs half of the `mfence` that
/// `std::sync::atomic::fence` emits, and is as strong for ordinary memory.
#[inline(always)]
pub(crate) fn full_fence() {
    // SAFETY: ORs 0 into the word at the stack pointer, which is always mapped; changes only flags.
    unsafe { asm!("lock or dword ptr [rsp], 0", options(nostack)) }
}

/// Copies guest RAM out.
///
/// # Safety
/// `buf.len()` bytes from `host` must be mapped readable.
#[inline(always)]
pub(crate) unsafe fn copy_out(host: u64, buf: &mut [u8]) {
    let from = std::ptr::with_exposed_provenance::<u8>(host as usize);
    // SAFETY: mapped as the caller vouches. `buf` is ours alone and never overlaps guest RAM. The
    // guest may write meanwhile: then the copied bytes are old or new ones, and any is valid for u8.
    unsafe { std::ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len()) }
}

/// Copies into guest RAM.
///
/// # Safety
/// `buf.len()` bytes from `host` must be mapped writable.
#[inline(always)]
pub(crate) unsafe fn copy_in(host: u64, buf: &[u8]) {
    let to = std::ptr::with_exposed_provenance_mut::<u8>(host as usize);
    // SAFETY: mapped as the caller vouches. No Rust reference but to atomics covers guest RAM, and
    // `buf` never overlaps it. A racing guest sees old or new bytes.
    unsafe { std::ptr::copy_nonoverlapping(buf.as_ptr(), to, buf.len()) }
}

/// Types for which all-zero bytes are a value.
pub(crate) trait Zero: sealed::Sealed {}
impl sealed::Sealed for AtomicU8 {}
impl Zero for AtomicU8 {}
impl Zero for AtomicU64 {}

/// `n` zeros that take no host memory until they are touched (one per guest page, mostly never used).
pub(crate) fn zeroed<T: Zero>(n: usize) -> Box<[T]> {
    let zeros = Box::<[T]>::new_zeroed_slice(n);
    // SAFETY: `Zero` is implemented only for integer atomics, for which all-zero bytes are a value.
    unsafe { zeros.assume_init() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_load_and_store_at_any_alignment_and_touch_no_neighbour() {
        let ram: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(u64::MAX)).collect();
        let base = ram.as_ptr().expose_provenance() as u64;
        // SAFETY: all accesses lie inside `ram`, of which only atomics exist.
        unsafe {
            u32::store(base, 6, 0x4433_2211);
            assert_eq!(u32::load(base, 6), 0x4433_2211);
            assert_eq!(u16::load(base, 7), 0x3322);
            assert_eq!(u8::load(base, 5), 0xff);
            assert_eq!(u8::load(base, 10), 0xff);
            u8::store(base, 31, 0);
            u64::store(base + 24, u64::MAX, 1);
        }
        assert_eq!(ram[0].load(Ordering::Relaxed), 0x2211_ffff_ffff_ffff);
        assert_eq!(ram[3].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn cas_pair_replaces_only_what_is_expected() {
        assert!(has_cas_pair());
        #[repr(align(16))]
        struct Pair([AtomicU64; 2]);
        let pair = Pair([AtomicU64::new(1), AtomicU64::new(2)]);
        let host = (&raw const pair).expose_provenance() as u64;
        let old = 2u128 << 64 | 1;
        // SAFETY: `pair` is aligned to 16 and only atomics cover it.
        let (missed, hit) = unsafe { (cas_pair(host, 7, 9), cas_pair(host, old, 4u128 << 64 | 3)) };
        assert_eq!((missed, hit), (old, old));
        assert_eq!(pair.0[0].load(Ordering::Relaxed), 3);
        assert_eq!(pair.0[1].load(Ordering::Relaxed), 4);
    }
}
