// Code written through another address than it runs at: two mappings of one frame, one to write, one to run;
// and a frame that is remapped keeps running what it holds.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define WRITE_VA 0x1000000000ul
#define RUN_VA 0x1400000000ul

static struct space space;

static u32 li_a0(u64 n) { return 0x00000513 | (u32)n << 20; }

static u64 write_and_run(u64 n) {
    volatile u32 *code = (volatile u32 *)(WRITE_VA + 0x100);
    code[0] = li_a0(n);
    code[1] = 0x00008067;
    fence_i();
    return ((u64(*)(void))(RUN_VA + 0x100))();
}

static u64 just_run(u64 va) { return ((u64(*)(void))va)(); }

void test(void) {
    u64 frame = (u64)page_new(), other = (u64)page_new();
    space = space_new(3);
    space_map(&space, WRITE_VA, frame, PTE_V | PTE_RW | PTE_AD, 0);
    space_map(&space, RUN_VA, frame, PTE_V | PTE_X | PTE_A, 0);
    space_use(&space, 0);
    for (u64 i = 0; i < 1000; i++) EXPECT(run(S, write_and_run, i & 0x7ff).result, i & 0x7ff);

    // By physical address from M-mode, and by a store that crosses into the frame from its neighbour.
    for (u64 i = 0; i < 1000; i++) {
        *(volatile u32 *)(frame + 0x100) = li_a0(i & 0x3ff);
        fence_i();
        EXPECT(run(S, just_run, RUN_VA + 0x100).result, i & 0x3ff);
    }

    // The run mapping moves to another frame and back.
    ((u32 *)other)[0x40] = li_a0(0x444);
    ((u32 *)other)[0x41] = 0x00008067;
    for (u64 i = 0; i < 200; i++) {
        u64 to = i & 1 ? frame : other;
        space_map(&space, RUN_VA, to, PTE_V | PTE_X | PTE_A, 0);
        asm volatile("sfence.vma %0, zero\n fence.i" ::"r"(RUN_VA) : "memory");
        EXPECT(run(S, just_run, RUN_VA + 0x100).result, i & 1 ? 999 & 0x3ff : 0x444);
    }
}
