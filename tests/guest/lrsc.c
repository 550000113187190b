// LR/SC on one hart: an SC pairs with the last LR only, once, and not over an address of another size or place;
// misaligned LR, SC and AMO trap; forward progress of the simplest loop.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: no: its sc.d without a reservation fails quietly where it is misaligned
#include "rt.h"

static u64 words[16] __attribute__((aligned(64)));

static u64 lr(u64 *p) {
    u64 v;
    asm volatile("lr.d %0, (%1)" : "=r"(v) : "r"(p) : "memory");
    return v;
}
static u64 sc(u64 *p, u64 v) {
    u64 failed;
    asm volatile("sc.d %0, %2, (%1)" : "=r"(failed) : "r"(p), "r"(v) : "memory");
    return failed;
}

static u64 lr_w_misaligned(u64 p) {
    u64 v;
    asm volatile("lr.w %0, (%1)" : "=r"(v) : "r"(p) : "memory");
    return v;
}
static u64 sc_d_misaligned(u64 p) { return sc((u64 *)p, 1); }
static u64 amo_d_misaligned(u64 p) {
    u64 v;
    asm volatile("amoadd.d %0, %0, (%1)" : "=r"(v) : "r"(p) : "memory");
    return v;
}

static int is_misaligned_or_access(struct trap t, u64 misaligned, u64 access) {
    return t.cause == misaligned || t.cause == access;
}

void test(void) {
    words[0] = 7;
    EXPECT(sc(&words[0], 1), 1); // no reservation
    EXPECT(words[0], 7);
    u64 pairs = 0;
    for (u64 i = 0; i < 1000; i++) {
        u64 v = lr(&words[0]);
        pairs += sc(&words[0], v + 1) == 0;
    }
    EXPECT(pairs > 900, 1); // an SC may fail now and then, not as a rule
    EXPECT(words[0], 7 + pairs);
    EXPECT(sc(&words[0], 1), 1); // a second SC
    lr(&words[0]);
    EXPECT(sc(&words[8], 1), 1); // another place
    EXPECT(words[8], 0);
    EXPECT(sc(&words[0], 1), 1); // that SC has ended the reservation
    lr(&words[0]);
    lr(&words[8]);
    EXPECT(sc(&words[0], 1), 1); // the last LR counts

    EXPECT(is_misaligned_or_access(run(M, lr_w_misaligned, (u64)words + 2), LOAD_MISALIGNED, LOAD_ACCESS), 1);
    EXPECT(is_misaligned_or_access(run(M, sc_d_misaligned, (u64)words + 4), STORE_MISALIGNED, STORE_ACCESS), 1);
    EXPECT(is_misaligned_or_access(run(M, amo_d_misaligned, (u64)words + 4), STORE_MISALIGNED, STORE_ACCESS), 1);
    EXPECT(run(M, amo_d_misaligned, (u64)words + 4).value, (u64)words + 4);
}
