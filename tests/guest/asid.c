// Address spaces tagged by ASID: switching satp between them needs no fence and never mixes them up, for data,
// code and permissions; fences by ASID leave the others right; global pages are in all.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul
#define GLOBAL_VA 0x1400000000ul
#define SPACES 6
#define ROUNDS 200

static struct space spaces[SPACES];
static u64 *frames[SPACES];

static u64 load(u64 va) { return *(volatile u64 *)(va + 64); }
static u64 store(u64 va) { return *(volatile u64 *)(va + 128) = 1; }

static void enter_space(u64 i) { csr_write(satp, space_satp(&spaces[i], i + 1)); }

static void make(u64 i) {
    spaces[i] = space_new(3);
    frames[i] = page_new();
    ((u32 *)frames[i])[0] = 0x00000513 | (u32)(i + 10) << 20; // li a0, 10 + i
    ((u32 *)frames[i])[1] = 0x00008067;
    frames[i][8] = 100 + i;
    // Odd spaces may not write.
    space_map(&spaces[i], VA, (u64)frames[i], i & 1 ? PTE_LEAF & ~PTE_W : PTE_LEAF, 0);
    space_map(&spaces[i], GLOBAL_VA, (u64)frames[0], PTE_LEAF | PTE_G, 0);
}

static void check(u64 i) {
    EXPECT(run(S, load, VA).result, frames[i][8]);
    EXPECT(run_at(S, VA, 0).result, 10 + i);
    EXPECT(run(S, store, VA).cause, i & 1 ? STORE_PAGE : RETURNED);
    EXPECT(run(S, load, GLOBAL_VA).result, frames[0][8]);
}

void test(void) {
    for (u64 i = 0; i < SPACES; i++) make(i);
    fence_i();
    sfence();
    for (u64 round = 0; round < ROUNDS; round++) {
        u64 i = random() % SPACES;
        enter_space(i);
        check(i);
    }
    // A new frame for one space, and a fence for it alone.
    for (u64 round = 0; round < ROUNDS; round++) {
        u64 i = 1 + random() % (SPACES - 1), other = random() % SPACES;
        frames[i][8] = 1000 + round;
        u64 *entry = space_entry(&spaces[i], VA, 0);
        u64 kept = *entry;
        *entry = 0;
        asm volatile("sfence.vma %0, %1" ::"r"(VA), "r"(i + 1) : "memory");
        enter_space(i);
        EXPECT(run(S, load, VA).cause, LOAD_PAGE);
        *entry = kept;
        asm volatile("sfence.vma zero, %0" ::"r"(i + 1) : "memory");
        enter_space(other);
        check(other);
        enter_space(i);
        check(i);
    }
    // One root under two ASIDs, and two roots under one with a fence between.
    csr_write(satp, space_satp(&spaces[0], 40));
    check(0);
    csr_write(satp, space_satp(&spaces[2], 40));
    asm volatile("sfence.vma zero, %0" ::"r"(40ul) : "memory");
    check(2);
    // Translation off and on again.
    csr_write(satp, 0);
    user_alias = 0;
    EXPECT(run(S, load, (u64)frames[3]).result, frames[3][8]);
    enter_space(3);
    check(3);
}
