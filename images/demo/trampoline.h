// The page-table-switching way into the kernel, as teaching kernels do it: the user's address space holds
// nothing of the kernel but one page of code and one of saved registers.
#pragma once

#define TRAPFRAME_KERNEL_SATP 0
#define TRAPFRAME_KERNEL_SP 8
#define TRAPFRAME_HANDLER 16
#define TRAPFRAME_TP 24
#define TRAPFRAME_PC 32
#define TRAPFRAME_X 40

#ifndef __ASSEMBLER__
#include "riscv.h"

struct trapframe {
    u64 kernel_satp, kernel_sp;
    void (*handler)(void);
    u64 tp, pc;
    u64 x[32];
};

extern struct trapframe trapframe;

// Labels inside the trampoline page; add the distance from trampoline_text to TRAMPOLINE before use.
extern char trampoline_text[], trampoline_enter[], trampoline_leave[];
#endif
