// Fetching from devices, holes and past the end of RAM is an instruction access fault with the exact address, in
// every mode; so is running off the last instruction of RAM.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: no: it runs what it reads from a device
#include "rt.h"

#define RAM_END (RAM + (32ul << 20))

void test(void) {
    static const u64 targets[] = {0x10000000, 0x100000, 0x2000000, 0x200bff8, 0xc000000, 0x10001000, 0,
                                  NOWHERE, RAM - 4, RAM_END, 0x8000000000000000, ~3ul};
    for (u64 i = 0; i < LENGTH(targets); i++)
        for (enum mode mode = U; mode <= M; mode++) {
            if (mode == 2) continue;
            EXPECT_TRAP(run_at(mode, targets[i], 0), FETCH_ACCESS, targets[i], targets[i]);
        }
    u32 *last = (u32 *)(RAM_END - 4);
    *last = 0x00150513; // addi a0, a0, 1
    fence_i();
    struct trap t = run_at(S, (u64)last, 4);
    EXPECT_TRAP(t, FETCH_ACCESS, RAM_END, RAM_END);
    EXPECT(t.result, 5);
    *(u16 *)(RAM_END - 2) = 0x0513; // the first half of four bytes
    fence_i();
    EXPECT_TRAP(run_at(S, RAM_END - 2, 0), FETCH_ACCESS, RAM_END - 2, RAM_END);
}
