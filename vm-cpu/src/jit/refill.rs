//! Misses of inline caches that the soft-TLB answers: the slot gets its entry and the access goes on, within
//! a few instructions and without the runtime. Whatever is less plain goes on to the helper.
//!
//! ```text
//!  r15 = Core     operands and result in `Native`, every register kept
//!  site has a slot, its header names the stamp in force, it has not missed too often
//!     and the entry hits, is not a user's in the S lane, and is known to have copies
//!          ──► slot := entry, addend := that of the entry
//! ```
//! **Invariant.** This does what `SoftTlb::lend` and the helper do, in the cases in which neither has
//! anything else to note.

#![allow(unsafe_code, reason = "global assembly")]

use std::mem::offset_of;

use super::abi::{Site, from_base, native};
use super::enter::{self, Helper, slot_offset};
use super::slots::{MISSES, Slot};
use crate::hart::{Core, Tally};
use vm_mmu::{ENTRIES, Entry, PAGE};

const fn count(helper: Helper) -> i32 {
    from_base(offset_of!(Core, tally) + offset_of!(Tally, helpers) + helper as usize * size_of::<u64>())
}

/// A helper's way in: `check` finds the entry at rcx and how far into its page the access begins in rax, and
/// goes on to the helper, at 2, if it does not hit.
macro_rules! refill {
    ($name:ident, $slow:ident, $helper:ident, [$($check:literal),*], [$($operand:ident = $value:expr),*]) => {
        std::arch::global_asm!(
            ".p2align 4",
            ".globl {name}",
            "{name}:",
            "push rax",
            "push rcx",
            "push rdx",
            "mov rax, [r15 + {site}]",
            "movzx ecx, word ptr [rax + {site_slot}]",
            "test ecx, ecx",
            "je 2f",
            "shl ecx, {slot_shift}",
            "lea rdx, [r15 + rcx + {slots}]",
            "cmp word ptr [rdx + {misses}], {most}",
            "jae 2f",
            "movzx ecx, word ptr [rdx + {first}]",
            "shl ecx, {slot_shift}",
            "mov eax, [r15 + rcx + {slots} + {tag} + 4]",
            "cmp eax, [r15 + {stamp} + 4]",
            "jne 2f",
            "mov rax, [r15 + {address}]",
            "mov rcx, rax",
            "shr rcx, {page_shift} - {entry_shift}",
            "and ecx, ({entries} - 1) << {entry_shift}",
            "add rcx, [r15 + {lane}]",
            $($check,)*
            "mov eax, [rcx + {flags}]",
            "and eax, {lent} + {user}",
            "cmp eax, {lent}",
            "jne 2f",
            "inc word ptr [rdx + {misses}]",
            "inc qword ptr [r15 + {count}]",
            "mov rax, [rcx + {page}]",
            "mov [rdx + {tag}], rax",
            "mov rax, [rcx + {entry_addend}]",
            "mov [rdx + {addend}], rax",
            "mov [r15 + {result}], rax",
            "pop rdx",
            "pop rcx",
            "pop rax",
            "ret",
            "2:",
            "pop rdx",
            "pop rcx",
            "pop rax",
            "jmp {slow}",
            name = sym enter::$name,
            slow = sym enter::$slow,
            count = const count(Helper::$helper),
            site = const native!(site),
            address = const native!(address),
            result = const native!(addend),
            stamp = const native!(stamp),
            lane = const native!(lane),
            site_slot = const offset_of!(Site, slot),
            slots = const slot_offset(0),
            slot_shift = const size_of::<Slot>().ilog2(),
            tag = const offset_of!(Slot, tag),
            addend = const offset_of!(Slot, addend),
            misses = const offset_of!(Slot, misses),
            first = const offset_of!(Slot, first),
            most = const MISSES - 1,
            page_shift = const PAGE.ilog2(),
            entries = const ENTRIES,
            entry_shift = const size_of::<Entry>().ilog2(),
            entry_addend = const Entry::ADDEND,
            flags = const Entry::FLAGS,
            lent = const Entry::LENT,
            user = const Entry::OF_USER,
            $($operand = const $value,)*
        );
    };
    // An access of up to 8 bytes.
    ($name:ident, $slow:ident, $helper:ident, $right:expr) => {
        refill!(
            $name,
            $slow,
            $helper,
            [
                "sub rax, [rcx + {page}]",
                "cmp rax, {room}",
                "ja 2f"
            ],
            [page = $right, room = PAGE - 8]
        );
    };
    // From the address up to the one in `value`; a store's if `addend` is not 0.
    ($name:ident, $slow:ident, $helper:ident) => {
        refill!(
            $name,
            $slow,
            $helper,
            [
                "sub rax, [rcx + {page}]",
                "cmp rax, {size} - 1",
                "ja 2f",
                "mov rax, [r15 + {last}]",
                "sub rax, [rcx + {page}]",
                "cmp rax, {size} - 1",
                "ja 2f",
                "cmp qword ptr [r15 + {result}], 0",
                "je 4f",
                "mov rax, [rcx + {page}]",
                "cmp rax, [rcx + {store}]",
                "jne 2f",
                "4:"
            ],
            [
                page = Entry::LOAD,
                size = PAGE,
                last = native!(value),
                store = Entry::STORE
            ]
        );
    };
}

refill!(vm_jit_load, vm_jit_load_slow, Load, Entry::LOAD);
refill!(vm_jit_load_vector, vm_jit_load_slow_vector, Load, Entry::LOAD);
refill!(vm_jit_store, vm_jit_store_slow, Store, Entry::STORE);
refill!(vm_jit_store_vector, vm_jit_store_slow_vector, Store, Entry::STORE);
refill!(vm_jit_range, vm_jit_range_slow, Range);
refill!(vm_jit_range_vector, vm_jit_range_slow_vector, Range);
