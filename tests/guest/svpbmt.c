// Svpbmt: memory types are taken where menvcfg.PBMTE allows them and are a page fault otherwise; the reserved type
// always is.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: no: it takes the reserved memory type
#include "runtime/paging.h"

#define VA 0x1000000000ul

static u64 load(u64 va) { return *(volatile u64 *)va; }

void test(void) {
    struct space space = space_new(3);
    u64 frame = (u64)page_new();
    space_use(&space, 0);
    for (u64 type = 0; type < 4; type++)
        for (u64 enabled = 0; enabled < 2; enabled++) {
            if (enabled)
                csr_set(CSR_MENVCFG, MENVCFG_PBMTE);
            else
                csr_clear(CSR_MENVCFG, MENVCFG_PBMTE);
            space_map(&space, VA, frame, PTE_LEAF | type << 61, 0);
            sfence();
            EXPECT(run(S, load, VA).cause, type == 0 || (enabled && type != 3) ? RETURNED : LOAD_PAGE);
        }
    // A table pointer has no memory type.
    csr_set(CSR_MENVCFG, MENVCFG_PBMTE);
    space_map(&space, VA, frame, PTE_LEAF, 0);
    *space_entry(&space, VA, 1) |= 1ul << 61;
    sfence();
    EXPECT(run(S, load, VA).cause, LOAD_PAGE);
}
