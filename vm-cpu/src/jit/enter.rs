//! Into generated code and back, and the helpers it calls.
//!
//! ```text
//!  enter ──► unit ──► unit ──► …            (tail calls: one frame deep)
//!    ▲         │  └─► trampoline ─► helper   (every register kept)
//!    └─────────┴────────── leave ◄─┤         (the helper says so: the frames above are dropped)
//!              unit ◄────── go on ◄┘         (the same, but into another unit)
//! ```

#![allow(unsafe_code, reason = "calls generated code, and is called by it")]

use std::any::Any;
use std::ffi::c_void;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use super::abi::{BASE, Leave, Native, Return, Site, from_base, native};
use super::helpers::Then;
use super::service::{Jit, Unit};
use super::slots::{SLOTS, Slot};
use crate::hart::Core;
use crate::isa::emit::Cbo;
use vm_codecache::Reader;
use vm_mmu::{Access, PAGE};

/// A hart's state and, at constant offsets from it, its inline caches.
#[repr(C)]
pub struct Frame {
    core: Core,
    slots: [Slot; SLOTS],
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.core.fmt(f)
    }
}

impl Frame {
    /// `core` with empty slots.
    pub fn new(core: Core) -> Box<Frame> {
        let mut frame = Box::<Frame>::new_zeroed();
        // SAFETY: the pointer is to memory of a `Frame`; zeros are a slot, and no valid header, so writing
        // `core` makes it whole.
        unsafe {
            (&raw mut (*frame.as_mut_ptr()).core).write(core);
            frame.assume_init()
        }
    }

    /// The hart's state.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The hart's state, to change.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

/// Offset of slot `number` from r15.
pub const fn slot_offset(number: u32) -> i32 {
    from_base(offset_of!(Frame, slots) + number as usize * size_of::<Slot>())
}

/// The slots of a hart.
///
/// # Safety
/// `core` was derived from a `Core`, which is always the first part of a [`Frame`] (nothing else owns
/// one), and nobody else uses its slots while the result lives.
unsafe fn slots_of<'a>(core: *mut Core) -> &'a mut [Slot; SLOTS] {
    let frame: *mut Frame = core.cast();
    // SAFETY: the caller's word.
    unsafe { &mut (*frame).slots }
}

/// Runs the unit whose code is at `code`, and whatever it jumps to, until something leaves.
///
/// # Safety
/// `code` is the entry of a live unit of this code cache, or the exit stub, and the calling thread is
/// pinned in its epoch until this returns. `core.native` has been prepared for the current mode.
unsafe fn enter(core: &mut Core, code: u64) -> Leave {
    let page = core.pc & !(PAGE - 1);
    core.native.exit = 0;
    // SAFETY: by contract `code` follows the convention of `abi`: it changes what `core` owns and guest
    // memory through the soft-TLB's entries, and comes back with the stack as it was.
    unsafe { vm_jit_enter((&raw mut *core).cast(), code, page) };
    let leave = Leave::of(core.native.exit);
    if leave == Leave::Panic
        && let Some(payload) = core.panic.take()
    {
        resume_unwind(payload);
    }
    leave
}

unsafe extern "C" {
    fn vm_jit_enter(core: *mut c_void, code: u64, page: u64);
    fn vm_jit_stub();
    fn vm_jit_execute();
    fn vm_jit_slots();
    fn vm_jit_store_beside();
    fn vm_jit_written();
    fn vm_jit_execute_vector();
    fn vm_jit_slots_vector();
    fn vm_jit_store_beside_vector();
    fn vm_jit_written_vector();
    // `refill` tries these before the helper, whose trampoline is the slow one.
    pub(super) fn vm_jit_load();
    pub(super) fn vm_jit_store();
    pub(super) fn vm_jit_range();
    pub(super) fn vm_jit_load_vector();
    pub(super) fn vm_jit_store_vector();
    pub(super) fn vm_jit_range_vector();
    pub(super) fn vm_jit_load_slow();
    pub(super) fn vm_jit_store_slow();
    pub(super) fn vm_jit_range_slow();
    pub(super) fn vm_jit_load_slow_vector();
    pub(super) fn vm_jit_store_slow_vector();
    pub(super) fn vm_jit_range_slow_vector();
}

/// A cell that always leads to the stub.
static STUB_CELL: unsafe extern "C" fn() = vm_jit_stub;

/// Address of a cell that never has a unit.
#[inline]
pub fn stub_cell() -> u64 {
    &raw const STUB_CELL as u64
}

/// The code that `cell`, which the code cache gave out, leads to; `None` if that is the stub.
#[inline]
pub fn target(cell: u64) -> Option<u64> {
    // SAFETY: the memory of cells stays mapped for as long as the cache, which the hart's reader holds,
    // and is written atomically. That the cell is still this address's is the reader's to say.
    let code = unsafe { (*(cell as *const AtomicU64)).load(Ordering::Acquire) };
    (code != stub()).then_some(code)
}

/// Runs the unit at `code`, see [`enter`]. The hart's thread is pinned for as long as it executes.
#[inline]
pub fn run(core: &mut Core, code: u64) -> Leave {
    debug_assert!(core.reader.is_some());
    // SAFETY: `code` was read from a cell while pinned, so it cannot be freed before the hart unpins,
    // which it does outside of generated code only; the caller prepared `core.native`.
    unsafe { enter(core, code) }
}

/// Where a unit jumps that has no successor.
pub fn stub() -> u64 {
    vm_jit_stub as *const () as u64
}

/// What generated code can call. All operands travel in [`Native`], every register is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    /// Load that missed the soft-TLB.
    Load,
    /// Store that missed the soft-TLB.
    Store,
    /// Several accesses by one base that missed together.
    Range,
    /// Any instruction, by its meaning.
    Execute,
    /// The unit's inline caches are not of this address space.
    Slots,
    /// Store that missed, of a site that looks for code itself.
    StoreBeside,
    /// Such a site has stored to code, or where that is not easily told.
    Written,
}

