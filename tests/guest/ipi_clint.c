// Inter-processor interrupts by the CLINT: every hart interrupts every other, msip keeps one bit, and what was
// written before the interrupt is seen in it.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

#define N 4
#define ROUNDS 8

static volatile u64 received[HARTS], message[HARTS], seen[HARTS];

static void ipi(u64 irq) {
    u64 me = hart_id();
    EXPECT(irq, IRQ_MSI);
    MSIP(me) = 0;
    seen[me] = message[me];
    fence();
    received[me]++;
}

static void send_and_wait(u64 to, u64 round) {
    u64 before = received[to];
    message[to] = round;
    fence();
    MSIP(to) = 1;
    u64 start = now();
    while (received[to] == before) EXPECT(now() - start < 5000 * MILLISECOND, 1);
    EXPECT(seen[to], round);
}

static void take_turns(u64 me) {
    on_interrupt(ipi);
    csr_write(mie, BIT(IRQ_MSI));
    interrupts_on();
    for (u64 turn = 0; turn < N; turn++) {
        meet(N);
        for (u64 round = 1; turn == me && round <= ROUNDS; round++)
            for (u64 to = 0; to < N; to++)
                if (to != me) send_and_wait(to, round);
    }
    meet(N);
    interrupts_off();
}

void test(void) {
    MSIP(0) = 0xfffffffe;
    EXPECT(MSIP(0), 0);
    MSIP(0) = 0xffffffff;
    EXPECT(MSIP(0), 1);
    EXPECT(csr_read(mip) >> IRQ_MSI & 1, 1);
    MSIP(0) = 0;
    on_harts(N, take_turns);
    for (u64 i = 0; i < N; i++) EXPECT(received[i], (N - 1) * ROUNDS);
}
