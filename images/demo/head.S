// Image header and the two ways in: the boot hart from the loader, the others from SBI HSM.
#include "hart.h"

// Header of a RISC-V Linux `Image` (Documentation/arch/riscv/boot-image-header), so that every loader that
// takes a Linux kernel takes this guest too. The image size counts .bss: nothing may be put there.
    .section .text.head, "ax"
    .globl _start
_start:
    .option push
    .option norvc
    j       boot
    nop
    .option pop
    .quad   0x200000            // text_offset: load address, from the start of RAM
    .quad   image_size
    .quad   0                   // flags: little-endian
    .word   2                   // header version 0.2
    .word   0
    .quad   0
    .ascii  "RISCV\0\0\0"
    .ascii  "RSC\x05"
    .word   0

// a0 = hart id, a1 = device tree; translation off, interrupts in any state.
boot:
    csrw    sie, zero
    csrci   sstatus, 2
    la      t0, image_loaded_end
    la      t1, image_end
1:  sd      zero, 0(t0)
    addi    t0, t0, 8
    bltu    t0, t1, 1b
    la      tp, harts           // the boot hart takes slot 0
    la      sp, hart_stacks + HART_STACK
    sd      sp, HART_SP(tp)
    sd      a0, HART_ID(tp)
    la      t0, trap_vector
    csrw    stvec, t0
    csrw    sscratch, zero
    mv      a0, a1
    call    demo_main
    // demo_main does not return.
1:  wfi
    j       1b

// A hart started by HSM: a0 = hart id, a1 = its struct hart.
    .globl secondary_start
secondary_start:
    csrw    sie, zero
    mv      tp, a1
    ld      sp, HART_SP(tp)
    la      t0, trap_vector
    csrw    stvec, t0
    csrw    sscratch, zero
    call    secondary_main
1:  wfi
    j       1b
