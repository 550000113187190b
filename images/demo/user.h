// Programs in U-mode and the kernels that serve them.
#pragma once
#include "riscv.h"

// user.S
extern char user_ecalls[], user_touches[];

enum kernel_kind {
    KERNEL_BARE,           // the least vector there can be
    KERNEL_SHARED,         // saves registers, answers in C
    KERNEL_SHARED_FENCING, // the same with an sfence.vma in each system call
    KERNEL_ISOLATED,       // switches page tables on the way in and out
};

// Runs a program in U-mode on this hart; returns the ticks it took, ~0 if it ended by anything but its own
// last ecall.
u64 user_run(const char *program, u64 rounds, enum kernel_kind kernel);
