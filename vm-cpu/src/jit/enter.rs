//! Into generated code and back, and the helpers it calls.
//!
//! ```text
//!  enter ──► unit ──► unit ──► …            (tail calls: one frame deep)
//!    ▲         │  └─► trampoline ─► helper   (every register kept)
//!    └─────────┴────────── leave ◄─┘         (the helper says so: the frames above are dropped)
//! ```

#![allow(unsafe_code, reason = "calls generated code, and is called by it")]

use std::any::Any;
use std::ffi::c_void;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use super::abi::{Leave, Native, Site};
use super::service::{Jit, Unit};
use crate::fp::HostFp;
use crate::hart::{Core, Stop};
use crate::isa::emit::Flow;
use crate::isa::{Insn, execute};
use vm_codecache::Reader;
use vm_mmu::{Access, PAGE};

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
    fn vm_jit_load();
    fn vm_jit_store();
    fn vm_jit_range();
    fn vm_jit_execute();
    fn vm_jit_load_vector();
    fn vm_jit_store_vector();
    fn vm_jit_range_vector();
    fn vm_jit_execute_vector();
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
}

impl Helper {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All of them, in order.
    pub const ALL: [Helper; Helper::COUNT] = [Helper::Load, Helper::Store, Helper::Range, Helper::Execute];

