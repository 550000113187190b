// A bare ELF with a symbol `tohost` ends by storing (code << 1) | 1 there, after printing through it.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 9
// prints: by htif
// qemu: no: its virt machine has no HTIF
#include "rt.h"

volatile u64 tohost __attribute__((aligned(64))), fromhost __attribute__((aligned(64)));

static void put(char c) {
    tohost = 1ul << 56 | 1ul << 48 | (u8)c;
    u64 start = now();
    while (tohost) EXPECT(now() - start < 5000 * MILLISECOND, 1);
}

void test(void) {
    for (const char *s = "by htif\n"; *s; s++) put(*s);
    tohost = 9 << 1 | 1;
    for (;;) wfi();
}
