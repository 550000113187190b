// One hart writes code that another runs: after the writer's fence, a signal and the runner's own fence.i the new
// code runs; and code swapped by one aligned store while the other runs it is either the old or the new.
//
// entry: M
// modes: all
// machine: cpus=2 memory=32M
// exit: 0
// qemu: no: now and then it keeps code that the other hart has replaced
#include "rt.h"

#define ROUNDS 500
#define SWAPS 3000

static u32 code[64] __attribute__((aligned(256)));
static volatile u64 written, ran, result, stop;

static u32 li_a0(u64 n) { return 0x00000513 | (u32)n << 20; }
static u64 run_code(void) { return ((u64(*)(void))code)(); }

static void writer_round(u64 round) {
    code[0] = li_a0(round & 0x7ff);
    fence();
    written = round;
    while (ran != round) {}
    EXPECT(result, round & 0x7ff);
}

static void runner_round(u64 round) {
    while (written != round) {}
    fence_i();
    result = run_code();
    fence();
    ran = round;
}

static void keep_running(void) {
    while (!stop) {
        u64 got = run_code();
        EXPECT(got == 1 || got == 2, 1);
        fence_i();
    }
}

static void swap(void) {
    for (u64 i = 0; i < SWAPS; i++) *(volatile u32 *)code = li_a0(1 + (i & 1));
    stop = 1;
}

static void play(u64 hart) {
    for (u64 round = 1; round <= ROUNDS; round++) hart ? runner_round(round) : writer_round(round);
    code[0] = li_a0(1);
    meet(2);
    fence_i();
    meet(2);
    hart ? keep_running() : swap();
    meet(2);
    fence_i();
    EXPECT(run_code(), 1 + ((SWAPS - 1) & 1));
}

void test(void) {
    code[0] = li_a0(0);
    code[1] = 0x00008067;
    fence_i();
    on_harts(2, play);
}
