// Page tables of the guest programs.
#include "paging.h"

#define POOL_PAGES 256
#define GIB (1ul << 30)

static u8 pool[POOL_PAGES][PAGE] __attribute__((aligned(4096)));
static u64 pool_used;

void *page_new(void) {
    EXPECT(pool_used < POOL_PAGES, 1);
    return memset(pool[pool_used++], 0, PAGE);
}

u64 *space_entry(struct space *s, u64 va, u64 level) {
    u64 *table = s->root;
    for (u64 at = s->levels - 1;; at--) {
        u64 *entry = &table[va >> (12 + 9 * at) & 511];
        if (at == level) return entry;
        if (!(*entry & PTE_V)) *entry = pte((u64)page_new(), PTE_V);
        table = (u64 *)(*entry >> 10 << 12);
    }
}

void space_map(struct space *s, u64 va, u64 pa, u64 flags, u64 level) { *space_entry(s, va, level) = pte(pa, flags); }

struct space space_new(u64 levels) {
    struct space s = {page_new(), levels};
    space_map(&s, 0, 0, PTE_V | PTE_RW | PTE_AD, 2);
    space_map(&s, RAM, RAM, PTE_LEAF, 2);
    space_map(&s, RAM + USER_ALIAS, RAM, PTE_LEAF | PTE_U, 2);
    user_alias = USER_ALIAS;
    return s;
}

u64 space_satp(const struct space *s, u64 asid) { return SATP_MODE(s->levels) | SATP_ASID(asid) | (u64)s->root >> 12; }

void space_use(const struct space *s, u64 asid) {
    csr_write(satp, space_satp(s, asid));
    sfence();
}

int space_supported(u64 levels) {
    u64 before = csr_swap(satp, SATP_MODE(levels));
    return csr_swap(satp, before) == SATP_MODE(levels);
}