impl Helper {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them, in order.
    pub const ALL: [Helper; Helper::COUNT] = {
        use Helper::*;
        [Load, Store, Range, Execute, Slots, StoreBeside, Written]
    };

    /// What to call, from a unit that keeps values in vector registers or from one that does not.
    pub fn address(self, vectors: bool) -> u64 {
        let entry = match (self, vectors) {
            (Helper::Load, false) => vm_jit_load as *const (),
            (Helper::Store, false) => vm_jit_store as *const (),
            (Helper::Range, false) => vm_jit_range as *const (),
            (Helper::Execute, false) => vm_jit_execute as *const (),
            (Helper::Slots, false) => vm_jit_slots as *const (),
            (Helper::StoreBeside, false) => vm_jit_store_beside as *const (),
            (Helper::Written, false) => vm_jit_written as *const (),
            (Helper::Load, true) => vm_jit_load_vector as *const (),
            (Helper::Store, true) => vm_jit_store_vector as *const (),
            (Helper::Range, true) => vm_jit_range_vector as *const (),
            (Helper::Execute, true) => vm_jit_execute_vector as *const (),
            (Helper::Slots, true) => vm_jit_slots_vector as *const (),
            (Helper::StoreBeside, true) => vm_jit_store_beside_vector as *const (),
            (Helper::Written, true) => vm_jit_written_vector as *const (),
        };
        entry as u64
    }
}

std::arch::global_asm!(
    ".p2align 4",
    ".globl {enter}",
    ".globl {leave}",
    ".globl {stub}",
    "{enter}:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "lea r15, [rdi + {base}]",
    "mov [r15 + {stack}], rsp",
    "mov rdi, rdx",
    "call rsi",
    "2:",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    // A helper has stored why: drop what lies above the frame of `enter`.
    "{leave}:",
    "mov rsp, [r15 + {stack}]",
    "jmp 2b",
    // The same, and on in the unit at rax.
    "{go_on}:",
    "mov rsp, [r15 + {stack}]",
    "mov rdi, [r15 + {page}]",
    "call rax",
    "jmp 2b",
    "{stub}:",
    "mov qword ptr [r15 + {exit}], {dispatch}",
    "ret",
    enter = sym vm_jit_enter,
    leave = sym vm_jit_leave,
    go_on = sym vm_jit_go_on,
    stub = sym vm_jit_stub,
    base = const BASE,
    page = const native!(page),
    stack = const native!(stack),
    exit = const native!(exit),
    dispatch = const Leave::Dispatch as u64,
);

