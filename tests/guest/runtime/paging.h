// Page tables for M-mode programs that run S- and U-mode code under translation.
#pragma once
#include "rt.h"

#define PTE_V BIT(0)
#define PTE_R BIT(1)
#define PTE_W BIT(2)
#define PTE_X BIT(3)
#define PTE_U BIT(4)
#define PTE_G BIT(5)
#define PTE_A BIT(6)
#define PTE_D BIT(7)
#define PTE_N BIT(63)
#define PTE_RWX (PTE_R | PTE_W | PTE_X)
#define PTE_RW (PTE_R | PTE_W)
#define PTE_AD (PTE_A | PTE_D)
#define PTE_LEAF (PTE_V | PTE_RWX | PTE_AD)

// satp.MODE of a scheme with so many levels.
#define SATP_MODE(levels) ((u64)((levels) + 5) << 60)
#define SATP_ASID(asid) ((u64)(asid) << 44)

// An address space of 3, 4 or 5 levels (Sv39, Sv48, Sv57).
struct space {
    u64 *root;
    u64 levels;
};

// A space in which RAM is where it is, for S-mode, and once more USER_ALIAS higher, for U-mode; the devices below
// 1 GiB are where they are, for S-mode. `run` finds U-mode code by the alias from then on.
#define USER_ALIAS 0x100000000ul
struct space space_new(u64 levels);
// Where `va` is mapped by an entry of `level` (0: 4 KiB); makes the tables above it.
u64 *space_entry(struct space *s, u64 va, u64 level);
// Maps it.
void space_map(struct space *s, u64 va, u64 pa, u64 flags, u64 level);
u64 space_satp(const struct space *s, u64 asid);
// Sets satp and drops old translations.
void space_use(const struct space *s, u64 asid);
// Whether the hart has the scheme.
int space_supported(u64 levels);

static inline u64 pte(u64 pa, u64 flags) { return pa >> 12 << 10 | flags; }
static inline u64 level_size(u64 level) { return PAGE << 9 * level; }
// A zeroed page.
void *page_new(void);
