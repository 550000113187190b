// Misaligned loads and stores: inside a page, across pages that lie apart in memory, and into a page that
// faults. A store that crosses into a faulting page stores nothing; xtval names the part that faulted.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul // three pages; the middle of the accesses is VA + PAGE

static struct space space;
static u8 *first, *second;

#define ACCESS(width, type, load_insn, store_insn)                                                           \
    static u64 load##width(u64 va) {                                                                         \
        u64 v;                                                                                               \
        asm volatile(load_insn " %0, 0(%1)" : "=r"(v) : "r"(va) : "memory");                                 \
        return v;                                                                                            \
    }                                                                                                        \
    static u64 store##width(u64 va) {                                                                        \
        asm volatile(store_insn " %0, 0(%1)" ::"r"(0xf1e2d3c4b5a69788), "r"(va) : "memory");                 \
        return 0;                                                                                            \
    }
ACCESS(2, u16, "lhu", "sh")
ACCESS(4, u32, "lwu", "sw")
ACCESS(8, u64, "ld", "sd")

static const struct {
    u64 bytes;
    u64 (*load)(u64), (*store)(u64);
} accesses[] = {{2, load2, store2}, {4, load4, store4}, {8, load8, store8}};

// Byte `i` of the three virtual pages' middle, seen through the physical frames.
static u8 *byte_at(u64 va) { return va < VA + PAGE ? &first[va - VA] : &second[va - VA - PAGE]; }

static void fill(void) {
    for (u64 i = 0; i < PAGE; i++) first[i] = (u8)(i * 7 + 1), second[i] = (u8)(i * 13 + 5);
}

static u64 bytes_at(u64 va, u64 count) {
    u64 v = 0;
    for (u64 i = 0; i < count; i++) v |= (u64)*byte_at(va + i) << 8 * i;
    return v;
}

static void both_pages_there(enum mode mode) {
    for (u64 a = 0; a < LENGTH(accesses); a++)
        for (u64 va = VA + PAGE - 9; va <= VA + PAGE + 9; va++) {
            u64 n = accesses[a].bytes, mask = n == 8 ? ~0ul : (1ul << 8 * n) - 1;
            fill();
            EXPECT(run(mode, accesses[a].load, va).result, bytes_at(va, n));
            u64 before = bytes_at(va - 8, 8), after = bytes_at(va + n, 8);
            EXPECT(run(mode, accesses[a].store, va).cause, RETURNED);
            EXPECT(bytes_at(va, n), 0xf1e2d3c4b5a69788 & mask);
            EXPECT(bytes_at(va - 8, 8), before);
            EXPECT(bytes_at(va + n, 8), after);
        }
}

// `missing` is the page without permission: VA or VA + PAGE.
static void one_page_faults(u64 missing, u64 load_cause, u64 store_cause) {
    for (u64 a = 0; a < LENGTH(accesses); a++)
        for (u64 back = 1; back < accesses[a].bytes; back++) {
            u64 va = VA + PAGE - back, at = missing == VA ? va : missing;
            fill();
            u64 before = bytes_at(va, 8);
            struct trap load = run(S, accesses[a].load, va), store = run(S, accesses[a].store, va);
            EXPECT(load.cause, load_cause);
            if (load_cause != RETURNED) EXPECT(load.value, at);
            EXPECT(store.cause, store_cause);
            EXPECT(store.value, at);
            EXPECT(bytes_at(va, 8), before);
        }
}

static void map(u64 first_flags, u64 second_flags) {
    space_map(&space, VA, (u64)first, first_flags, 0);
    space_map(&space, VA + PAGE, (u64)second, second_flags, 0);
    sfence();
}

void test(void) {
    csr_clear(CSR_MENVCFG, MENVCFG_ADUE);
    space = space_new(3);
    // The frames lie in the other order than the pages, and not side by side.
    second = page_new();
    page_new();
    first = page_new();
    space_use(&space, 0);
    map(PTE_LEAF, PTE_LEAF);
    both_pages_there(S);
    map(PTE_LEAF | PTE_U, PTE_LEAF | PTE_U);
    both_pages_there(U);
    map(PTE_LEAF, 0);
    one_page_faults(VA + PAGE, LOAD_PAGE, STORE_PAGE);
    map(0, PTE_LEAF);
    one_page_faults(VA, LOAD_PAGE, STORE_PAGE);
    map(PTE_LEAF, PTE_V | PTE_R | PTE_A);
    one_page_faults(VA + PAGE, RETURNED, STORE_PAGE);
    map(PTE_V | PTE_R | PTE_A, PTE_LEAF);
    one_page_faults(VA, RETURNED, STORE_PAGE);
    // Mapped, but to where no memory is: an access fault.
    space_map(&space, VA + PAGE, NOWHERE, PTE_LEAF, 0);
    space_map(&space, VA, (u64)first, PTE_LEAF, 0);
    sfence();
    EXPECT(run(S, load8, VA + PAGE - 4).cause, LOAD_ACCESS);
    EXPECT(run(S, store8, VA + PAGE - 4).cause, STORE_ACCESS);
}
