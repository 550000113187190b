// A and D bits, in the table's own way (Svade: a fault where a bit is missing) and by the hart (Svadu: it sets
// them), as menvcfg.ADUE says; fetches and loads never set D.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul

static struct space space;
static u64 *entry, frame;

static u64 load(u64 va) { return *(volatile u64 *)va; }
static u64 store(u64 va) { return *(volatile u64 *)va = 1; }
static u64 amo(u64 va) { return __atomic_fetch_add((u64 *)va, 0, __ATOMIC_RELAXED); }
static u64 store_conditional(u64 va) {
    u64 failed;
    asm volatile("sc.d %0, zero, (%1)" : "=r"(failed) : "r"(va) : "memory");
    return failed;
}

static u64 access(u64 flags, u64 (*f)(u64), u64 expected_cause) {
    *entry = pte(frame, PTE_V | PTE_RWX | flags);
    sfence();
    EXPECT(run(S, f, VA).cause, expected_cause);
    return *entry & PTE_AD;
}

static u64 fetch(u64 flags, u64 expected_cause) {
    *entry = pte(frame, PTE_V | PTE_RWX | flags);
    sfence();
    EXPECT(run_at(S, VA + 64, 0).cause, expected_cause);
    return *entry & PTE_AD;
}

static void software_sets_them(void) {
    csr_clear(CSR_MENVCFG, MENVCFG_ADUE);
    EXPECT(access(0, load, LOAD_PAGE), 0);
    EXPECT(access(PTE_D, load, LOAD_PAGE), PTE_D);
    EXPECT(access(PTE_A, load, RETURNED), PTE_A);
    EXPECT(access(0, store, STORE_PAGE), 0);
    EXPECT(access(PTE_A, store, STORE_PAGE), PTE_A);
    EXPECT(access(PTE_AD, store, RETURNED), PTE_AD);
    EXPECT(access(PTE_A, amo, STORE_PAGE), PTE_A);
    EXPECT(fetch(0, FETCH_PAGE), 0);
    EXPECT(fetch(PTE_A, RETURNED), PTE_A);
}

static void the_hart_sets_them(void) {
    csr_set(CSR_MENVCFG, MENVCFG_ADUE);
    EXPECT(access(0, load, RETURNED), PTE_A);
    EXPECT(access(PTE_D, load, RETURNED), PTE_AD);
    EXPECT(access(0, store, RETURNED), PTE_AD);
    EXPECT(access(PTE_A, store, RETURNED), PTE_AD);
    EXPECT(access(0, amo, RETURNED), PTE_AD);
    EXPECT(fetch(0, RETURNED), PTE_A);
    // A load that was translated does not make a later store forget D.
    *entry = pte(frame, PTE_V | PTE_RWX);
    sfence();
    EXPECT(run(S, load, VA).cause, RETURNED);
    EXPECT(*entry & PTE_AD, PTE_A);
    EXPECT(run(S, store, VA).cause, RETURNED);
    EXPECT(*entry & PTE_AD, PTE_AD);
    // An access that is not permitted sets nothing.
    *entry = pte(frame, PTE_V | PTE_R);
    sfence();
    EXPECT(run(S, store, VA).cause, STORE_PAGE);
    EXPECT(*entry & PTE_D, 0);
}

void test(void) {
    space = space_new(3);
    space_use(&space, 0);
    frame = (u64)page_new();
    *(u32 *)(frame + 64) = 0x00008067; // ret
    fence_i();
    entry = space_entry(&space, VA, 0);
    software_sets_them();
    the_hart_sets_them();
    // A store-conditional without a reservation stores nothing, but may set D or fault: it must end.
    *entry = pte(frame, PTE_V | PTE_RWX | PTE_AD);
    sfence();
    EXPECT(run(S, store_conditional, VA).result, 1);
}