unsafe extern "C" {
    fn vm_jit_leave();
    fn vm_jit_go_on();
}

/// Saves and restores of a trampoline: the vector registers only for units that hold values in them.
macro_rules! trampoline {
    ($name:ident, $helper:path, [$($save:literal),*], [$($restore:literal),*]) => {
        std::arch::global_asm!(
            ".p2align 4",
            ".globl {name}",
            "{name}:",
            "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
            "push r8", "push r9", "push r10", "push r11", "push rbx",
            "mov rbx, rsp",
            "and rsp, -16",
            $($save,)*
            "lea rdi, [r15 - {base}]",
            "call {helper}",
            "cmp rax, 1",
            "je {leave}",
            "ja {go_on}",
            $($restore,)*
            "mov rsp, rbx",
            "pop rbx",
            "pop r11", "pop r10", "pop r9", "pop r8",
            "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
            "ret",
            name = sym $name,
            helper = sym $helper,
            base = const BASE,
            leave = sym vm_jit_leave,
            go_on = sym vm_jit_go_on,
        );
    };
    ($plain:ident, $vector:ident, $helper:path) => {
        trampoline!($plain, $helper, [], []);
        trampoline!(
            $vector,
            $helper,
            [
                "sub rsp, 256",
                "movups [rsp], xmm0", "movups [rsp + 16], xmm1",
                "movups [rsp + 32], xmm2", "movups [rsp + 48], xmm3",
                "movups [rsp + 64], xmm4", "movups [rsp + 80], xmm5",
                "movups [rsp + 96], xmm6", "movups [rsp + 112], xmm7",
                "movups [rsp + 128], xmm8", "movups [rsp + 144], xmm9",
                "movups [rsp + 160], xmm10", "movups [rsp + 176], xmm11",
                "movups [rsp + 192], xmm12", "movups [rsp + 208], xmm13",
                "movups [rsp + 224], xmm14", "movups [rsp + 240], xmm15"
            ],
            [
                "movups xmm0, [rsp]", "movups xmm1, [rsp + 16]",
                "movups xmm2, [rsp + 32]", "movups xmm3, [rsp + 48]",
                "movups xmm4, [rsp + 64]", "movups xmm5, [rsp + 80]",
                "movups xmm6, [rsp + 96]", "movups xmm7, [rsp + 112]",
                "movups xmm8, [rsp + 128]", "movups xmm9, [rsp + 144]",
                "movups xmm10, [rsp + 160]", "movups xmm11, [rsp + 176]",
                "movups xmm12, [rsp + 192]", "movups xmm13, [rsp + 208]",
                "movups xmm14, [rsp + 224]", "movups xmm15, [rsp + 240]"
            ]
        );
    };
}

trampoline!(vm_jit_load_slow, vm_jit_load_slow_vector, help_load);
trampoline!(vm_jit_store_slow, vm_jit_store_slow_vector, help_store);
trampoline!(vm_jit_range_slow, vm_jit_range_slow_vector, help_range);
trampoline!(vm_jit_execute, vm_jit_execute_vector, help_execute);
trampoline!(vm_jit_slots, vm_jit_slots_vector, help_slots);
trampoline!(vm_jit_store_beside, vm_jit_store_beside_vector, help_store_beside);
trampoline!(vm_jit_written, vm_jit_written_vector, help_written);