    /// What to call, from a unit that keeps values in vector registers or from one that does not.
    pub fn address(self, vectors: bool) -> u64 {
        let entry = match (self, vectors) {
            (Helper::Load, false) => vm_jit_load as *const (),
            (Helper::Store, false) => vm_jit_store as *const (),
            (Helper::Range, false) => vm_jit_range as *const (),
            (Helper::Execute, false) => vm_jit_execute as *const (),
            (Helper::Load, true) => vm_jit_load_vector as *const (),
            (Helper::Store, true) => vm_jit_store_vector as *const (),
            (Helper::Range, true) => vm_jit_range_vector as *const (),
            (Helper::Execute, true) => vm_jit_execute_vector as *const (),
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
    "mov r15, rdi",
    "mov [rdi + {stack}], rsp",
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
    "{stub}:",
    "mov qword ptr [r15 + {exit}], {dispatch}",
    "ret",
    enter = sym vm_jit_enter,
    leave = sym vm_jit_leave,
    stub = sym vm_jit_stub,
    stack = const offset_of!(Core, native) + offset_of!(Native, stack),
    exit = const offset_of!(Core, native) + offset_of!(Native, exit),
    dispatch = const Leave::Dispatch as u64,
);

unsafe extern "C" {
    fn vm_jit_leave();
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
            "mov rdi, r15",
            "call {helper}",
            "test rax, rax",
            "jne {leave}",
            $($restore,)*
            "mov rsp, rbx",
            "pop rbx",
            "pop r11", "pop r10", "pop r9", "pop r8",
            "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
            "ret",
            name = sym $name,
            helper = sym $helper,
            leave = sym vm_jit_leave,
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

trampoline!(vm_jit_load, vm_jit_load_vector, help_load);
trampoline!(vm_jit_store, vm_jit_store_vector, help_store);
trampoline!(vm_jit_range, vm_jit_range_vector, help_range);
trampoline!(vm_jit_execute, vm_jit_execute_vector, help_execute);

/// Runs a helper's body for the hart that generated code runs on; gives 0 to go back.
///
/// # Safety
/// `core` is r15 of the trampoline: the hart that [`enter`] borrowed mutably, which nobody else uses
/// until generated code is left. `site` was stored by the unit: one that its metadata owns, which lives
/// as long as the unit's code may run.
unsafe fn help(core: *mut Core, helper: Helper, body: impl FnOnce(&mut Core, &Site) -> Option<Leave>) -> u64 {
    // SAFETY: the caller's word.
    let core = unsafe { &mut *core };
    // SAFETY: the caller's word; sites are never changed.
    let site = unsafe { &*(core.native.site as *const Site) };
    core.pc = core.native.page.wrapping_add(site.offset.into());
    core.tally.helpers[helper as usize] += 1;
    let left = match catch_unwind(AssertUnwindSafe(|| body(core, site))) {
        Ok(left) => left,
        Err(payload) => {
            core.panic = Some(payload);
            Some(Leave::Panic)
        }
    };
    core.resume_fp();
    match left {
        None => 0,
        Some(leave) => {
            core.native.exit = leave as u64;
            1
        }
    }
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
    unsafe { help(core, Helper::Execute, Core::native_execute) }
}

/// A panic on its way through generated code.
pub type Payload = Box<dyn Any + Send>;

impl Core {
    /// Takes the FPU again if a device ran in between.
    fn resume_fp(&mut self) {
        if self.native.fp_ready != 0 && self.fpu.is_none() {
            self.fpu = Some(HostFp::enter());
        }
    }

    /// Instructions executed before the one of `site` that are not in `retired` yet.
    fn pending_at(&self, site: &Site) -> u64 {
        self.native.pending.wrapping_sub(site.rest.into())
    }

    /// Leaves at the instruction that a helper was called for.
    fn leave_for(&mut self, stop: Stop, site: &Site) -> Leave {
        self.retired = self.retired.wrapping_add(self.pending_at(site));
        match stop {
            Stop::Trap => Leave::Trap,
            Stop::Again => Leave::Again,
            Stop::Done => {
                self.retired += 1;
                self.pc = self.pc.wrapping_add(site.insn.len.into());
                Leave::Dispatch
            }
        }
    }

    fn native_load(&mut self, site: &Site) -> Option<Leave> {
        let va = self.native.address;
        let value = match site.size {
            0 => self.load_word::<u8>(va).map(u64::from),
            1 => self.load_word::<u16>(va).map(u64::from),
            2 => self.load_word::<u32>(va).map(u64::from),
            _ => self.load_word::<u64>(va),
        };
        match value {
            Ok(value) => {
                self.native.bounce[0] = value;
                self.bounce(va);
                None
            }
            Err(stop) => Some(self.leave_for(stop, site)),
        }
    }

    fn native_store(&mut self, site: &Site) -> Option<Leave> {
        let (va, value) = (self.native.address, self.native.value);
        let done = match site.size {
            0 => self.store_word(va, value as u8),
            1 => self.store_word(va, value as u16),
            2 => self.store_word(va, value as u32),
            _ => self.store_word(va, value),
        };
        match done {
            Ok(()) => {
                self.bounce(va);
                None
            }
            Err(stop) => Some(self.leave_for(stop, site)),
        }
    }

    /// The access that follows in the unit goes to the bounce buffer.
    fn bounce(&mut self, va: u64) {
        self.native.addend = (&raw const self.native.bounce as u64).wrapping_sub(va);
    }

    /// All of `address..=value` must be RAM of one page that permits stores if `addend` is not 0, else loads;
    /// otherwise each access is for the interpreter.
    fn native_range(&mut self, site: &Site) -> Option<Leave> {
        let (va, last) = (self.native.address, self.native.value);
        let access = if self.native.addend != 0 { Access::Store } else { Access::Load };
        let one_page = (va ^ last) & !(PAGE - 1) == 0 && last >= va;
        if one_page {
            if self.tlb.addend(self.data.class, va, access).is_none() && self.may_translate_early(access) {
                // It fills the soft-TLB if it succeeds; a trap here is none yet.
                let _ = self.translate(va, 1, access);
            }
            if let Some(addend) = self.tlb.addend(self.data.class, va, access) {
                self.native.addend = addend;
                return None;
            }
        }
        self.retired = self.retired.wrapping_add(self.pending_at(site));
        Some(Leave::Interpret)
    }

    fn native_execute(&mut self, site: &Site) -> Option<Leave> {
        let (before, insn) = (self.pending_at(site), &site.insn);
        self.retired = self.retired.wrapping_add(before).wrapping_add(1);
        self.tally.ops[insn.op as usize] += 1;
        let len = u64::from(insn.len);
        match execute(self, insn) {
            Ok(Flow::Next) if !self.fp_settings_changed(insn) => {
                self.retired = self.retired.wrapping_sub(before).wrapping_sub(1);
                None
            }
            Ok(Flow::Next) => {
                self.pc = self.pc.wrapping_add(len);
                Some(Leave::Dispatch)
            }
            Ok(Flow::Sync) => {
                self.pc = self.pc.wrapping_add(len);
                Some(Leave::Sync)
            }
            Ok(Flow::Switch) => Some(Leave::Sync),
            Ok(Flow::Jump { off }) => {
                self.pc = self.pc.wrapping_add(off as u64);
                Some(Leave::Dispatch)
            }
            Ok(Flow::JumpReg { target }) => {
                self.pc = target;
                Some(Leave::Dispatch)
            }
            Ok(Flow::Branch { cond, off }) => {
                self.pc = self.pc.wrapping_add(if cond != 0 { off as u64 } else { len });
                Some(Leave::Dispatch)
            }
            Err(stop) => {
                self.retired = self.retired.wrapping_sub(before).wrapping_sub(1);
                Some(self.leave_for(stop, site))
            }
        }
    }

    /// Whether an instruction may have made [`Native::fp_ready`] untrue without ending its block.
    fn fp_settings_changed(&self, insn: &Insn) -> bool {
        use crate::isa::Op::*;
        let csr = matches!(insn.op, csrrw | csrrs | csrrc | csrrwi | csrrsi | csrrci);
        csr && matches!(insn.imm as u16, 0x001..=0x003) || self.native.fp_ready != 0 && !self.fp_is_ready()
    }

    /// Floating point may be done on the host's FPU.
    pub(crate) fn fp_is_ready(&self) -> bool {
        self.fpu.is_some() && self.csr.fp_dirty() && self.csr.frm == 0
    }
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
