// Trap vectors of the micro-benchmarks, from the least a kernel can do to what a small kernel does.
// On entry from U-mode sscratch = this hart's struct hart, and tp, like every register, is the user's.
#include "hart.h"

    .equ    CALLER_SAVED, 16 * 8

    .macro caller_saved op
    \op     ra, 0(sp)
    \op     t0, 8(sp)
    \op     t1, 16(sp)
    \op     t2, 24(sp)
    \op     t3, 32(sp)
    \op     t4, 40(sp)
    \op     t5, 48(sp)
    \op     t6, 56(sp)
    \op     a0, 64(sp)
    \op     a1, 72(sp)
    \op     a2, 80(sp)
    \op     a3, 88(sp)
    \op     a4, 96(sp)
    \op     a5, 104(sp)
    \op     a6, 112(sp)
    \op     a7, 120(sp)
    .endm

    .text
// Answers an ecall with a7 = 0 by nothing but the return; everything else ends the program.
    .balign 4
    .globl vector_bare
vector_bare:
    csrrw   tp, sscratch, tp
    sd      t0, HART_SCRATCH(tp)
    csrr    t0, scause
    addi    t0, t0, -8
    or      t0, t0, a7
    bnez    t0, 1f
    csrr    t0, sepc
    addi    t0, t0, 4
    csrw    sepc, t0
    ld      t0, HART_SCRATCH(tp)
    csrrw   tp, sscratch, tp
    sret
1:  ld      sp, HART_SP(tp)
    mv      a0, a7
    call    user_ended

// A kernel sharing the user's address space: saves what C may clobber and asks user_trap, which comes back
// only if the program goes on.
    .balign 4
    .globl vector_shared
vector_shared:
    csrrw   tp, sscratch, tp
    sd      sp, HART_USER_SP(tp)
    ld      sp, HART_SP(tp)
    addi    sp, sp, -CALLER_SAVED
    caller_saved sd
    csrr    a0, scause
    csrr    a1, stval
    mv      a2, a7
    call    user_trap
    caller_saved ld
    ld      sp, HART_USER_SP(tp)
    csrrw   tp, sscratch, tp
    sret

// Interrupts of the kernel itself: notes the time, then clears what can be pending.
    .balign 4
    .globl vector_timed
vector_timed:
    csrw    sscratch, t0
    csrr    t0, time
    sd      t0, HART_STAMP(tp)
    csrr    t0, sscratch
    addi    sp, sp, -CALLER_SAVED
    caller_saved sd
    call    quench_interrupt
    caller_saved ld
    addi    sp, sp, CALLER_SAVED
    csrw    sscratch, zero
    sret
