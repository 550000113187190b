//! What generated code and the runtime share: the words it reads and writes, how it is entered and left.
//!
//! ```text
//!  r15 = &mut Core + BASE for as long as generated code runs.
//!  unit(page: rdi, entry: rsi)      page = virtual address of the page the unit runs in
//!     jumps to another unit through a cell, with `Core::pc` set and registers in `Core`
//!     returns to the dispatcher with `Core::pc` and [`Native::exit`] set
//! ```
//! **Invariant.** Whoever leaves a unit has stored every register it changed and has added what it
//! executed to `Core::retired`.

use std::mem::offset_of;

use crate::config::CpuConfig;
use crate::hart::Core;
use crate::isa::Insn;
use vm_mmu::{AddressSpace, PAGE};

/// Why generated code came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Leave {
    /// `pc` has no unit that is known here.
    Dispatch = 1,
    /// Somebody wants the hart's attention.
    Attention = 2,
    /// An instruction at `pc` trapped; `Core::trap` says how.
    Trap = 3,
    /// The instruction at `pc` has to be repeated once other harts have read their mail.
    Again = 4,
    /// The state that decides what comes next has changed.
    Sync = 5,
    /// What follows at `pc` is for the interpreter: a case that the unit does not cover.
    Interpret = 6,
    /// A helper panicked; the panic goes on where the unit was entered.
    Panic = 7,
    /// The block at `pc`, of the quick tier, has run often.
    Hot = 8,
}

impl Leave {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All of them, in order.
    pub const ALL: [Leave; Leave::COUNT] = {
        use Leave::*;
        [Dispatch, Attention, Trap, Again, Sync, Interpret, Panic, Hot]
    };

    /// The reason that was stored.
    pub fn of(word: u64) -> Leave {
        let known = (word as usize).checked_sub(1).and_then(|at| Leave::ALL.get(at));
        known.copied().unwrap_or(Leave::Dispatch)
    }
}

/// Words for results that nobody reads.
pub(crate) const SINKS: usize = 64;

/// Calls whose returns are known; a power of two.
pub(crate) const RETURNS: usize = 128;

/// Where a call comes back to: that pc's cell.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Return {
    pub pc: u64,
    pub cell: u64,
}

impl Return {
    /// Of no call: no instruction has an odd address.
    pub const NONE: Return = Return { pc: 1, cell: 0 };
    /// The place of a pc is `(pc << LEFT) & MASK` bytes behind the first.
    pub const LEFT: u8 = size_of::<Return>().ilog2() as u8 - 1;
    pub const MASK: i32 = ((RETURNS - 1) * size_of::<Return>()) as i32;

    /// Bytes from the first to the place of the pcs at an offset in their pages.
    pub fn place(offset: i64) -> i32 {
        const _: () = assert!(RETURNS as u64 * 2 <= PAGE);
        (offset << Return::LEFT) as i32 & Return::MASK
    }
}

/// r15 points so far behind the start of the hart's state: one byte reaches each integer register from there.
pub(crate) const BASE: i32 = 128;

/// Offset in its page of an instruction that may straddle two: what it is hangs on where the next page lies, so only
/// the jump cache leads there.
pub(crate) const LAST_HALF: i64 = PAGE as i64 - 2;

/// Offset from r15 of what is at `offset` of the hart's state.
pub(crate) const fn from_base(offset: usize) -> i32 {
    offset as i32 - BASE
}

/// Bytes from r15 on that generated code may read whenever it likes.
pub const FRAME_BYTES: usize = size_of::<super::enter::Frame>() - BASE as usize;

/// The words of a hart that only generated code and its helpers use.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Native {
    /// Why the unit was left; 0 while a helper that returns to it runs.
    pub exit: u64,
    /// Stack pointer to come back to.
    pub stack: u64,
    /// Virtual address of the page that the unit runs in.
    pub page: u64,
    /// Instructions up to the end of the block that runs, not yet in `Core::retired`.
    pub pending: u64,
    /// Operands of a helper: the [`Site`] that calls it, an address, and a last address or a value.
    pub site: u64,
    pub address: u64,
    pub value: u64,
    /// Result of a helper: host address minus virtual address.
    pub addend: u64,
    /// Address of the hart's attention word.
    pub attention: u64,
    /// The soft-TLB's entry of page 0 for loads and stores now.
    pub lane: u64,
    /// Jump cache, the id its slots must carry, and 1 in U-mode.
    pub jumps: u64,
    pub fetch_space: u64,
    pub user: u64,
    /// One byte a translation, set when it is entered.
    pub touched: u64,
    /// Not 0 while floating point may be done on the host's FPU: FS dirty, flags gathering, nearest.
    pub fp_ready: u64,
    /// Not 0 while floating-point registers may be read: FS not off.
    pub fp_on: u64,
    /// What a load that is no plain memory access has read, or where such a store may write again.
    pub bounce: [u64; 2],
    /// Results that must not vanish for want of a use.
    pub sinks: [u64; SINKS],
    /// 0, though the compiler does not know it.
    pub zero: u64,
    /// What inline caches have to be valid for; the low half is 0.
    pub stamp: u64,
    /// Operand of the helper that makes a unit's inline caches its own: the number of the translation.
    pub slot: u64,
    /// Operand of the same helper: how many of them are of stores.
    pub stores: u64,
    /// Not 0 while SIE may be set and cleared in place, see [`crate::csr::direct::Direct::Status`].
    pub status_ready: u64,
    /// What an address of an instruction keeps in `sepc`.
    pub pc_mask: u64,
    /// Not 0 if `cbo.zero` is for the runtime in this mode.
    pub zero_forbidden: u64,
    /// Not 0 if reservations are the runtime's.
    pub strict: u64,
    /// Instructions executed by units that were made in this run, counted if there is an image too.
    pub here: u64,
    /// What a page's host address by 512 is added to for the address of its word of granules.
    pub granules: u64,
    /// Calls that generated code has made of late, by where they come back to; right as long as
    /// [`Jumps::changes`](crate::interp::Jumps::changes) is `returns_of`.
    pub returns: [Return; RETURNS],
    pub returns_of: u64,
}

