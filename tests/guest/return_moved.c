// A call whose return address comes to mean something else while it runs: its page is mapped anew, the address space
// is switched, the code behind the call is written anew. The return goes to what is there then.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul
#define ROUNDS 300
#define RESULT 3 // index of the instruction behind the call

enum way { STAY, MAP, MAP_FENCE_ALL, SWITCH, WRITE, WAYS };

static struct space spaces[2];
static u32 *frames[2];
static u64 mapped[2], space;
static enum way way;
static u32 numbers[2] = {10, 11};

static u32 li_a0(u32 n) { return 0x00000513 | n << 20; }

static void leave(void) {
    u64 other = !mapped[space];
    switch (way) {
    case MAP:
    case MAP_FENCE_ALL:
        *space_entry(&spaces[space], VA, 0) = pte((u64)frames[other], PTE_LEAF);
        mapped[space] = other;
        if (way == MAP) asm volatile("sfence.vma %0, zero" ::"r"(VA) : "memory");
        else asm volatile("sfence.vma" ::: "memory");
        break;
    case SWITCH:
        space = !space;
        csr_write(satp, space_satp(&spaces[space], space + 1));
        break;
    case WRITE:
        numbers[mapped[space]] = (numbers[mapped[space]] + 2) & 0x7ff;
        frames[mapped[space]][RESULT] = li_a0(numbers[mapped[space]]);
        fence_i();
        break;
    default: break;
    }
}

static u64 call(u64 va) { return ((u64(*)(void (*)(void)))va)(leave); }

void test(void) {
    for (u64 i = 0; i < 2; i++) {
        u32 *code = frames[i] = page_new();
        code[0] = 0xff010113; // addi sp, sp, -16
        code[1] = 0x00113423; // sd ra, 8(sp)
        code[2] = 0x000500e7; // jalr ra, 0(a0)
        code[RESULT] = li_a0(numbers[i]);
        code[4] = 0x00813083; // ld ra, 8(sp)
        code[5] = 0x01010113; // addi sp, sp, 16
        code[6] = 0x00008067; // ret
    }
    for (u64 i = 0; i < 2; i++) {
        spaces[i] = space_new(3);
        space_map(&spaces[i], VA, (u64)frames[i], PTE_LEAF, 0);
        mapped[i] = i;
    }
    sfence();
    fence_i();
    csr_write(satp, space_satp(&spaces[0], 1));
    for (u64 i = 0; i < WAYS * ROUNDS; i++) {
        // For long the same way, then by turns.
        way = i < WAYS * ROUNDS / 2 ? i / (ROUNDS / 2) : random() % WAYS;
        u64 result = run(S, call, VA).result;
        EXPECT(result, numbers[mapped[space]]);
    }
}
