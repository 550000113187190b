// Data beside code: stores into the page, and into the very cache line, of code that runs must neither disturb
// it nor be lost; and code that a store does hit is the only code that changes.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

static struct {
    u64 counter;
    u32 f[6]; // increments the counter through a1, returns its value
    u64 other[4];
    u32 g[2]; // returns a constant
    u64 tail[500];
} mixed __attribute__((aligned(4096)));

static u64 call_f(void) {
    register u64 a0 asm("a0") = 0, a1 asm("a1") = (u64)&mixed;
    asm volatile("jalr %2" : "+r"(a0), "+r"(a1) : "r"(mixed.f) : "ra", "t0", "memory");
    return a0;
}
static u64 call_g(void) { return ((u64(*)(void))mixed.g)(); }

void test(void) {
    mixed.f[0] = 0x0005b503; // ld a0, 0(a1)
    mixed.f[1] = 0x00150513; // addi a0, a0, 1
    mixed.f[2] = 0x00a5b023; // sd a0, 0(a1)
    mixed.f[3] = 0x00008067; // ret
    mixed.g[0] = 0x00000513;
    mixed.g[1] = 0x00008067;
    fence_i();
    for (u64 i = 1; i <= 20000; i++) {
        EXPECT(call_f(), i);
        mixed.other[i & 3] = i;
        mixed.tail[i % 500] = i;
        if (i % 64) continue;
        mixed.g[0] = 0x00000513 | (u32)(i & 0x7ff) << 20;
        fence_i();
        EXPECT(call_g(), i & 0x7ff);
    }
    EXPECT(mixed.counter, 20000);
    for (u64 i = 0; i < 4; i++) EXPECT(mixed.other[i] & 3, i);
    for (u64 i = 0; i < 500; i++) EXPECT(mixed.tail[i] % 500, i);
}
