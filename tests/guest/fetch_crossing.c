// A four-byte instruction across a page boundary: it runs when both pages are there, wherever they lie; when the
// second is missing the trap's pc is the instruction and its value the second page; when the first is missing
// both are the instruction. Each half may be written anew. What has two bytes at a page's end needs no second one.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul
#define AT (VA + PAGE - 2)

static struct space space;

static void map(u64 page, u64 frame, u64 flags) {
    space_map(&space, VA + page * PAGE, frame, flags, 0);
    asm volatile("sfence.vma %0, zero" ::"r"(VA + page * PAGE) : "memory");
}

void test(void) {
    u8 *second = page_new(), *elsewhere = page_new(), *first = page_new();
    space = space_new(3);
    space_use(&space, 0);
    *(u16 *)(first + PAGE - 2) = 0x0513;  // low half of `li a0, n`
    *(u16 *)second = 0x07b0;              // n = 123
    *(u16 *)(second + 2) = 0x8082;        // ret
    *(u16 *)elsewhere = 0x0010;           // n = 1
    *(u16 *)(elsewhere + 2) = 0x8082;
    fence_i();

    for (u64 round = 0; round < 200; round++) {
        map(0, (u64)first, PTE_LEAF);
        map(1, (u64)second, PTE_LEAF);
        EXPECT(run_at(S, AT, 0).result, 123);
        map(1, (u64)elsewhere, PTE_LEAF);
        EXPECT(run_at(S, AT, 0).result, 1);
        map(1, 0, 0);
        EXPECT_TRAP(run_at(S, AT, 0), FETCH_PAGE, AT, AT + 2);
        map(1, (u64)second, PTE_LEAF & ~PTE_X);
        EXPECT_TRAP(run_at(S, AT, 0), FETCH_PAGE, AT, AT + 2);
        map(1, NOWHERE, PTE_LEAF); // mapped to where no memory is
        EXPECT_TRAP(run_at(S, AT, 0), FETCH_ACCESS, AT, AT + 2);
        map(0, 0, 0);
        map(1, (u64)second, PTE_LEAF);
        EXPECT_TRAP(run_at(S, AT, 0), FETCH_PAGE, AT, AT);
    }
    // Either half is written anew, by turns with the other, and what runs is what was written.
    map(0, (u64)first, PTE_LEAF);
    map(1, (u64)second, PTE_LEAF);
    for (u64 n = 0; n < 400; n++) {
        *(u16 *)second = (u16)(n << 4);
        fence_i();
        EXPECT(run_at(S, AT, 55).result, n);
        *(u16 *)(first + PAGE - 2) = 0x0593; // low half of `li a1, n`
        fence_i();
        EXPECT(run_at(S, AT, 55).result, 55);
        *(u16 *)(first + PAGE - 2) = 0x0513;
        fence_i();
        EXPECT(run_at(S, AT, 55).result, n);
    }
    // c.jr ra in the last two bytes.
    *(u16 *)(first + PAGE - 2) = 0x8082;
    fence_i();
    map(0, (u64)first, PTE_LEAF);
    map(1, 0, 0);
    EXPECT(run_at(S, AT, 55).result, 55);
    // A straight run that falls into the missing page stops exactly at its start.
    *(u16 *)(first + PAGE - 2) = 0x0505; // c.addi a0, 1
    fence_i();
    struct trap t = run_at(S, AT, 7);
    EXPECT_TRAP(t, FETCH_PAGE, VA + PAGE, VA + PAGE);
    EXPECT(t.result, 8);
}
