// mstatus.MPRV: M-mode data accesses go by the mode in MPP and by satp, fetches do not; MPRV is dropped when
// mret leaves M-mode.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul

static struct space space;

// Loads with MPRV set and the mode in MPP; the runtime's stack is not touched meanwhile.
static u64 load_as(u64 mode) {
    u64 value;
    csr_clear(mstatus, MSTATUS_MPP);
    csr_set(mstatus, mode << 11);
    asm volatile("csrs mstatus, %1\n ld %0, 0(%2)\n csrc mstatus, %1"
                 : "=&r"(value) : "r"(MSTATUS_MPRV), "r"(VA) : "memory");
    return value;
}

static struct trap attempt(enum mode mode) {
    struct trap t = run(M, load_as, mode);
    csr_clear(mstatus, MSTATUS_MPRV);
    return t;
}

static u64 nothing(u64 arg) { return arg; }

void test(void) {
    u64 frame = (u64)page_new();
    space = space_new(3);
    *(u64 *)frame = 0x77;
    space_map(&space, VA, frame, PTE_LEAF, 0);
    space_use(&space, 0);

    EXPECT(attempt(S).result, 0x77);
    EXPECT(attempt(U).cause, LOAD_PAGE);
    EXPECT(attempt(M).cause, LOAD_ACCESS); // no translation: there is no such physical address
    space_map(&space, VA, frame, PTE_LEAF | PTE_U, 0);
    sfence();
    EXPECT(attempt(U).result, 0x77);
    EXPECT(attempt(S).cause, LOAD_PAGE);
    csr_set(mstatus, MSTATUS_SUM);
    EXPECT(attempt(S).result, 0x77);
    csr_clear(mstatus, MSTATUS_SUM);
    space_map(&space, VA, frame, PTE_V | PTE_X | PTE_AD, 0);
    sfence();
    EXPECT(attempt(S).cause, LOAD_PAGE);
    csr_set(mstatus, MSTATUS_MXR);
    EXPECT(attempt(S).result, 0x77);
    csr_clear(mstatus, MSTATUS_MXR);

    // mret to S-mode clears MPRV; a trap from there does not bring it back.
    csr_write(satp, 0);
    user_alias = 0;
    csr_clear(mstatus, MSTATUS_MPP);
    csr_set(mstatus, (u64)S << 11);
    csr_set(mstatus, MSTATUS_MPRV);
    EXPECT(run(S, nothing, 3).result, 3);
    EXPECT(csr_read(mstatus) & MSTATUS_MPRV, 0);
}
