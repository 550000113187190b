// SBI's harts: started and their state read, interrupted by mask, remote fences, and harts that do not exist.
//
// entry: S
// modes: all
// machine: cpus=4 memory=64M
// exit: 0
// qemu: yes
#include "sbi.h"

#define N 4
#define ROUNDS 50

static volatile u64 received[HARTS], stop;

static void ipi(u64 irq) {
    EXPECT(irq, IRQ_SSI);
    csr_clear(sip, BIT(IRQ_SSI));
    received[hart_id()]++;
}

static struct sbi send(u64 mask, u64 base) { return sbi(SBI_IPI, 0, mask, base, 0, 0, 0); }

static void wait_for(u64 hart, u64 count) {
    u64 start = now();
    while (received[hart] < count) EXPECT(now() - start < 5000 * MILLISECOND, 1);
}

static void lead(u64 me) {
    for (u64 round = 1; round <= ROUNDS; round++) {
        for (u64 to = 0; to < N; to++) {
            EXPECT(send(1, to).error, SBI_SUCCESS);
            wait_for(to, 2 * round - 1);
        }
        EXPECT(round % 2 ? send(0xf, 0).error : send(0, ~0ul).error, SBI_SUCCESS);
        for (u64 to = 0; to < N; to++) wait_for(to, 2 * round);
    }
    EXPECT(send(1, 63).error, SBI_INVALID_PARAM);
    EXPECT(sbi(SBI_HSM, 0, me, 0x80200000, 0, 0, 0).error, SBI_ALREADY_AVAILABLE);
    EXPECT(sbi(SBI_HSM, 0, 63, 0x80200000, 0, 0, 0).error, SBI_INVALID_PARAM);
    EXPECT(sbi(SBI_HSM, 2, 63, 0, 0, 0, 0).error, SBI_INVALID_PARAM);
    for (u64 hart = 0; hart < N; hart++) EXPECT(sbi(SBI_HSM, 2, hart, 0, 0, 0, 0).value, 0);
    EXPECT(sbi(SBI_RFENCE, 0, 0, ~0ul, 0, 0, 0).error, SBI_SUCCESS);
    EXPECT(sbi(SBI_RFENCE, 1, 0xf, 0, 0, ~0ul, 0).error, SBI_SUCCESS);
    EXPECT(sbi(SBI_RFENCE, 1, 0xe, 0, 0x80000000, 0x1000, 0).error, SBI_SUCCESS);
    EXPECT(sbi(SBI_RFENCE, 2, 0xf, 0, 0x80000000, 0x1000, 3).error, SBI_SUCCESS);
}

static u64 leader;

static void play(u64 me) {
    on_interrupt(ipi);
    csr_write(sie, BIT(IRQ_SSI));
    interrupts_on();
    meet(N);
    if (me == leader) {
        lead(me);
        stop = 1;
        send(0xf, 0);
    }
    // With interrupts off between the look and the wfi: one taken there would wake nobody.
    interrupts_off();
    while (!stop) {
        wfi();
        interrupts_on();
        interrupts_off();
    }
    meet(N);
}

void test(void) {
    leader = hart_id();
    on_harts(N, play);
}
