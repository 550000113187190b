// Start, trap entry and the jumps between modes. Assembled with -DENTRY_S for programs that start in S-mode
// under SBI; for the others all harts start here in M-mode.
#ifdef ENTRY_S
#define XSTATUS sstatus
#define XTVEC   stvec
#define XSCRATCH sscratch
#define XEPC    sepc
#define XIE     sie
#define XRET    sret
#define XPP     (1 << 8)
#else
#define XSTATUS mstatus
#define XTVEC   mtvec
#define XSCRATCH mscratch
#define XEPC    mepc
#define XIE     mie
#define XRET    mret
#define XPP     (3 << 11)
#endif
#define HART_SIZE_SHIFT 10

    .section .text.head, "ax"
    .globl _start
_start:
#ifdef ENTRY_S
    // Header of a RISC-V Linux Image: S-mode programs are loaded as kernels.
    .option push
    .option norvc
    j       start
    nop
    .option pop
    .quad   0x200000
    .quad   image_size
    .quad   0
    .word   2, 0
    .quad   0
    .ascii  "RISCV\0\0\0"
    .ascii  "RSC\x05"
    .word   0
start:
    csrw    XIE, zero
    csrci   XSTATUS, 2
    call    clear_bss
#else
    csrw    XIE, zero
    csrci   XSTATUS, 8
    csrr    a0, mhartid
    la      t0, bss_is_clear
    bnez    a0, 1f
    call    clear_bss
    li      t1, 1
    fence   rw, w
    sw      t1, 0(t0)
1:  lw      t1, 0(t0)
    beqz    t1, 1b
    fence   r, rw
#endif
    .globl hart_start
hart_start:                     // a0 = hart id
    slli    t0, a0, HART_SIZE_SHIFT
    la      tp, harts
    add     tp, tp, t0
    slli    t0, a0, 13          // 8 KiB of stack each
    la      sp, stacks + 8192
    add     sp, sp, t0
    la      t1, trap_stacks + 4096
    srli    t0, t0, 1
    add     t1, t1, t0
    sd      t1, 0(tp)           // the slot of x0 holds the stack of traps
    csrw    XSCRATCH, tp
    la      t0, trap_entry
    csrw    XTVEC, t0
    call    hart_main
1:  wfi
    j       1b

clear_bss:
    la      t1, bss_start
    la      t2, image_end
1:  sd      zero, 0(t1)
    addi    t1, t1, 8
    bltu    t1, t2, 1b
    ret

#ifndef ENTRY_S
    .data
    .balign 8
bss_is_clear:
    .word   0, 0
#endif

    .text
// Any trap: registers into this hart's struct, then trap_taken in C on a stack of its own. An interrupt returns
// from it; an exception does not. Interrupts stay off meanwhile.
    .balign 4
    .globl trap_entry
trap_entry:
    csrrw   tp, XSCRATCH, tp
    .irp r, 1,2,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd      x\r, (\r * 8)(tp)
    .endr
    csrrw   t0, XSCRATCH, tp    // the interrupted tp; scratch is this hart again
    sd      t0, 32(tp)
    ld      sp, 0(tp)
    call    trap_taken
    .irp r, 1,2,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld      x\r, (\r * 8)(tp)
    .endr
    ld      tp, 32(tp)
    XRET

    .macro context op
    \op     ra, 0(a0)
    \op     sp, 8(a0)
    .set    i, 0
    .irp r, s0,s1,s2,s3,s4,s5,s6,s7,s8,s9,s10,s11
    \op     \r, (16 + 8 * i)(a0)
    .set    i, i + 1
    .endr
    .endm

    .globl context_save
context_save:
    context sd
    li      a0, 0
    ret

    .globl context_jump
context_jump:
    context ld
    mv      a0, a1
    ret

// enter(pc, arg, sp, mode bits for xPP, return address): leaves for another mode.
    .globl enter
enter:
    csrw    XEPC, a0
    li      t0, XPP
    csrc    XSTATUS, t0
    csrs    XSTATUS, a3
    mv      sp, a2
    mv      ra, a4
    mv      a0, a1
    XRET

// Where a function run in another mode returns to.
    .balign 4
    .globl run_landing
run_landing:
    li      a7, 0x52455455      // see rt.c
    ecall
