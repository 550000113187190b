// Programs that run in U-mode, each alone in a hart: position-independent, a0 = number of rounds.
// They end by an ecall with a7 = 1.

    .section .user, "ax"
    .macro program name
    .balign 64
    .globl  \name
\name:
    .endm
    .macro end_program
    li      a7, 1
    ecall
    .endm

// One null system call a round.
program user_ecalls
    li      a7, 0
1:  ecall
    addi    a0, a0, -1
    bnez    a0, 1b
    end_program

// Touches a0 pages of the window, each of which faults once.
program user_touches
    li      t0, 0x2000400000
    li      t1, 4096
1:  lb      t2, 0(t0)
    add     t0, t0, t1
    addi    a0, a0, -1
    bnez    a0, 1b
    end_program
