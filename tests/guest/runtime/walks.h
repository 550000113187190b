// Walks of one scheme, in all its levels: the same checks for Sv39, Sv48 and Sv57.
#pragma once
#include "paging.h"

// A range of the address space with nothing in it: one root entry of its own in every scheme.
#define ROOM 0x1000000000ul

static struct space walk_space;

static u64 load64(u64 va) { return *(volatile u64 *)va; }
static u64 store64(u64 va) { return *(volatile u64 *)va = 0x5151515151515151; }
// Instructions at ROOM: `li a0, 77; ret`.
static const u32 code[] = {0x04d00513, 0x00008067};

static struct trap in(enum mode mode, u64 (*f)(u64), u64 va) {
    sfence();
    return run(mode, f, va);
}

static void expect_faults(enum mode mode, u64 va) {
    EXPECT_TRAP(in(mode, load64, va), LOAD_PAGE, in(mode, load64, va).pc, va);
    EXPECT_TRAP(in(mode, store64, va), STORE_PAGE, in(mode, store64, va).pc, va);
    sfence();
    EXPECT_TRAP(run_at(mode, mode == U ? va - user_alias : va, 0), FETCH_PAGE, va, va);
}

// One leaf of every size, read, written and executed at its first and last words.
static void leaves_of_all_sizes(u64 levels) {
    for (u64 level = 0; level < levels; level++) {
        u64 size = level_size(level), va = ROOM & ~(size - 1);
        if (va == 0) va = size;             // the room is smaller than such a leaf
        if (level == levels - 1) va = 3 * size;
        u64 at = level >= 2 ? RAM : 0, pa = at & ~(size - 1);
        u8 *frame = page_new();
        if (!at) pa = (u64)frame & ~(size - 1);
        u64 inside = (u64)frame - pa;
        if (inside >= size) continue;
        *(u64 *)frame = 0x1122334455667788 + level;
        u64 *entry = space_entry(&walk_space, va, level), before = *entry;
        *entry = pte(pa, PTE_LEAF);
        EXPECT(in(S, load64, va + inside).result, 0x1122334455667788 + level);
        EXPECT(in(S, store64, va + inside + PAGE - 8).cause, RETURNED);
        EXPECT(*(u64 *)(frame + PAGE - 8), 0x5151515151515151);
        memcpy(frame, code, sizeof code);
        fence_i();
        EXPECT(run_at(S, va + inside, 0).result, 77);
        *entry = before;
        sfence();
    }
}

// A leaf above level 0 must be aligned to its size.
static void misaligned_superpages_fault(u64 levels) {
    for (u64 level = 1; level < levels; level++) {
        u64 va = level == levels - 1 ? 3 * level_size(level) : ROOM & ~(level_size(level) - 1);
        if (va == 0) va = level_size(level);
        u64 *entry = space_entry(&walk_space, va, level), before = *entry;
        *entry = pte(level_size(level - 1), PTE_LEAF);
        expect_faults(S, va);
        *entry = before;
    }
}

static void entries_that_fault(void) {
    u64 frame = (u64)page_new();
    static const u64 bad[] = {
        0,                                   // not valid
        PTE_V | PTE_W | PTE_AD,              // write without read is reserved
        PTE_V | PTE_W | PTE_X | PTE_AD,
        PTE_V,                               // a pointer at level 0
        PTE_LEAF | 1ul << 54,                // reserved bits
        PTE_LEAF | 1ul << 60,
        PTE_LEAF | PTE_N,                    // Svnapot with an order there is not
    };
    for (u64 i = 0; i < LENGTH(bad); i++) {
        space_map(&walk_space, ROOM, frame, bad[i], 0);
        expect_faults(S, ROOM);
    }
    // A pointer must not carry A, D or U.
    u64 *upper = space_entry(&walk_space, ROOM, 1), before = *upper;
    space_map(&walk_space, ROOM, frame, PTE_LEAF, 0);
    EXPECT(in(S, load64, ROOM).cause, RETURNED);
    for (u64 bit = PTE_U; bit <= PTE_D; bit <<= 1) {
        if (bit == PTE_G) continue;
        *upper = before | bit;
        expect_faults(S, ROOM);
    }
    *upper = before;
}

static void permissions(void) {
    u64 frame = (u64)page_new();
    memcpy((void *)frame, code, sizeof code);
    fence_i();
    for (u64 bits = 0; bits < 16; bits++) {
        u64 flags = PTE_V | PTE_AD | bits << 1, user = flags & PTE_U;
        if (!(flags & PTE_RWX) || (flags & PTE_RW) == PTE_W) continue;
        space_map(&walk_space, ROOM, frame, flags, 0);
        for (enum mode mode = U; mode <= S; mode++) {
            int reachable = (mode == U) == (user != 0);
            u64 at = mode == U ? ROOM - user_alias : ROOM;
            memcpy((void *)frame, code, sizeof code);
            EXPECT(in(mode, load64, ROOM).cause, reachable && flags & PTE_R ? RETURNED : LOAD_PAGE);
            EXPECT(in(mode, store64, ROOM + 64).cause, reachable && flags & PTE_W ? RETURNED : STORE_PAGE);
            EXPECT(run_at(mode, at, 0).cause, reachable && flags & PTE_X ? RETURNED : FETCH_PAGE);
        }
        // SUM opens user data, but not user code, to S-mode; MXR lets it read what may only be executed.
        csr_set(mstatus, MSTATUS_SUM);
        EXPECT(in(S, load64, ROOM).cause, flags & PTE_R ? RETURNED : LOAD_PAGE);
        EXPECT(in(S, store64, ROOM + 64).cause, flags & PTE_W ? RETURNED : STORE_PAGE);
        EXPECT(run_at(S, ROOM, 0).cause, !user && flags & PTE_X ? RETURNED : FETCH_PAGE);
        csr_set(mstatus, MSTATUS_MXR);
        EXPECT(in(S, load64, ROOM).cause, flags & (PTE_R | PTE_X) ? RETURNED : LOAD_PAGE);
        csr_clear(mstatus, MSTATUS_SUM);
        EXPECT(in(U, load64, ROOM).cause, user && flags & (PTE_R | PTE_X) ? RETURNED : LOAD_PAGE);
        csr_clear(mstatus, MSTATUS_MXR);
    }
}

// The bits above the scheme's width repeat its sign bit.
static void non_canonical_addresses_fault(u64 levels) {
    u64 width = 12 + 9 * levels, lowest_high = ~0ul << (width - 1);
    space_map(&walk_space, lowest_high, (u64)page_new(), PTE_LEAF, 0);
    EXPECT(in(S, load64, lowest_high).cause, RETURNED);
    expect_faults(S, lowest_high & ~(1ul << 63));
    expect_faults(S, lowest_high ^ 1ul << width);
    expect_faults(S, 1ul << (width - 1));
}

static void check_walks(u64 levels) {
    EXPECT(space_supported(levels), 1);
    csr_clear(CSR_MENVCFG, MENVCFG_ADUE);
    walk_space = space_new(levels);
    space_use(&walk_space, 0);
    leaves_of_all_sizes(levels);
    misaligned_superpages_fault(levels);
    entries_that_fault();
    permissions();
    non_canonical_addresses_fault(levels);
}
