// Timer interrupts of S-mode by SBI: programmed, pending, taken, and cleared by the next deadline.
//
// entry: S
// modes: all
// machine: cpus=1 memory=64M
// exit: 0
// qemu: yes
#include "sbi.h"

static volatile u64 taken;

static void set_timer(u64 deadline) { EXPECT(sbi(SBI_TIME, 0, deadline, 0, 0, 0, 0).error, SBI_SUCCESS); }

static void timer(u64 irq) {
    EXPECT(irq, IRQ_STI);
    taken++;
    set_timer(~0ul);
}

void test(void) {
    on_interrupt(timer);
    set_timer(~0ul);
    csr_write(sie, BIT(IRQ_STI));
    interrupts_on();
    for (u64 round = 1; round <= 20; round++) {
        u64 due = now() + MILLISECOND / 2;
        set_timer(due);
        while (taken < round) EXPECT(now() < due + 1000 * MILLISECOND, 1);
        EXPECT(now() >= due, 1);
    }
    interrupts_off();
    set_timer(0);
    u64 start = now();
    while (!(csr_read(sip) >> IRQ_STI & 1)) EXPECT(now() - start < 1000 * MILLISECOND, 1);
    wfi();
    set_timer(~0ul);
    while (csr_read(sip) >> IRQ_STI & 1) EXPECT(now() - start < 1000 * MILLISECOND, 1);
    EXPECT(taken, 20);
}
