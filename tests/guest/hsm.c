// SBI hart state management: a hart starts with its two arguments, stops itself, and can be started again;
// a suspended hart wakes by an interrupt.
//
// entry: S
// modes: all
// machine: cpus=2 memory=64M
// exit: 0
// qemu: yes
#include "sbi.h"

enum { STARTED, STOPPED, START_PENDING, STOP_PENDING, SUSPENDED };

static volatile u64 arrived_id, arrived_opaque, arrived_satp, arrived_sie, woke;
static u64 stack[256] __attribute__((used, aligned(16)));

void on_other_hart(u64 id, u64 opaque) {
    arrived_satp = csr_read(satp);
    arrived_sie = csr_read(sstatus) & MSTATUS_SIE;
    arrived_id = id;
    fence();
    arrived_opaque = opaque;
    if (opaque & 1) {
        csr_write(sie, BIT(IRQ_SSI));
        sbi(SBI_HSM, 3, 0, 0, 0, 0, 0); // retentive suspend
        csr_clear(sip, BIT(IRQ_SSI));
        woke = 1;
    }
    sbi(SBI_HSM, 1, 0, 0, 0, 0, 0);
    finish(9);
}
asm(".globl other_hart_entry\nother_hart_entry: la sp, stack + 2048\n call on_other_hart");
extern char other_hart_entry[];

static void wait_for_state(u64 hart, u64 state) {
    u64 start = now();
    while (sbi(SBI_HSM, 2, hart, 0, 0, 0, 0).value != state) EXPECT(now() - start < 5000 * MILLISECOND, 1);
}

void test(void) {
    u64 other = !hart_id();
    wait_for_state(other, STOPPED);
    for (u64 round = 0; round < 10; round++) {
        u64 opaque = 0x1234500 + 2 * round;
        EXPECT(sbi(SBI_HSM, 0, other, (u64)other_hart_entry, opaque, 0, 0).error, SBI_SUCCESS);
        wait_for_state(other, STOPPED);
        EXPECT(arrived_opaque, opaque);
        EXPECT(arrived_id, other);
        EXPECT(arrived_satp, 0);
        EXPECT(arrived_sie, 0);
    }
    EXPECT(sbi(SBI_HSM, 0, other, (u64)other_hart_entry, 1, 0, 0).error, SBI_SUCCESS);
    wait_for_state(other, SUSPENDED);
    EXPECT(woke, 0);
    EXPECT(sbi(SBI_IPI, 0, 1, other, 0, 0, 0).error, SBI_SUCCESS);
    wait_for_state(other, STOPPED);
    EXPECT(woke, 1);
}
