// Sstc: stimecmp raises the supervisor timer interrupt where menvcfg.STCE allows it; the pending bit is then
// read-only and follows the comparison; S-mode needs STCE and mcounteren.TM, or traps.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

#define STIP BIT(IRQ_STI)
#define MCOUNTEREN_TM BIT(1)

static volatile u64 taken;

static void timer(u64 irq) {
    EXPECT(irq, IRQ_STI);
    taken++;
    csr_write(CSR_STIMECMP, ~0ul);
}

static u64 read_stimecmp(u64 arg) {
    (void)arg;
    return csr_read(CSR_STIMECMP);
}

// S-mode waits for its own timer.
static u64 wait_in_s(u64 arg) {
    csr_write(CSR_STIMECMP, now() + MILLISECOND);
    while (!(csr_read(sip) & STIP)) {}
    return arg;
}

void test(void) {
    on_interrupt(timer);
    csr_write(mcounteren, 7);
    csr_set(CSR_MENVCFG, MENVCFG_STCE);

    csr_write(CSR_STIMECMP, ~0ul);
    EXPECT(csr_read(mip) & STIP, 0);
    csr_set(mip, STIP);
    EXPECT(csr_read(mip) & STIP, 0);
    csr_write(CSR_STIMECMP, 0);
    u64 start = now();
    while (!(csr_read(mip) & STIP)) EXPECT(now() - start < 1000 * MILLISECOND, 1);
    csr_clear(mip, STIP);
    EXPECT(csr_read(mip) & STIP, STIP);

    csr_write(mie, STIP);
    interrupts_on();
    EXPECT(taken, 1);
    interrupts_off();
    EXPECT(csr_read(mip) & STIP, 0);

    csr_write(mideleg, STIP);
    EXPECT(run(S, wait_in_s, 5).result, 5);
    csr_write(mideleg, 0);
    csr_write(CSR_STIMECMP, ~0ul);

    EXPECT(run(S, read_stimecmp, 0).cause, RETURNED);
    csr_write(mcounteren, 7 & ~MCOUNTEREN_TM);
    EXPECT(run(S, read_stimecmp, 0).cause, ILLEGAL);
    csr_write(mcounteren, 7);
    csr_clear(CSR_MENVCFG, MENVCFG_STCE);
    EXPECT(run(S, read_stimecmp, 0).cause, ILLEGAL);
    EXPECT(run(M, read_stimecmp, 0).cause, RETURNED);

    // Without STCE the pending bit is M-mode's to write.
    csr_set(mip, STIP);
    EXPECT(csr_read(mip) & STIP, STIP);
    csr_clear(mip, STIP);
    EXPECT(csr_read(mip) & STIP, 0);
}
