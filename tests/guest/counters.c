// Counters: minstret counts instructions exactly, also by the write rule; mcycle goes on; mcountinhibit stops
// them; mcounteren and scounteren open them to S- and U-mode one by one.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: no: it counts minstret by the clock unless icount is on
#include "rt.h"

static u64 read_cycle(u64 arg) { return csr_read(cycle) + arg; }
static u64 read_time(u64 arg) { return csr_read(time) + arg; }
static u64 read_instret(u64 arg) { return csr_read(instret) + arg; }
static u64 (*const readers[])(u64) = {read_cycle, read_time, read_instret};

static void instructions_are_counted(void) {
    u64 a, b;
    asm volatile("csrr %0, minstret\n csrr %1, minstret" : "=r"(a), "=r"(b));
    EXPECT(b - a, 1);
    asm volatile("csrr %0, minstret\n nop\n nop\n nop\n csrr %1, minstret" : "=r"(a), "=r"(b));
    EXPECT(b - a, 4);
    asm volatile("csrr %0, minstret\n li t0, 100\n 1: addi t0, t0, -1\n bnez t0, 1b\n csrr %1, minstret"
                 : "=r"(a), "=r"(b)::"t0");
    EXPECT(b - a, 202);
    // A write takes effect for the next instruction: it is the first that is counted on top.
    asm volatile("csrw minstret, %1\n csrr %0, minstret" : "=r"(a) : "r"(1000ul));
    EXPECT(a, 1000);
    asm volatile("csrw minstret, %1\n nop\n csrr %0, minstret" : "=r"(a) : "r"(-1ul));
    EXPECT(a, 0);
    asm volatile("csrr %0, mcycle\n nop\n nop\n csrr %1, mcycle" : "=r"(a), "=r"(b));
    EXPECT(b > a, 1);
}

static void inhibit_stops_them(void) {
    csr_write(mcountinhibit, 5);
    if (csr_read(mcountinhibit) != 5) return; // need not be there
    u64 cycles = csr_read(mcycle), instructions = csr_read(minstret);
    for (volatile u64 i = 0; i < 100; i++) {}
    EXPECT(csr_read(mcycle), cycles);
    EXPECT(csr_read(minstret), instructions);
    csr_write(mcountinhibit, 0);
    for (volatile u64 i = 0; i < 100; i++) {}
    EXPECT(csr_read(minstret) > instructions, 1);
}

static void enables_open_them(void) {
    for (u64 m = 0; m < 8; m++)
        for (u64 s = 0; s < 8; s++) {
            csr_write(mcounteren, m);
            csr_write(scounteren, s);
            for (u64 i = 0; i < 3; i++) {
                EXPECT(run(M, readers[i], 0).cause, RETURNED);
                EXPECT(run(S, readers[i], 0).cause, m >> i & 1 ? RETURNED : ILLEGAL);
                EXPECT(run(U, readers[i], 0).cause, m >> i & s >> i & 1 ? RETURNED : ILLEGAL);
            }
        }
}

void test(void) {
    instructions_are_counted();
    inhibit_stops_them();
    enables_open_them();
}
