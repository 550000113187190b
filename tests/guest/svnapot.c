// Svnapot: sixteen entries that say 64 KiB map it whole; another order is a page fault. Svinval: its fences do
// what sfence.vma does.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: -cpu rv64,svnapot=on,svinval=on
#include "runtime/paging.h"

#define VA 0x1000000000ul
#define NAPOT_64K (64ul << 10)

static u8 block[NAPOT_64K] __attribute__((aligned(65536)));
static struct space space;

static u64 load(u64 va) { return *(volatile u64 *)va; }

static void sinval(u64 va) {
    asm volatile(".insn r 0x73, 0, 0x0c, x0, x0, x0\n"  // sfence.w.inval
                 ".insn r 0x73, 0, 0x0b, x0, %0, x0\n"  // sinval.vma va
                 ".insn r 0x73, 0, 0x0c, x0, x0, x1"    // sfence.inval.ir
                 ::"r"(va) : "memory");
}

static void map_block(u64 order_bits) {
    for (u64 i = 0; i < 16; i++)
        *space_entry(&space, VA + i * PAGE, 0) = PTE_LEAF | PTE_N | ((u64)block >> 12 | order_bits) << 10;
    sfence();
}

static void naturally_aligned_powers(void) {
    for (u64 i = 0; i < NAPOT_64K / 8; i++) ((u64 *)block)[i] = i;
    map_block(8);
    for (u64 offset = 0; offset < NAPOT_64K; offset += 1016) EXPECT(run(S, load, VA + offset).result, offset / 8);
    EXPECT(run(S, load, VA + NAPOT_64K).cause, LOAD_PAGE);
    for (u64 bits = 0; bits < 16; bits++) {
        if (bits == 8) continue;
        map_block(bits);
        EXPECT(run(S, load, VA).cause, LOAD_PAGE);
    }
}

static void fences(void) {
    for (u64 round = 0; round < 50; round++) {
        space_map(&space, VA, (u64)block + (round & 1) * PAGE, PTE_LEAF, 0);
        sinval(VA);
        EXPECT(run(S, load, VA).result, (round & 1) * PAGE / 8);
    }
}

void test(void) {
    space = space_new(3);
    space_use(&space, 0);
    naturally_aligned_powers();
    fences();
}
