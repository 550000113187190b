// Zacas: amocas.w, .d and .q swap if and only if the value is the expected one, give back what was there, trap
// when misaligned, and make a counter exact among four harts.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// qemu: -cpu rv64,zacas=on
#include "rt.h"

#define N 4
#define ROUNDS 10000

// AMO opcode, funct7 = 00101 aq rl, funct3 = 2 (w), 3 (d), 4 (q). rd is compared and replaced.
#define CAS(funct3, p, expected, desired)                                                                    \
    ({                                                                                                       \
        register u64 old_ asm("a0") = (u64)(expected);                                                       \
        asm volatile(".insn r 0x2f, " #funct3 ", 0x17, %0, %1, %2"                                           \
                     : "+r"(old_) : "r"(p), "r"((u64)(desired)) : "memory");                                 \
        old_;                                                                                                \
    })

static u64 words[8] __attribute__((aligned(64)));
static u64 counter;
static struct { u64 low, high; } wide __attribute__((aligned(16)));

// Swaps (*p) from (e0, e1) to (n0, n1) if equal; leaves the old value in *old0, *old1.
static void cas_wide(void *p, u64 e0, u64 e1, u64 n0, u64 n1, u64 *old0, u64 *old1) {
    register u64 a0 asm("a0") = e0, a1 asm("a1") = e1, a2 asm("a2") = n0, a3 asm("a3") = n1;
    asm volatile(".insn r 0x2f, 4, 0x17, a0, %2, a2" : "+r"(a0), "+r"(a1) : "r"(p), "r"(a2), "r"(a3) : "memory");
    *old0 = a0;
    *old1 = a1;
}

static u64 cas_d_at(u64 p) { return CAS(3, p, 0, 0); }

static void one_hart(void) {
    words[0] = 5;
    EXPECT(CAS(3, &words[0], 5, 9), 5);
    EXPECT(words[0], 9);
    EXPECT(CAS(3, &words[0], 5, 1), 9);
    EXPECT(words[0], 9);
    // .w compares 32 bits, gives the old word sign-extended, and leaves its neighbour alone.
    words[1] = 0x1111111180000000;
    EXPECT(CAS(2, &words[1], 0xffffffff80000000, 7), 0xffffffff80000000);
    EXPECT(words[1], 0x1111111100000007);
    EXPECT(CAS(2, &words[1], 0xabcdef0000000007, 8), 7);
    EXPECT(words[1], 0x1111111100000008);
    u64 old0, old1;
    wide.low = 1, wide.high = 2;
    cas_wide(&wide, 1, 2, 3, 4, &old0, &old1);
    EXPECT(old0 == 1 && old1 == 2 && wide.low == 3 && wide.high == 4, 1);
    cas_wide(&wide, 3, 5, 6, 7, &old0, &old1);
    EXPECT(old0 == 3 && old1 == 4 && wide.low == 3 && wide.high == 4, 1);
    u64 cause = run(M, cas_d_at, (u64)words + 4).cause;
    EXPECT(cause == STORE_MISALIGNED || cause == STORE_ACCESS, 1);
}

static void play(u64 hart) {
    (void)hart;
    meet(N);
    for (u64 i = 0; i < ROUNDS; i++) {
        u64 seen = *(volatile u64 *)&counter, old;
        while ((old = CAS(3, &counter, seen, seen + 1)) != seen) seen = old;
        u64 low = 0, high = 0, was_low, was_high;
        for (;;) {
            cas_wide(&wide, low, high, low + 1, high - 1, &was_low, &was_high);
            EXPECT(was_low + was_high, 0); // never half of a pair
            if (was_low == low && was_high == high) break;
            low = was_low, high = was_high;
        }
    }
}

void test(void) {
    one_hart();
    wide.low = wide.high = 0;
    on_harts(N, play);
    EXPECT(counter, N * ROUNDS);
    EXPECT(wide.low, N * ROUNDS);
}
