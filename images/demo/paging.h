// Address spaces: the kernel's identity map, and small user spaces for the micro-benchmarks.
#pragma once
#include "riscv.h"

// Where user programs live: text and one stack page in one megapage, and a window whose pages are mapped on
// fault in another.
#define USER_TEXT 0x2000000000ul
#define USER_STACK_TOP 0x2000200000ul
#define USER_WINDOW 0x2000400000ul
#define USER_WINDOW_PAGES 512
// The page mapped in the kernel's and in the isolated user space, and the page below it that holds the
// registers of an interrupted user program (trampoline.S).
#define TRAMPOLINE 0x3ffffff000ul
#define TRAPFRAME 0x3fffffe000ul

// Builds the kernel's space and the user spaces, and turns translation on for this hart.
void paging_start(void);
// Turns translation on for a further hart.
void paging_join(void);

// satp values. The shared space holds kernel and user; the isolated one holds the user and the trampoline only.
u64 paging_kernel_satp(void);
u64 paging_isolated_satp(void);
// The kernel's space under another ASID.
u64 paging_kernel_satp_with_asid(u64 asid);
// Number of ASID bits the harts implement.
u64 paging_asid_bits(void);

// Maps the page of the user window that `va` lies in; false outside the window.
int paging_map_window_page(u64 va);
void paging_unmap_window(void);
