// Stores that look for code themselves: one place in the program stores data beside code so often that it is
// compiled for that, and then stores to code as well. Aligned or not, in turn with another hart or in a race with
// its first fetch of the code: after a signal and fence.i that hart runs what was stored.
//
// entry: M
// modes: all
// machine: cpus=2 memory=32M
// exit: 0
// qemu: no: now and then it keeps code that the other hart has replaced
#include "rt.h"

#define ROUNDS 400
#define RACES 6000
#define DATA 64 // words of data stored between two of code

static struct {
    u32 code[16][16]; // functions, one a granule
    u64 data[256];
    u32 half[2][16]; // the second of them begins with what a misaligned store ends with
    u64 rest[64];
} mixed __attribute__((aligned(4096)));

static volatile u64 turn;

static u32 li_a0(u64 n) { return 0x00000513 | (u32)n << 20; }
static u64 run_code(const void *at) { return ((u64(*)(void))at)(); }

// All stores that matter.
__attribute__((noinline)) static void put(u32 *at, u32 value) { *(volatile u32 *)at = value; }
__attribute__((noinline)) static void put_long(u64 at, u64 value) {
    asm volatile("sd %0, 0(%1)" ::"r"(value), "r"(at) : "memory");
}

static void put_data(u64 round) {
    for (u64 i = 0; i < DATA; i++) {
        put((u32 *)&mixed.data[i], (u32)(round + i));
        put_long((u64)&mixed.data[128 + i], round + i);
    }
}

static void check_data(u64 round) {
    for (u64 i = 0; i < DATA; i++) {
        EXPECT((u32)mixed.data[i], (u32)(round + i));
        EXPECT(mixed.data[128 + i], round + i);
    }
}

// Code that this hart has run itself.
static void own(void) {
    for (u64 round = 0; round < ROUNDS; round++) {
        u32 *code = mixed.code[round % 16];
        put_data(round);
        put(code, li_a0(round & 0x7ff));
        fence_i();
        EXPECT(run_code(code), round & 0x7ff);
        check_data(round);
        // The store begins in one granule and ends with the first instruction of the next.
        put_long((u64)mixed.half[1] - 4, (u64)li_a0(round & 0x3ff) << 32);
        fence_i();
        EXPECT(run_code(mixed.half[1]), round & 0x3ff);
    }
}

static void wait_for(u64 number) {
    while (turn < number) {}
    fence();
}

static void pass(u64 number) {
    fence();
    turn = number;
}

// The runner's first fetch of a function and the writer's store to it meet; what is run in the end is what was
// stored.
static void race(u64 hart) {
    for (u64 i = 1; i <= RACES; i++) {
        u32 *code = mixed.code[i % 16];
        u64 old = i * 2 & 0x7ff, new = old | 1;
        if (hart == 0) {
            put(code, li_a0(old)); // what was made from it is gone
            pass(3 * i);
            for (u64 n = i % 23; n; n--) put((u32 *)&mixed.data[n], (u32)n);
            put(code, li_a0(new));
            pass(3 * i + 1);
            wait_for(3 * i + 2);
        } else {
            wait_for(3 * i);
            fence_i();
            u64 got = run_code(code);
            EXPECT(got == old || got == new, 1);
            wait_for(3 * i + 1);
            fence_i();
            EXPECT(run_code(code), new);
            pass(3 * i + 2);
        }
    }
}

static void play(u64 hart) {
    if (hart == 0) own();
    meet(2);
    race(hart);
    meet(2);
}

void test(void) {
    for (u64 n = 0; n < 16; n++) {
        mixed.code[n][0] = li_a0(0);
        mixed.code[n][1] = 0x00008067;
    }
    mixed.half[1][1] = 0x00008067;
    fence_i();
    on_harts(2, play);
}