/// Runs a helper's body for the hart that generated code runs on; gives 0 to go back, 1 to leave, or the
/// code to go on with, see [`Then`].
///
/// # Safety
/// `core` is r15 of the trampoline: the hart that [`enter`] borrowed mutably, which nobody else uses
/// until generated code is left. `site` was stored by the unit: one that its metadata owns, which lives
/// as long as the unit's code may run.
unsafe fn help(
    core: *mut Core,
    helper: Helper,
    body: impl FnOnce(&mut Core, &mut [Slot; SLOTS], &Site) -> Then,
) -> u64 {
    // SAFETY: the hart that `enter` borrowed, whose slots only generated code and helpers use.
    let slots = unsafe { slots_of(core) };
    // SAFETY: the caller's word.
    let core = unsafe { &mut *core };
    // SAFETY: the caller's word; sites are never changed.
    let site = unsafe { &*(core.native.site as *const Site) };
    core.pc = core.native.page.wrapping_add(site.offset.into());
    core.tally.helpers[helper as usize] += 1;
    let then = catch_unwind(AssertUnwindSafe(|| body(core, slots, site))).unwrap_or_else(|payload| {
        core.panic = Some(payload);
        Then::Leave(Leave::Panic)
    });
    let result = match then {
        Then::Back => {
            core.review_returns();
            0
        }
        Then::Leave(leave) => {
            core.native.exit = leave as u64;
            1
        }
        Then::GoOn(code) => {
            core.prepare_native();
            code
        }
    };
    core.resume_fp();
    result
}

/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_load(core: *mut Core) -> u64 {
    // SAFETY: see `help`.
    unsafe { help(core, Helper::Load, Core::native_load) }
}

/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_store(core: *mut Core) -> u64 {
    // SAFETY: see `help`.
    unsafe { help(core, Helper::Store, Core::native_store) }
}

/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_range(core: *mut Core) -> u64 {
    // SAFETY: see `help`.
    unsafe { help(core, Helper::Range, Core::native_range) }
}

/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_execute(core: *mut Core) -> u64 {
    // SAFETY: see `help`.
    unsafe { help(core, Helper::Execute, |core, _, site| core.native_execute(site)) }
}

/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_store_beside(core: *mut Core) -> u64 {
    // SAFETY: see `help`.
    unsafe { help(core, Helper::StoreBeside, Core::native_store_beside) }
}

/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_written(core: *mut Core) -> u64 {
    // SAFETY: see `help`.
    unsafe { help(core, Helper::Written, |core, _, site| core.native_written(site)) }
}

/// Times a unit finds no page for its slots before it is made anew without any.
const FRUITLESS: u16 = 16;
/// Times a unit finds its slots to be of another stamp before that is looked at, and instructions a time
/// below which it does better without them: the guest fences or switches at every turn.
const FOREIGN: u16 = 64;
const PER_FOREIGN: u32 = 2000;

/// Makes the slots of the unit at hand its own, each with a page that is valid now; without one, leaves.
/// First slot, length, key and number are the operands.
///
/// # Safety
/// Called by its trampoline only.
unsafe extern "C" fn help_slots(core: *mut Core) -> u64 {
    // SAFETY: as in `help`.
    let (core, slots) = unsafe { (&mut *core, slots_of(core)) };
    let Native { address: first, value: len, addend: key, slot: number, stores, stamp, .. } = core.native;
    if core.is_stamp_old() {
        core.native.exit = Leave::Dispatch as u64;
        return 1;
    }
    let class = core.data.class;
    let mut any = |access: Access, wanted: bool| {
        if wanted { core.tlb.any(class, access).map(Some) } else { Some(None) }
    };
    let loads = len.saturating_sub(1).saturating_sub(stores);
    let (Some(load), Some(store)) = (any(Access::Load, loads != 0), any(Access::Store, stores != 0)) else {
        // The interpreter will fill the soft-TLB, unless all that the unit stores to lies beside code.
        if let Some(header) = slots.get_mut(first as usize) {
            header.misses += 1;
            if header.misses >= FRUITLESS {
                header.misses = 0;
                let sites = (first + 1..first + len).map(|at| at as u16).collect();
                core.misfit = Some(Misfit::Roaming { number: number as u32, slots: sites });
            }
        }
        core.native.exit = Leave::Interpret as u64;
        return 1;
    };
    let since = core.retired as u32;
    if let Some(range) = slots.get_mut(first as usize..first.wrapping_add(len) as usize)
        && let Some((header, sites)) = range.split_first_mut()
    {
        let (of_loads, of_stores) = sites.split_at_mut(sites.len().min(loads as usize));
        for (slots, page) in [(of_loads, load), (of_stores, store)] {
            if let Some((tag, addend)) = page {
                slots.fill(Slot { tag, addend, first: first as u16, since, ..Slot::default() });
            }
        }
        let Slot { misses, since: began, .. } = *header;
        let (misses, began) = if misses == 0 { (1, since) } else { (misses + 1, began) };
        let tag = stamp.wrapping_add(key);
        *header =
            Slot { tag, len, addend: number, misses: misses % FOREIGN, since: began, ..Slot::default() };
        if misses == FOREIGN
            && !core.is_on_trial()
            && since.wrapping_sub(began) < u32::from(FOREIGN) * PER_FOREIGN
        {
            let sites = (first + 1..first + len).map(|at| at as u16).collect();
            core.misfit = Some(Misfit::Roaming { number: number as u32, slots: sites });
            core.native.exit = Leave::Interpret as u64;
            return 1;
        }
    }
    core.tally.helpers[Helper::Slots as usize] += 1;
    0
}

