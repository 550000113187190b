// Cache-block operations: cbo.zero clears exactly its 64 bytes, the others change nothing that can be seen; each
// is open to lower modes as envcfg says, and all of them fault as stores do.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/paging.h"

#define VA 0x1000000000ul
#define BLOCK 64

// .insn i: opcode MISC-MEM, funct3 2, rd 0, rs1, imm.
#define CBO(name, imm)                                                                                       \
    static u64 name(u64 p) {                                                                                 \
        asm volatile(".insn i 0x0f, 2, x0, %0, " STRINGIFY(imm) ::"r"(p) : "memory");                        \
        return 0;                                                                                            \
    }
CBO(inval, 0)
CBO(clean, 1)
CBO(flush, 2)
CBO(zero, 4)

static struct space space;
static u8 *frame;

static void fill(void) { memset(frame, 0xa5, PAGE); }

static void zero_clears_a_block(void) {
    for (u64 at = 0; at < PAGE; at += 37) {
        fill();
        EXPECT(run(S, zero, VA + at).cause, RETURNED);
        u64 start = at & ~(BLOCK - 1ul);
        for (u64 i = 0; i < PAGE; i++) EXPECT(frame[i], i - start < BLOCK ? 0 : 0xa5);
    }
}

static void others_change_nothing(void) {
    static u64 (*const operations[])(u64) = {clean, flush, inval};
    fill();
    for (u64 i = 0; i < LENGTH(operations); i++) {
        EXPECT(run(S, operations[i], VA + 100).cause, RETURNED);
        for (u64 j = 0; j < PAGE; j++) EXPECT(frame[j], 0xa5);
    }
}

static void envcfg_decides(void) {
    csr_write(CSR_MENVCFG, 0);
    csr_write(CSR_SENVCFG, 0);
    EXPECT(run(S, zero, VA).cause, ILLEGAL);
    EXPECT(run(S, clean, VA).cause, ILLEGAL);
    EXPECT(run(S, flush, VA).cause, ILLEGAL);
    EXPECT(run(S, inval, VA).cause, ILLEGAL);
    EXPECT(run(M, zero, (u64)frame).cause, RETURNED);
    csr_write(CSR_MENVCFG, MENVCFG_CBZE);
    EXPECT(run(S, zero, VA).cause, RETURNED);
    EXPECT(run(S, clean, VA).cause, ILLEGAL);
    space_map(&space, VA, (u64)frame, PTE_LEAF | PTE_U, 0);
    sfence();
    EXPECT(run(U, zero, VA).cause, ILLEGAL);
    csr_write(CSR_SENVCFG, MENVCFG_CBZE);
    EXPECT(run(U, zero, VA).cause, RETURNED);
    EXPECT(run(U, flush, VA).cause, ILLEGAL);
    csr_write(CSR_MENVCFG, MENVCFG_CBZE | MENVCFG_CBCFE | MENVCFG_CBIE);
    csr_write(CSR_SENVCFG, MENVCFG_CBZE | MENVCFG_CBCFE | MENVCFG_CBIE);
    EXPECT(run(U, flush, VA).cause, RETURNED);
    EXPECT(run(U, inval, VA).cause, RETURNED);
}

static void faults(void) {
    space_map(&space, VA, (u64)frame, PTE_V | PTE_R | PTE_AD, 0);
    sfence();
    EXPECT(run(S, zero, VA + 8).cause, STORE_PAGE);
    EXPECT(run(S, clean, VA + 8).cause, RETURNED); // readable is enough
    space_map(&space, VA, 0, 0, 0);
    sfence();
    EXPECT(run(S, zero, VA).cause, STORE_PAGE);
    EXPECT(run(S, zero, VA).value, VA);
    EXPECT(run(S, flush, VA).cause, STORE_PAGE);
}

void test(void) {
    csr_write(CSR_MENVCFG, MENVCFG_CBZE | MENVCFG_CBCFE | MENVCFG_CBIE);
    frame = page_new();
    space = space_new(3);
    space_map(&space, VA, (u64)frame, PTE_LEAF, 0);
    space_use(&space, 0);
    zero_clears_a_block();
    others_change_nothing();
    envcfg_decides();
    space_map(&space, VA, (u64)frame, PTE_LEAF, 0);
    faults();
}
