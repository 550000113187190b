// Self-modification inside a straight run of code: a store to the next instruction, fence.i, and the new one runs;
// many times over the same place, and in a loop that patches its own body.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

// Stores `insn` over its own later instruction and runs it.
static u64 patch_ahead(u64 insn) {
    register u64 a0 asm("a0") = 0;
    asm volatile("lla t0, 1f\n sw %1, 0(t0)\n fence.i\n"
                 ".option push\n .option norvc\n .balign 4\n"
                 "1: nop\n .option pop" : "+r"(a0) : "r"(insn) : "t0", "memory");
    return a0;
}

// Each round of the loop adds the immediate that the round before wrote.
static u64 patching_loop(u64 rounds) {
    u64 sum = 0, insn = 0x00050513, at; // addi a0, a0, 0
    asm volatile("lla %0, patched" : "=r"(at));
    for (u64 i = 0; i < rounds; i++) {
        *(volatile u32 *)at = (u32)(insn | (i & 0x7ff) << 20);
        fence_i();
        register u64 a0 asm("a0") = sum;
        asm volatile(".option push\n .option norvc\n .balign 4\n .globl patched\n"
                     "patched: addi a0, a0, 0\n .option pop" : "+r"(a0)::"memory");
        sum = a0;
    }
    return sum;
}

void test(void) {
    for (u64 i = 0; i < 2000; i++) EXPECT(patch_ahead(0x00000513 | (i & 0x7ff) << 20), i & 0x7ff); // li a0, i
    u64 want = 0;
    for (u64 i = 0; i < 5000; i++) want += i & 0x7ff;
    EXPECT(patching_loop(5000), want);
}
