// The page mapped at TRAMPOLINE in the kernel's and in the user's address space.
#include "trampoline.h"

    .equ    TRAPFRAME, 0x3fffffe000

    .macro every_register op    // all but x0 and a0 (x10), which is the base
    .irp r, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op     x\r, (TRAPFRAME_X + \r * 8)(a0)
    .endr
    .endm

    .section .trampoline, "ax"
    .balign 4
    .globl trampoline_enter
trampoline_enter:               // stvec while the user runs
    csrw    sscratch, a0
    li      a0, TRAPFRAME
    every_register sd
    csrr    t0, sscratch
    sd      t0, (TRAPFRAME_X + 80)(a0)
    ld      sp, TRAPFRAME_KERNEL_SP(a0)
    ld      tp, TRAPFRAME_TP(a0)
    ld      t0, TRAPFRAME_HANDLER(a0)
    ld      t1, TRAPFRAME_KERNEL_SATP(a0)
    sfence.vma
    csrw    satp, t1
    sfence.vma
    jr      t0

    .balign 4
    .globl trampoline_leave
trampoline_leave:               // a0 = the user's satp
    sfence.vma
    csrw    satp, a0
    sfence.vma
    li      a0, TRAPFRAME
    every_register ld
    ld      a0, (TRAPFRAME_X + 80)(a0)
    sret
