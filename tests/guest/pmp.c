// Physical memory protection: NA4, NAPOT and TOR ranges, order of entries, locks that bind M-mode, accesses that
// an entry covers in part, MPRV, and page-table walks that PMP stops.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

enum { R = 1, W = 2, X = 4, TOR = 1 << 3, NA4 = 2 << 3, NAPOT = 3 << 3, LOCK = 1 << 7 };

static u8 area[4 * PAGE] __attribute__((aligned(16384)));

static u64 load(u64 p) { return *(volatile u64 *)p; }
static u64 load32(u64 p) { return *(volatile u32 *)p; }
static u64 store(u64 p) { return *(volatile u64 *)p = 1; }

static u64 napot(u64 base, u64 size) { return (base | (size / 2 - 1)) >> 2; }

static void set_cfg(u64 n, u64 cfg) {
    csr_clear(pmpcfg0, 0xfful << 8 * n);
    csr_set(pmpcfg0, cfg << 8 * n);
    sfence();
}

static void permissions_by_mode(void) {
    csr_write(pmpaddr0, napot((u64)area, PAGE));
    for (u64 bits = 0; bits < 8; bits++) {
        if ((bits & (R | W)) == W) continue; // reserved
        ((u32 *)area)[0] = 0x00008067;       // ret
        fence_i();
        set_cfg(0, NAPOT | bits);
        for (enum mode mode = U; mode <= S; mode++) {
            EXPECT(run(mode, load, (u64)area + 8).cause, bits & R ? RETURNED : LOAD_ACCESS);
            EXPECT(run(mode, store, (u64)area + 8).cause, bits & W ? RETURNED : STORE_ACCESS);
            EXPECT(run_at(mode, (u64)area, 0).cause, bits & X ? RETURNED : FETCH_ACCESS);
            EXPECT(run(mode, load, (u64)area + PAGE).cause, RETURNED); // beyond it: entry 15
        }
        EXPECT(run(M, store, (u64)area + 8).cause, RETURNED); // not locked
    }
}

static void small_and_mixed_ranges(void) {
    u64 at = (u64)area + 0x100;
    csr_write(pmpaddr0, at >> 2);
    set_cfg(0, NA4);
    EXPECT(run(S, load32, at).cause, LOAD_ACCESS);
    EXPECT(run(S, load32, at + 4).cause, RETURNED);
    EXPECT(run(S, load32, at - 4).cause, RETURNED);
    EXPECT_TRAP(run(S, load, at), LOAD_ACCESS, run(S, load, at).pc, at); // matches in part: fails
    EXPECT(run(S, load, at + 8).cause, RETURNED);
    // TOR: [pmpaddr0, pmpaddr1), entry 0 itself off.
    set_cfg(0, 0);
    csr_write(pmpaddr0, at >> 2);
    csr_write(pmpaddr1, (at + 64) >> 2);
    set_cfg(1, TOR | R);
    EXPECT(run(S, store, at - 8).cause, RETURNED);
    EXPECT(run(S, store, at).cause, STORE_ACCESS);
    EXPECT(run(S, load, at).cause, RETURNED);
    EXPECT(run(S, store, at + 56).cause, STORE_ACCESS);
    EXPECT(run(S, store, at + 64).cause, RETURNED);
    // The lower entry wins.
    csr_write(pmpaddr0, napot((u64)area, PAGE));
    set_cfg(0, NAPOT | R | W);
    EXPECT(run(S, store, at).cause, RETURNED);
    set_cfg(0, 0);
    set_cfg(1, 0);
    // A TOR range upside down matches nothing.
    csr_write(pmpaddr0, (at + 64) >> 2);
    csr_write(pmpaddr1, at >> 2);
    set_cfg(1, TOR);
    EXPECT(run(S, store, at).cause, RETURNED);
    set_cfg(1, 0);
}

static u64 load_as_user(u64 p) {
    u64 v;
    csr_clear(mstatus, MSTATUS_MPP);
    asm volatile("csrs mstatus, %1\n ld %0, 0(%2)\n csrc mstatus, %1"
                 : "=&r"(v) : "r"(MSTATUS_MPRV), "r"(p) : "memory");
    return v;
}

static void mprv_is_checked(void) {
    csr_write(pmpaddr0, napot((u64)area, PAGE));
    set_cfg(0, NAPOT);
    EXPECT(run(M, load_as_user, (u64)area).cause, LOAD_ACCESS);
    csr_clear(mstatus, MSTATUS_MPRV);
    set_cfg(0, 0);
}

// A walk that reads a table in a closed page, or must write A into one that is read-only, is an access fault of
// the kind of the access that caused it.
static void walks_are_checked(void) {
    struct space space = space_new(3);
    u64 va = 0x1000000000, frame = (u64)page_new();
    u64 *entry = space_entry(&space, va, 0);
    *entry = pte(frame, PTE_LEAF);
    space_use(&space, 0);
    EXPECT(run(S, load, va).cause, RETURNED);
    csr_write(pmpaddr0, napot((u64)entry & ~(PAGE - 1), PAGE));
    set_cfg(0, NAPOT);
    EXPECT_TRAP(run(S, load, va), LOAD_ACCESS, run(S, load, va).pc, va);
    EXPECT(run(S, store, va).cause, STORE_ACCESS);
    EXPECT_TRAP(run_at(S, va, 0), FETCH_ACCESS, va, va);
    // The page that is reached is checked too.
    csr_write(pmpaddr0, napot(frame, PAGE));
    set_cfg(0, NAPOT | R);
    EXPECT(run(S, load, va).cause, RETURNED);
    EXPECT_TRAP(run(S, store, va), STORE_ACCESS, run(S, store, va).pc, va);
    set_cfg(0, 0);
    csr_write(satp, 0);
    user_alias = 0;
    sfence();
}

// Last: a lock stays until reset.
static void locks_bind_m_mode(void) {
    csr_write(pmpaddr3, napot((u64)area + 2 * PAGE, PAGE));
    set_cfg(3, NAPOT | LOCK | R);
    EXPECT(run(M, load, (u64)area + 2 * PAGE).cause, RETURNED);
    EXPECT(run(M, store, (u64)area + 2 * PAGE).cause, STORE_ACCESS);
    EXPECT(run(M, store, (u64)area + 3 * PAGE).cause, RETURNED);
    u64 cfg = csr_read(pmpcfg0), addr = csr_read(pmpaddr3);
    csr_write(pmpcfg0, 0);
    csr_write(pmpaddr3, 0);
    EXPECT(csr_read(pmpcfg0) >> 24 & 0xff, cfg >> 24 & 0xff);
    EXPECT(csr_read(pmpaddr3), addr);
    EXPECT(run(M, store, (u64)area + 2 * PAGE).cause, STORE_ACCESS);
}

void test(void) {
    permissions_by_mode();
    small_and_mixed_ranges();
    mprv_is_checked();
    walks_are_checked();
    locks_bind_m_mode();
}
