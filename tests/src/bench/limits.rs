//! What the figures of the bench have to be, and what its groups are called.

use super::report::Limit;

/// Debian's kernel until the shell of the initramfs.
pub const BOOT: &str = "boot to the busybox shell";
/// The same, once more, from an image of what the first boot executed.
pub const AHEAD: &str = "second boot to the busybox shell, translated ahead";
/// Programs from code by LLVM, in speeds of the same by Cranelift.
pub const BACKENDS: &str = "translated ahead by LLVM, speed of Cranelift's";
/// Of all of them.
pub const BACKENDS_MEAN: &str = "geometric mean";
/// Debian from its disk, from an image of its files, before any run.
pub const UNSEEN: &str = "Debian 13, translated before any run";
/// Debian 13 until its login.
pub const DEBIAN: &str = "Debian 13 to its login";
/// The same, once more, from an image of what the first boot executed.
pub const DEBIAN_AHEAD: &str = "Debian 13 to its login, translated ahead";
/// The guest that is part of `vm-boot`.
pub const DEMO: &str = "demo guest in 8 MiB";
/// Operations that the demo guest times itself.
pub const MICRO: &str = "demo guest, inside";
/// Row P1.
pub const COPY: &str = "guest memory";
/// From the cause of an interrupt to its handler.
pub const INTERRUPTS: &str = "interrupts into chained loops";
/// Times as long as with every optimisation on.
pub const SWITCHES: &str = "switched off, times as long";
/// Programs that make code, or keep data beside it.
pub const OWN_CODE: &str = "own code";
/// How much longer stores take when they lie beside code.
pub const BESIDE: &str = "store: beside, of apart";
/// Debian and a program with less code memory than they want.
pub const CACHE: &str = "code cache a quarter as large as what lives in it";

/// Saved and restored.
pub const SNAPSHOT: &str = "snapshots of Linux in 1 GiB";
/// Of its speed before it was saved, and of all guests' together their geometric mean.
pub const WARM: &str = "speed in its first 100 ms, with code";
/// The same from no code.
pub const WITHOUT_CODE: &str = "speed in its first 100 ms, without";

/// What must hold of a row.
pub fn limit(group: &str, name: &str) -> Option<Limit> {
    match (group, name) {
        (BOOT | DEBIAN, "cpu time") => Some(Limit::TimesQemu(0.6)),
        (DEBIAN_AHEAD, "cpu time") => Some(Limit::TimesQemu(0.45)),
        (AHEAD, "cpu time") => Some(Limit::TimesQemu(0.4)),
        (AHEAD, "cpu time, of the JIT's") => Some(Limit::Most(0.75)),
        (AHEAD, "guest instructions from it") => Some(Limit::Least(0.9)),
        (UNSEEN, "guest instructions from it") => Some(Limit::Least(0.7)),
        (AHEAD, "translation, share of cpu time") => Some(Limit::Most(0.03)),
        (BACKENDS, BACKENDS_MEAN) => Some(Limit::Least(1.15)),
        (BACKENDS, _) => Some(Limit::Least(1.0)),
        (BOOT, "wall time") => Some(Limit::TimesQemu(0.5)),
        (DEMO, "time to the prompt") => Some(Limit::Most(1e9)),
        (DEMO, "resident memory") => Some(Limit::Most(f64::from(32 << 20))),
        (MICRO, "fence_i") => Some(Limit::Most(50.0)),
        (MICRO, name) if name.starts_with("sfence_") || name.starts_with("satp_") => Some(Limit::Most(100.0)),
        (MICRO, "million_ecall_sfence") => Some(Limit::Most(0.5e9)),
        (MICRO, "million_ecall_page_tables") => Some(Limit::TimesQemu(0.2)),
        (COPY, _) => Some(Limit::AboveNative(10.0)),
        (INTERRUPTS, name) if name.ends_with("p99") => Some(Limit::Most(100e3)),
        (SNAPSHOT, "the machine rests") => Some(Limit::Most(50e6)),
        (SNAPSHOT, WARM) => Some(Limit::Least(0.9)),
        (SNAPSHOT, "what it holds") => Some(Limit::Most(f64::from(8 << 20))),
        (SNAPSHOT, "restore until harts run") => Some(Limit::Most(20e6)),
        (SNAPSHOT, "restore until it answers") => Some(Limit::Most(100e6)),
        (CACHE, "speed") => Some(Limit::Least(0.7)),
        (CACHE, "pauses, p99.9") => Some(Limit::Most(1e6)),
        ("system", "pipe") => Some(Limit::Speed(4.0)),
        ("system", "syscalls") => Some(Limit::Speed(1.5)),
        ("system", "fork_exec" | "page_faults") => Some(Limit::Speed(1.3)),
        (OWN_CODE, BESIDE) => Some(Limit::Most(2.0)),
        ("integer" | "floating point" | "system" | OWN_CODE, _) => Some(Limit::Speed(1.0)),
        _ => None,
    }
}

/// What the geometric mean of a group's speeds must be, in those of QEMU.
pub fn mean_limit(group: &str) -> Option<f64> {
    match group {
        "integer" => Some(2.7),
        "floating point" => Some(6.0),
        _ => None,
    }
}
