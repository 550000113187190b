// The CLINT's timer: mtime runs at 10 MHz and agrees with the time CSR, an interrupt comes when mtimecmp is
// reached and not before, and goes away when mtimecmp is moved, by 64-bit and by 32-bit writes.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

static volatile u64 taken, taken_at;

static void timer(u64 irq) {
    EXPECT(irq, IRQ_MTI);
    taken++;
    taken_at = MTIME;
    MTIMECMP(0) = ~0ul;
}

static void mtime_and_time_agree(void) {
    u64 a = MTIME, b = now(), c = MTIME;
    EXPECT(a <= b && b <= c, 1);
    EXPECT(c - a < 100 * MILLISECOND, 1);
}

static void comes_when_due(void) {
    u64 due = MTIME + 2 * MILLISECOND;
    MTIMECMP(0) = due;
    EXPECT(csr_read(mip) >> IRQ_MTI & 1, 0);
    while (!taken) EXPECT(MTIME < due + 1000 * MILLISECOND, 1);
    EXPECT(taken_at >= due, 1);
    EXPECT(taken, 1);
    EXPECT(csr_read(mip) >> IRQ_MTI & 1, 0);
}

static void a_past_deadline_is_due_at_once(void) {
    taken = 0;
    MTIMECMP(0) = 0;
    u64 start = MTIME;
    while (!taken) EXPECT(MTIME - start < 1000 * MILLISECOND, 1);
}

static void halves_can_be_written(void) {
    interrupts_off();
    volatile u32 *half = (volatile u32 *)&MTIMECMP(0);
    half[1] = 0xffffffff;
    half[0] = 5;
    EXPECT(MTIMECMP(0), 0xffffffff00000005);
    EXPECT(csr_read(mip) >> IRQ_MTI & 1, 0);
    half[1] = 0;
    EXPECT(half[0], 5);
    u64 start = MTIME;
    while (!(csr_read(mip) >> IRQ_MTI & 1)) EXPECT(MTIME - start < 1000 * MILLISECOND, 1);
    MTIMECMP(0) = ~0ul;
    while (csr_read(mip) >> IRQ_MTI & 1) EXPECT(MTIME - start < 1000 * MILLISECOND, 1);
}

static void wakes_from_wfi(void) {
    taken = 0;
    u64 due = MTIME + 5 * MILLISECOND;
    MTIMECMP(0) = due;
    while (!(csr_read(mip) >> IRQ_MTI & 1)) wfi();
    EXPECT(MTIME >= due, 1);
    interrupts_on();
    EXPECT(taken, 1);
    interrupts_off();
}

void test(void) {
    on_interrupt(timer);
    MTIMECMP(0) = ~0ul;
    csr_write(mie, BIT(IRQ_MTI));
    mtime_and_time_agree();
    interrupts_on();
    comes_when_due();
    a_past_deadline_is_due_at_once();
    halves_can_be_written();
    wakes_from_wfi();
}
