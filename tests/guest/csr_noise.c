// Every CSR number, read and written with noise from each mode: what is not there or not allowed is an illegal
// instruction, what is there keeps to its legal values, and the hart goes on.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// prints: noise survived
// qemu: yes
#include "rt.h"

static u32 access[4] __attribute__((aligned(16)));

// Patches and runs `csrrX a0, number, a0`.
static struct trap touch(enum mode mode, u64 number, u64 funct3, u64 value) {
    access[0] = 0x00050573 | (u32)number << 20 | (u32)funct3 << 12;
    access[1] = 0x00008067;
    fence_i();
    return run_at(mode, (u64)access, value);
}

// Writes that by design take the ground from under the program: misa, M-mode's trap vector and scratch, PMP (a
// lock stays), debug and machine security configuration.
static int spared(u64 number) {
    return number == 0x301 || number == 0x305 || number == 0x340 || (number >= 0x3a0 && number < 0x3f0) ||
           (number >= 0x7a0 && number < 0x7c0) || number == 0x747 || number == 0x757;
}

// What noise may have set that the rest of the program does not live with.
static void settle(void) {
    csr_write(mstatus, MSTATUS_MPP);
    csr_write(mie, 0);
    csr_write(satp, 0);
    csr_write(medeleg, 0);
    csr_write(mideleg, 0);
    csr_write(mcounteren, 7);
}

void test(void) {
    u64 legal = 0;
    for (u64 number = 0; number < 4096; number++)
        for (enum mode mode = U; mode <= M; mode++) {
            if (mode == 2) continue;
            // csrrs with x0 reads, and nothing else.
            access[0] = 0x00002573 | (u32)number << 20;
            access[1] = 0x00008067;
            fence_i();
            struct trap read = run_at(mode, (u64)access, 0);
            EXPECT(read.cause == RETURNED || read.cause == ILLEGAL, 1);
            legal += read.cause == RETURNED;
            // The number itself says who may not; 2 is for S-mode with the hypervisor extension.
            if ((number >> 8 & 3) > (mode == M ? 3u : mode == S ? 2u : 0u)) EXPECT(read.cause, ILLEGAL);
            if (spared(number)) continue;
            for (u64 i = 0; i < 6; i++) {
                u64 noise = i == 0 ? 0 : i == 1 ? ~0ul : random();
                struct trap t = touch(mode, number, 1 + i % 3, noise);
                EXPECT(t.cause == RETURNED || t.cause == ILLEGAL, 1);
                if (number >> 10 == 3 && i % 3 == 0) EXPECT(t.cause, ILLEGAL); // read-only
                if (mode == M && read.cause == RETURNED && number >> 10 != 3) EXPECT(t.cause, RETURNED);
                settle();
            }
        }
    EXPECT(legal > 50, 1);
    print("noise survived, %u accesses legal\n", legal);
}
