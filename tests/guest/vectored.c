// Vectored trap mode of mtvec and stvec: interrupts go to base + 4 × cause, exceptions to the base.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

static volatile u64 slot; // where the last trap came in, + 1

// Sixteen slots that note their number; then the interrupt is quenched and the program goes on.
asm(".macro slots vector, to\n .balign 256\n \\vector:\n .option push\n .option norvc\n .set n, 0\n .rept 16\n"
    " j \\to\n .endr\n .option pop\n .endm\n"
    "slots m_vector, unused_slot\n slots s_vector, unused_slot");
asm("unused_slot: j unused_slot");
extern u32 m_vector[16], s_vector[16];

// An own handler for each slot, made at run time: `li t6, n; j common`. t6 is the trap's to use.
static u32 stubs[32][4] __attribute__((aligned(64), section(".data"))) = {{0}}; // near the text
asm(".balign 4\n m_common:\n la t5, slot\n sd t6, 0(t5)\n csrw mie, zero\n csrr t5, mcause\n bltz t5, 1f\n"
    "csrr t5, mepc\n addi t5, t5, 4\n csrw mepc, t5\n 1: mret\n"
    ".balign 4\n s_common:\n la t5, slot\n sd t6, 0(t5)\n csrw sie, zero\n csrr t5, scause\n bltz t5, 1f\n"
    "csrr t5, sepc\n addi t5, t5, 4\n csrw sepc, t5\n 1: sret");
extern char m_common[], s_common[];

static u32 jump(const void *from, const void *to) {
    u64 d = (u64)to - (u64)from;
    return 0x6f | (u32)((d >> 20 & 1) << 31 | (d >> 1 & 0x3ff) << 21 | (d >> 11 & 1) << 20 | (d >> 12 & 0xff) << 12);
}

static void fill(u32 *vector, u32 (*stub)[4], const void *common) {
    for (u32 i = 0; i < 16; i++) {
        stub[i][0] = 0x00000f93 | (i + 1) << 20; // li t6, i + 1
        stub[i][1] = jump(&stub[i][1], common);
        vector[i] = jump(&vector[i], stub[i]);
    }
}

#define CLOBBERS "t5", "t6", "memory"

static u64 in_s_mode(u64 irq) {
    slot = 0;
    csr_write(sie, BIT(irq));
    asm volatile("csrsi sstatus, 2\n nop\n csrci sstatus, 2" ::: CLOBBERS);
    u64 by_interrupt = slot;
    slot = 0;
    asm volatile(".option push\n .option norvc\n ebreak\n .option pop" ::: CLOBBERS);
    return by_interrupt << 8 | slot;
}

void test(void) {
    fill(m_vector, stubs, m_common);
    fill(s_vector, stubs + 16, s_common);
    fence_i();
    u64 own = csr_read(mtvec);
    csr_write(mtvec, (u64)m_vector | 1);
    EXPECT(csr_read(mtvec), (u64)m_vector | 1);

    MSIP(0) = 1;
    csr_write(mie, BIT(IRQ_MSI));
    asm volatile("csrsi mstatus, 8\n nop\n csrci mstatus, 8" ::: CLOBBERS);
    EXPECT(slot, IRQ_MSI + 1);
    MSIP(0) = 0;
    MTIMECMP(0) = 0;
    csr_write(mie, BIT(IRQ_MTI));
    for (u64 start = now(); !(csr_read(mip) & BIT(IRQ_MTI));) EXPECT(now() - start < 1000 * MILLISECOND, 1);
    asm volatile("csrsi mstatus, 8\n nop\n csrci mstatus, 8" ::: CLOBBERS);
    EXPECT(slot, IRQ_MTI + 1);
    MTIMECMP(0) = ~0ul;
    // Several at once: the order is external, software, timer.
    MSIP(0) = 1;
    MTIMECMP(0) = 0;
    for (u64 start = now(); !(csr_read(mip) & BIT(IRQ_MTI));) EXPECT(now() - start < 1000 * MILLISECOND, 1);
    csr_write(mie, BIT(IRQ_MSI) | BIT(IRQ_MTI));
    asm volatile("csrsi mstatus, 8\n nop\n csrci mstatus, 8" ::: CLOBBERS);
    EXPECT(slot, IRQ_MSI + 1);
    MSIP(0) = 0;
    MTIMECMP(0) = ~0ul;
    slot = 0;
    asm volatile(".option push\n .option norvc\n ebreak\n .option pop" ::: CLOBBERS);
    EXPECT(slot, 1);
    csr_write(mtvec, own);

    csr_write(stvec, (u64)s_vector | 1);
    csr_write(medeleg, BIT(BREAKPOINT));
    csr_write(mideleg, BIT(IRQ_SSI) | BIT(IRQ_SEI));
    csr_set(mip, BIT(IRQ_SSI));
    EXPECT(run(S, in_s_mode, IRQ_SSI).result, (IRQ_SSI + 1) << 8 | 1);
    csr_clear(mip, BIT(IRQ_SSI));
    csr_set(mip, BIT(IRQ_SEI));
    EXPECT(run(S, in_s_mode, IRQ_SEI).result, (IRQ_SEI + 1) << 8 | 1);
    csr_clear(mip, BIT(IRQ_SEI));
}