impl Native {
    pub fn new(attention: u64, cpu: &CpuConfig, memory: &AddressSpace) -> Native {
        Native {
            exit: 0,
            stack: 0,
            page: 0,
            pending: 0,
            site: 0,
            address: 0,
            value: 0,
            addend: 0,
            attention,
            lane: 0,
            jumps: 0,
            fetch_space: 0,
            user: 0,
            touched: 0,
            fp_ready: 0,
            fp_on: 0,
            bounce: [0; 2],
            sinks: [0; SINKS],
            zero: 0,
            stamp: 0,
            slot: 0,
            stores: 0,
            status_ready: 0,
            pc_mask: 0,
            zero_forbidden: 1,
            strict: cpu.strict_lrsc.into(),
            here: 0,
            granules: granule_words(memory),
            returns: [Return::NONE; RETURNS],
            returns_of: 0,
        }
    }
}

/// See [`Native::granules`].
fn granule_words(memory: &AddressSpace) -> u64 {
    let first_page = memory.range().start.wrapping_add(memory.host_offset());
    (memory.tracker().words() as u64).wrapping_sub(first_page / PAGE * size_of::<u64>() as u64)
}

/// Offset of a field of [`Native`] from r15.
macro_rules! native {
    ($field:ident) => {
        $crate::jit::abi::from_base(
            std::mem::offset_of!($crate::hart::Core, native)
                + std::mem::offset_of!($crate::jit::abi::Native, $field),
        )
    };
}
pub(crate) use native;

/// Offset of integer register `r` from r15.
pub fn x_offset(r: usize) -> i32 {
    from_base(offset_of!(Core, x) + 8 * r)
}

/// Offset of FP register `r` from r15.
pub fn f_offset(r: usize) -> i32 {
    from_base(offset_of!(Core, f) + 8 * r)
}

/// Offset of the program counter from r15.
pub fn pc_offset() -> i32 {
    from_base(offset_of!(Core, pc))
}

/// Offset from r15 of what is at `offset` of the CSRs.
pub fn csr_offset(offset: usize) -> i32 {
    from_base(offset_of!(Core, csr) + offset)
}

/// Offsets of the reservation's words from r15.
pub(crate) mod reservation {
    use std::mem::offset_of;

    use super::from_base;
    use crate::hart::{Core, Reservation};

    const AT: usize = offset_of!(Core, reservation);

    pub fn cell() -> i32 {
        from_base(AT + offset_of!(Reservation, cell))
    }

    pub fn size() -> i32 {
        from_base(AT + offset_of!(Reservation, size))
    }

    pub fn value() -> i32 {
        from_base(AT + offset_of!(Reservation, value))
    }
}

/// Offset of the count of retired instructions from r15.
pub fn retired_offset() -> i32 {
    from_base(offset_of!(Core, retired))
}

/// An instruction as a place that helpers are called from.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The instruction, with `at` = 0.
    pub insn: Insn,
    /// Its offset in the page.
    pub offset: u16,
    /// Instructions of its block from this one on.
    pub rest: u16,
    /// Log2 of the bytes it loads or stores.
    pub size: u8,
    /// Its inline cache; 0 is none.
    pub slot: u16,
    /// It looks for code after each store.
    pub beside: bool,
    /// What it accesses with others lies across pages too often for one check.
    pub apart: bool,
    /// Its unit was made ahead of the run.
    pub ahead: bool,
}

#[cfg(test)]
impl Site {
    /// An instruction at the start of a page, alone in its block.
    pub fn alone(insn: Insn) -> Site {
        Site { insn, offset: 0, rest: 1, size: 0, slot: 0, beside: false, apart: false, ahead: false }
    }
}
