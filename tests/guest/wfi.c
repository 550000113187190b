// WFI wakes by an enabled pending interrupt whether or not it can be taken, returns at once when one is pending
// already, and in lower modes is illegal or not as mstatus.TW says.
//
// entry: M
// modes: all
// machine: cpus=2 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

static volatile u64 taken, sleeping, woken;

static void interrupt(u64 irq) {
    taken |= BIT(irq);
    if (irq == IRQ_MSI) MSIP(hart_id()) = 0;
    // The timer rings on: an interrupt that comes before the wfi it is meant for must not be the last.
    if (irq == IRQ_MTI) MTIMECMP(hart_id()) = MTIME + MILLISECOND;
}

static u64 wfi_until_timer(u64 arg) {
    MTIMECMP(0) = MTIME + MILLISECOND;
    do wfi(); // which may end for no reason
    while (!taken);
    return arg;
}

static void wakes_with_interrupts_off(void) {
    csr_write(mie, BIT(IRQ_MTI));
    u64 due = MTIME + 3 * MILLISECOND;
    MTIMECMP(0) = due;
    while (!(csr_read(mip) & BIT(IRQ_MTI))) wfi();
    EXPECT(MTIME >= due, 1);
    EXPECT(taken, 0);
    wfi(); // still pending: at once
    wfi();
    interrupts_on();
    EXPECT(taken, BIT(IRQ_MTI));
    interrupts_off();
    MTIMECMP(0) = ~0ul;
}

static void wakes_and_takes(void) {
    taken = 0;
    interrupts_on();
    MTIMECMP(0) = MTIME + 3 * MILLISECOND;
    while (!taken) wfi();
    EXPECT(taken, BIT(IRQ_MTI));
    interrupts_off();
    MTIMECMP(0) = ~0ul;
}

static void lower_modes(void) {
    csr_set(mstatus, MSTATUS_TW);
    EXPECT(run(S, wfi_until_timer, 1).cause, ILLEGAL);
    EXPECT(run(U, wfi_until_timer, 1).cause, ILLEGAL);
    csr_clear(mstatus, MSTATUS_TW);
    MTIMECMP(0) = ~0ul;
    // M-mode's interrupt comes to S-mode whatever mstatus.MIE says.
    taken = 0;
    EXPECT(run(S, wfi_until_timer, 1).result, 1);
    EXPECT(taken, BIT(IRQ_MTI));
    MTIMECMP(0) = ~0ul;
}

// The other hart sleeps; hart 0 wakes it a thousand times, sometimes while it is on its way to sleep.
static void ping(u64 hart) {
    enum { ROUNDS = 1000 };
    on_interrupt(interrupt);
    csr_write(mie, BIT(IRQ_MSI));
    meet(2);
    if (hart == 1) {
        for (u64 i = 0; i < ROUNDS; i++) {
            sleeping = i + 1;
            while (!(csr_read(mip) & BIT(IRQ_MSI))) wfi();
            MSIP(1) = 0;
            while (csr_read(mip) & BIT(IRQ_MSI)) {}
            woken = i + 1;
        }
    } else {
        for (u64 i = 0; i < ROUNDS; i++) {
            while (sleeping != i + 1) relax();
            for (u64 until = now() + i % 200; now() < until;) {}
            MSIP(1) = 1;
            u64 start = now();
            while (woken != i + 1) EXPECT(now() - start < 10000 * MILLISECOND, 1);
        }
    }
}

void test(void) {
    MTIMECMP(0) = ~0ul;
    on_interrupt(interrupt);
    wakes_with_interrupts_off();
    wakes_and_takes();
    lower_modes();
    csr_write(mie, 0);
    on_harts(2, ping);
}
