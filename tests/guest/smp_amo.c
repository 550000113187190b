// Every AMO of both widths is atomic among four harts: sums, bit sets, extremes and tokens come out exactly.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

#define N 4
#define ROUNDS 20000

// Words side by side, so that an AMO that is wider than it says destroys its neighbour.
static volatile u32 sum32[2], bits32[2], low32 = ~0u;
static volatile u64 sum64, bits64, high64, swapped = 1, swap_sum;
static volatile i64 lowest, highest;

#define AMO(op, p, v)                                                                                        \
    ({                                                                                                       \
        u64 old_;                                                                                            \
        asm volatile(op " %0, %2, (%1)" : "=r"(old_) : "r"(p), "r"((u64)(v)) : "memory");                    \
        old_;                                                                                                \
    })

static void play(u64 hart) {
    meet(N);
    for (u64 i = 0; i < ROUNDS; i++) {
        AMO("amoadd.w", &sum32[0], 1);
        AMO("amoadd.w", &sum32[1], 3);
        AMO("amoadd.d", &sum64, i);
        AMO("amoxor.d", &bits64, 1ul << (hart * 16 + i % 16));
        AMO("amoor.w", &bits32[0], 1u << (i % 32));
        AMO("amoand.w", &bits32[1], ~(1u << (hart * 8 + i % 8)));
        AMO("amominu.w", &low32, hart * ROUNDS + i + 1);
        AMO("amomaxu.d", &high64, hart * ROUNDS + i);
        AMO("amomin.d", &lowest, -(i64)(hart * ROUNDS + i));
        AMO("amomax.d", &highest, hart * ROUNDS + i);
        // Swaps neither lose nor double a token: what is taken out is what others put in.
        AMO("amoadd.d", &swap_sum, AMO("amoswap.d", &swapped, hart * ROUNDS + i));
    }
    meet(N);
}

void test(void) {
    bits32[1] = ~0u;
    on_harts(N, play);
    u64 sum = ROUNDS * (ROUNDS - 1ul) / 2, all = N * ROUNDS;
    EXPECT(sum32[0], all);
    EXPECT(sum32[1], 3 * all);
    EXPECT(sum64, N * sum);
    u64 parity = 0;
    for (u64 i = 0; i < ROUNDS; i++)
        for (u64 hart = 0; hart < N; hart++) parity ^= 1ul << (hart * 16 + i % 16);
    EXPECT(bits64, parity);
    EXPECT(bits32[0], ~0u);
    EXPECT(bits32[1], 0);
    EXPECT(low32, 1);
    EXPECT(high64, all - 1);
    EXPECT(lowest, -(all - 1));
    EXPECT(highest, all - 1);
    EXPECT(swap_sum + swapped, 1 + all * (all - 1) / 2);
    // Sign extension of .w results.
    volatile u32 word = 0x80000001;
    EXPECT(AMO("amoadd.w", &word, 1), 0xffffffff80000001);
    EXPECT(word, 0x80000002);
}
