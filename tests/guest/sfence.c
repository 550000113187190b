// Every form of sfence.vma makes the new mapping visible to what it names: all, one address, one address space,
// an address in one; leaves of 4 KiB, 2 MiB and 1 GiB, by any address inside; after changes of level too.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul
#define ASID 5

static struct space space;
static u64 *frames[2];

static u64 load(u64 va) { return *(volatile u64 *)va; }

enum form { ALL, PAGE_ALL, ASID_ALL, PAGE_ASID };

static u64 fence_form(u64 form, u64 va) {
    switch (form) {
    case ALL: asm volatile("sfence.vma" ::: "memory"); break;
    case PAGE_ALL: asm volatile("sfence.vma %0, zero" ::"r"(va) : "memory"); break;
    case ASID_ALL: asm volatile("sfence.vma zero, %0" ::"r"((u64)ASID) : "memory"); break;
    default: asm volatile("sfence.vma %0, %1" ::"r"(va), "r"((u64)ASID) : "memory");
    }
    return 0;
}

// The first word of what VA + offset is mapped to.
static u64 seen(u64 offset) { return run(S, load, VA + offset).result; }

static void small_pages(void) {
    u64 *entry = space_entry(&space, VA, 0);
    for (u64 round = 0; round < 40; round++)
        for (enum form form = ALL; form <= PAGE_ASID; form++) {
            *entry = pte((u64)frames[round & 1], PTE_LEAF);
            fence_form(form, VA + (round * 8 & 0xff8));
            EXPECT(seen(0), frames[round & 1][0]);
        }
    *entry = 0;
    fence_form(PAGE_ASID, VA);
    EXPECT(run(S, load, VA).cause, LOAD_PAGE);
}

// A megapage replaced by small pages and back; the fence names an address in it that was never used.
static void level_changes(void) {
    u64 *entry = space_entry(&space, VA, 1);
    u64 *table = page_new();
    u64 offset = (u64)frames[0] & 0x1fffff;
    for (u64 i = 0; i < 512; i++) table[i] = pte((u64)frames[1], PTE_LEAF);
    for (u64 round = 0; round < 20; round++)
        for (enum form form = ALL; form <= PAGE_ASID; form++) {
            *entry = pte((u64)frames[0] & ~0x1ffffful, PTE_LEAF);
            fence_form(form, VA + offset);
            EXPECT(seen(offset), frames[0][0]);
            *entry = pte((u64)table, PTE_V);
            // What the large leaf covered is gone wherever the fence says "this address space"; by address the
            // hart may keep other parts, so it names the one that is read.
            fence_form(form, VA + offset);
            EXPECT(seen(offset), frames[1][0]);
        }
    *entry = 0;
    sfence();
}

static void gigapages(void) {
    u64 va = 0x2000000000, offset = (u64)frames[0] - RAM;
    u64 *entry = space_entry(&space, va, 2);
    for (enum form form = ALL; form <= PAGE_ASID; form++) {
        *entry = pte(RAM, PTE_LEAF);
        fence_form(form, va + offset);
        EXPECT(run(S, load, va + offset).result, frames[0][0]);
        *entry = 0;
        fence_form(form, va + offset);
        EXPECT(run(S, load, va + offset).cause, LOAD_PAGE);
    }
}

// Code: the new page's instructions run after the fence.
static void code_pages(void) {
    u64 *entry = space_entry(&space, VA, 0);
    for (u64 i = 0; i < 2; i++) {
        ((u32 *)frames[i])[0] = 0x00000513 | (u32)(i + 10) << 20; // li a0, 10 + i
        ((u32 *)frames[i])[1] = 0x00008067;                      // ret
    }
    fence_i();
    for (u64 round = 0; round < 40; round++)
        for (enum form form = ALL; form <= PAGE_ASID; form++) {
            *entry = pte((u64)frames[round & 1], PTE_LEAF);
            fence_form(form, VA);
            EXPECT(run_at(S, VA, 0).result, 10 + (round & 1));
        }
}

void test(void) {
    space = space_new(3);
    space_use(&space, ASID);
    for (u64 i = 0; i < 2; i++) {
        frames[i] = page_new();
        for (u64 at = 0; at < 512; at++) frames[i][at] = 0xabc0 + i;
    }
    small_pages();
    level_changes();
    gigapages();
    code_pages();
}
