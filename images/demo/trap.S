// Traps taken in the kernel itself, and the two jumps out of straight-line C: into a catcher and into U-mode.
#include "hart.h"

    .text
// S-mode trap. All it can be is a fault (of `peek`, or a bug): the registers are laid out for a report and
// `kernel_fault` decides. Nothing returns from here.
    .balign 4
    .globl trap_vector
trap_vector:
    csrw    sscratch, sp
    addi    sp, sp, -256
    .irp r, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd      x\r, (\r * 8)(sp)
    .endr
    csrrw   t0, sscratch, zero
    sd      t0, 16(sp)
    mv      a0, sp
    call    kernel_fault
    unimp

    .macro context_registers op
    \op     ra, 0(a0)
    \op     sp, 8(a0)
    \op     s0, 16(a0)
    \op     s1, 24(a0)
    \op     s2, 32(a0)
    \op     s3, 40(a0)
    \op     s4, 48(a0)
    \op     s5, 56(a0)
    \op     s6, 64(a0)
    \op     s7, 72(a0)
    \op     s8, 80(a0)
    \op     s9, 88(a0)
    \op     s10, 96(a0)
    \op     s11, 104(a0)
    .endm

// int context_save(struct context *): 0 now, and again with the value given to context_jump.
    .globl context_save
context_save:
    context_registers sd
    li      a0, 0
    ret

// void context_jump(struct context *, int value)
    .globl context_jump
context_jump:
    context_registers ld
    mv      a0, a1
    ret

// void user_enter(u64 entry, u64 sp, u64 arg, struct context *back): saves the kernel's context in `back` and
// goes to U-mode; a vector comes back by `context_jump(back)`.
    .globl user_enter
user_enter:
    csrw    sepc, a0
    mv      t0, a1
    mv      t1, a2
    mv      a0, a3
    context_registers sd
    li      t2, 1 << 8          // sstatus.SPP = 0: U-mode
    csrc    sstatus, t2
    sd      sp, HART_SP(tp)
    csrw    sscratch, tp
    mv      sp, t0
    mv      a0, t1
    sret
