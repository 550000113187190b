// Interrupts reach a hart that does nothing but jump from page to page, without end: a timer on the hart itself and
// an inter-processor interrupt from another. Prints how long they take from their cause to their handler.
//
// entry: M
// modes: all
// machine: cpus=2 memory=32M
// exit: 0
// prints: latency: ipi
// qemu: yes
#include "rt.h"

#define SAMPLES 300
#define WARM_UP (200 * MILLISECOND)
// Between two interrupts, in ticks: some hundred microseconds, never the same.
#define GAP (2000 + random() % 3000)

// Three functions in pages of their own, each with a loop, that never come back.
asm(".balign 4096\n"
    "spin: li a1, 50\n"
    "1: addi a1, a1, -1\n addi a2, a2, 3\n bnez a1, 1b\n"
    "j spin_on\n"
    ".balign 4096\n"
    "spin_on: li a1, 20\n"
    "1: addi a1, a1, -1\n xor a2, a2, a1\n bnez a1, 1b\n"
    "la a3, spin_further\n jr a3\n"
    ".balign 4096\n"
    "spin_further: add a2, a2, a1\n"
    "j spin\n"
    ".balign 4096\n");
extern void spin(void) __attribute__((noreturn));

static volatile u64 taken, sent, count;
static u64 took[SAMPLES];

static void report(const char *name) {
    for (u64 i = 1; i < SAMPLES; i++)
        for (u64 j = i; j && took[j - 1] > took[j]; j--) {
            u64 t = took[j];
            took[j] = took[j - 1];
            took[j - 1] = t;
        }
    print("latency: %s %u %u %u ns\n", name, took[SAMPLES / 2] * 100, took[SAMPLES * 99 / 100] * 100,
          took[SAMPLES - 1] * 100);
}

static void timer(u64 irq) {
    u64 late = now() - MTIMECMP(1);
    EXPECT(irq, IRQ_MTI);
    if (count < SAMPLES) took[count] = late;
    MTIMECMP(1) = count < SAMPLES ? now() + GAP : ~0ul;
    fence();
    count++;
}

static void ipi(u64 irq) {
    u64 late = now() - sent;
    EXPECT(irq, IRQ_MSI);
    MSIP(1) = 0;
    took[count] = late;
    fence();
    count++;
    taken = 1;
}

static void both(u64 irq) {
    if (irq == IRQ_MTI) timer(irq);
    else ipi(irq);
}

static void spinner(u64 hart) {
    (void)hart;
    on_interrupt(both);
    csr_write(mie, BIT(IRQ_MSI) | BIT(IRQ_MTI));
    interrupts_on();
    spin();
}

// Sleeps: the host's cores are for who spins and for who wakes it.
static void doze(u64 ticks) {
    csr_write(mie, BIT(IRQ_MTI));
    MTIMECMP(0) = now() + ticks;
    wfi();
}

static void wait_until(volatile u64 *word, u64 value) {
    u64 start = now();
    while (*word < value) EXPECT(now() - start < 60000 * MILLISECOND, 1);
}

void test(void) {
    MTIMECMP(1) = now() + WARM_UP;
    harts[1].task = spinner;
    u64 start = now();
    while (count < SAMPLES + 1) {
        doze(20 * MILLISECOND);
        EXPECT(now() - start < 60000 * MILLISECOND, 1);
    }
    report("timer");
    count = 0;
    while (count < SAMPLES) {
        doze(GAP);
        taken = 0;
        sent = now();
        fence();
        MSIP(1) = 1;
        wait_until(&taken, 1);
    }
    report("ipi");
}
