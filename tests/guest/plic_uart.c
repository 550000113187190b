// The PLIC by the UART's transmitter-empty interrupt: priority, enable and threshold gate it, for the M and the S
// context; claim gives it once, completion lets it come again.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: no: enabling a source does not raise a line that is due, until something else of the PLIC is written
#include "rt.h"

#define UART_IRQ 10
#define PRIORITY(irq) mmio32(PLIC + 4 * (irq))
#define PENDING mmio32(PLIC + 0x1000)
#define ENABLE(context) mmio32(PLIC + 0x2000 + 0x80 * (context))
#define THRESHOLD(context) mmio32(PLIC + 0x200000 + 0x1000 * (context))
#define CLAIM(context) mmio32(PLIC + 0x200004 + 0x1000 * (context))

static volatile u64 taken;

// The transmitter of this UART is always empty soon: enabling its interrupt raises it.
static void raise(void) {
    while (!(UART[5] & 0x20)) {}
    UART[1] = 2;
}
static void lower(void) {
    UART[1] = 0;
    (void)UART[2];
}

#define wait_for(bit, want)                                                                                   \
    for (u64 start_ = now(); (csr_read(mip) >> (bit) & 1) != (want);) EXPECT(now() - start_ < 1000 * MILLISECOND, 1)

static void external(u64 irq) {
    u64 context = irq == IRQ_MEI ? 0 : 1;
    u32 source = CLAIM(context);
    EXPECT(source, UART_IRQ);
    EXPECT(CLAIM(context), 0); // claimed: not given again
    lower();
    CLAIM(context) = source;
    taken++;
}

static void gates(u64 context, u64 line) {
    raise();
    PRIORITY(UART_IRQ) = 1;
    THRESHOLD(context) = 0;
    ENABLE(context) = 1u << UART_IRQ;
    wait_for(line, 1);
    EXPECT(PENDING >> UART_IRQ & 1, 1);
    THRESHOLD(context) = 1; // not above it
    wait_for(line, 0);
    PRIORITY(UART_IRQ) = 2;
    wait_for(line, 1);
    PRIORITY(UART_IRQ) = 0; // never
    THRESHOLD(context) = 0;
    wait_for(line, 0);
    PRIORITY(UART_IRQ) = 1;
    wait_for(line, 1);
    ENABLE(context) = 0;
    wait_for(line, 0);
    ENABLE(context) = 1u << UART_IRQ;
    wait_for(line, 1);
    // The claim takes the line down although the device still asks; completion brings it back.
    u32 source = CLAIM(context);
    EXPECT(source, UART_IRQ);
    wait_for(line, 0);
    raise();
    CLAIM(context) = source;
    lower();
    while ((source = CLAIM(context))) CLAIM(context) = source;
    wait_for(line, 0);
}

static u64 wait_in_s(u64 arg) {
    u64 start = now();
    while (!taken) EXPECT(now() - start < 1000 * MILLISECOND, 1);
    return arg;
}

void test(void) {
    print("plic\n");
    lower();
    csr_write(mie, 0);
    gates(0, IRQ_MEI);
    ENABLE(0) = 0;
    gates(1, IRQ_SEI);

    on_interrupt(external);
    for (u64 round = 0; round < 50; round++) {
        u64 line = round & 1 ? IRQ_SEI : IRQ_MEI;
        ENABLE(0) = round & 1 ? 0 : 1u << UART_IRQ;
        ENABLE(1) = round & 1 ? 1u << UART_IRQ : 0;
        taken = 0;
        csr_write(mie, BIT(line));
        raise();
        EXPECT(run(S, wait_in_s, 3).result, 3);
        EXPECT(taken, 1);
        csr_write(mie, 0);
    }
}
