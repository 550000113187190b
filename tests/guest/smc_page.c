// Self-modification of other blocks: functions written, run, rewritten (whole, one instruction, half a word of
// one, across a page) and run again; a chain of blocks of which the middle one changes; code copied about.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

static u8 area[4 * PAGE] __attribute__((aligned(4096)));

#define LI_A0(n) (0x00000513u | (u32)(n) << 20)
#define ADDI_A0(n) (0x00050513u | (u32)(n) << 20)
#define RET 0x00008067u
#define NOP 0x00000013u

static u64 call(void *f, u64 arg) { return ((u64(*)(u64))f)(arg); }

static void whole_functions(void) {
    u32 *f = (u32 *)area;
    for (u64 i = 0; i < 1000; i++) {
        f[0] = LI_A0(i & 0x7ff);
        f[1] = RET;
        fence_i();
        EXPECT(call(f, 0), i & 0x7ff);
    }
}

static void halves_of_an_instruction(void) {
    u32 *f = (u32 *)(area + 64);
    f[0] = LI_A0(0);
    f[1] = RET;
    for (u64 i = 0; i < 1000; i++) {
        ((volatile u16 *)f)[1] = (u16)((i & 0x7ff) << 4); // bits 31..16
        fence_i();
        EXPECT(call(f, 0), i & 0x7ff);
        ((volatile u8 *)f)[3] = (u8)(i & 0x7f);           // bits 31..24
        fence_i();
        EXPECT(call(f, 0), (i & 0x7f) << 4 | (i & 0xf));
    }
}

// An instruction of four bytes, of which the page boundary is the middle.
static void across_a_page(void) {
    u16 *f = (u16 *)(area + 2 * PAGE - 2);
    for (u64 i = 0; i < 1000; i++) {
        u32 insn = LI_A0(i & 0x7ff);
        f[0] = (u16)insn;
        f[1] = (u16)(insn >> 16);
        f[2] = 0x8082; // ret
        fence_i();
        EXPECT(call(f, 0), i & 0x7ff);
        f[1] = (u16)(LI_A0(5) >> 16); // the second page alone
        fence_i();
        EXPECT(call(f, 0), 5);
    }
}

// Blocks joined by jumps; the middle ones change while the first stays.
static void a_chain(void) {
    enum { LINKS = 8 };
    u32 *f = (u32 *)(area + 3 * PAGE);
    u64 want[LINKS];
    for (u64 i = 0; i < LINKS; i++) {
        f[4 * i] = ADDI_A0(1), want[i] = 1;
        f[4 * i + 1] = i + 1 < LINKS ? 0x00c0006fu : RET; // j +12
        f[4 * i + 2] = f[4 * i + 3] = NOP;
    }
    for (u64 round = 0; round < 2000; round++) {
        u64 sum = 0, link = random() % LINKS, n = random() & 0x3ff;
        f[4 * link] = ADDI_A0(n), want[link] = n;
        fence_i();
        for (u64 i = 0; i < LINKS; i++) sum += want[i];
        EXPECT(call(f, 0), sum);
    }
}

// One routine copied over different places, as loaders do.
static void copies(void) {
    for (u64 i = 0; i < 500; i++) {
        u32 body[3] = {LI_A0(i & 0x7ff), ADDI_A0(1), RET};
        u8 *at = area + (random() % (2 * PAGE - 16) & ~1ul);
        memcpy(at, body, sizeof body);
        fence_i();
        EXPECT(call(at, 0), (i & 0x7ff) + 1);
    }
}

void test(void) {
    whole_functions();
    halves_of_an_instruction();
    across_a_page();
    a_chain();
    copies();
}
