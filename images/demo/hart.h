// The harts: one struct each, held in tp while in the kernel and in sscratch while in U-mode.
#pragma once

#define HART_MAX 16
#define HART_STACK 8192
// Offsets into struct hart for the assembly; hart.c asserts them.
#define HART_SP 0
#define HART_ID 8
#define HART_SCRATCH 16
#define HART_USER_SP 24
#define HART_STAMP 32

#ifndef __ASSEMBLER__
#include "riscv.h"

// Callee-saved registers: where `catch_fault` or `user_enter` came from.
struct context {
    u64 ra, sp, s[12];
};

struct hart {
    u64 kernel_sp;  // stack for traps from U-mode
    u64 id;
    u64 scratch[1]; // spill space of trap vectors
    u64 user_sp;
    u64 stamp;      // `time` at the entry of the last timed interrupt
    struct context *fault_catcher;
    void (*task)(void);
};

extern struct hart harts[HART_MAX];
extern u8 hart_stacks[HART_MAX][HART_STACK];

static inline struct hart *this_hart(void) {
    struct hart *h;
    asm volatile("mv %0, tp" : "=r"(h));
    return h;
}

// Starts `task` on hart `id` in slot `slot`; the hart stops by itself when the task returns.
// False if the firmware refuses.
int hart_start(u64 slot, u64 id, void (*task)(void));
// Waits at most a second for the hart to have stopped.
int hart_wait_stopped(u64 id);
// The `harts` command: every hart says hello.
void harts_say_hello(void);
#endif