/// Forgets what all slots of a hart hold.
#[cold]
fn empty_slots(core: &mut Core) {
    // SAFETY: no generated code runs for a hart that is borrowed.
    unsafe { slots_of(&raw mut *core) }.fill(Slot::default());
}

/// A panic on its way through generated code.
pub type Payload = Box<dyn Any + Send>;

impl Core {
    /// Puts what generated code reads of the hart's mode where it looks.
    #[inline]
    pub(crate) fn prepare_native(&mut self) {
        let class = self.data.class;
        self.native.lane = self.tlb.first_entry(class) as u64;
        self.native.stamp = u64::from(self.tlb.stamp(class)) << 32;
        if self.tlb.stamps_wrapped() {
            empty_slots(self);
        }
        (self.native.jumps, self.native.fetch_space, self.native.user) = self.jumps.for_code();
        self.native.fp_ready = self.fp_is_ready().into();
        self.native.fp_on = self.csr.fp_on().into();
        self.native.pc_mask = self.csr.pc_mask();
        self.native.zero_forbidden = (!self.csr.cbo_permitted(Cbo::Zero)).into();
        self.look_at_status();
        self.review_returns();
    }

    /// Forgets where calls come back to, if pcs may lead elsewhere by now.
    #[inline]
    fn review_returns(&mut self) {
        if self.native.returns_of != self.jumps.changes() {
            self.native.returns_of = self.jumps.changes();
            self.native.returns.fill(Return::NONE);
        }
    }
}

/// Accesses of a unit that had better be made otherwise.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// Those slots of the translation are of no use.
    Roaming { number: u32, slots: Vec<u16> },
    /// The instruction at this guest-physical address stores beside code, and does not look for it.
    Beside { gpa: u64 },
    /// The accesses that are checked at once at this guest-physical address lie across pages.
    Apart { gpa: u64 },
}

/// A hart's part in the code cache's epochs.
pub struct Participant {
    reader: Reader<Unit>,
}

// SAFETY: a reader is bound to its thread because its part in the epoch is kept in plain cells. All of
// its methods need `&mut`, and the hart that owns it is handed from thread to thread as a whole, so
// two threads never use it at once and each sees what the one before did.
unsafe impl Send for Participant {}

impl Participant {
    /// Of the hart of the calling thread.
    pub fn new(jit: &Jit) -> Participant {
        Participant { reader: jit.cache.reader() }
    }

    /// Address of the bytes that units set when they are entered.
    pub fn touched(&self) -> u64 {
        self.reader.touched() as u64
    }

    /// From here on code that cells lead to is not freed; anew, if it was so before. True if addresses of
    /// cells have to be forgotten.
    #[must_use = "kept addresses of cells may have become invalid"]
    pub fn pin(&mut self) -> bool {
        self.reader.repin()
    }

    /// No code of the cache is used.
    pub fn unpin(&mut self) {
        self.reader.unpin();
    }
}
