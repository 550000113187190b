// Unknown SBI calls return "not supported" and change nothing but a0 and a1; bad arguments of known ones are
// refused; what `probe` denies is not there.
//
// entry: S
// modes: all
// machine: cpus=1 memory=64M
// exit: 0
// qemu: yes
#include "sbi.h"

static void unknown_calls(void) {
    for (u64 i = 0; i < 3000; i++) {
        // Vendor space, firmware space and noise; none of it is ever a registered extension.
        u64 extension = i % 3 == 0 ? 0x09000000 + i : i % 3 == 1 ? 0x7f000000 + i : random() | BIT(40);
        struct sbi r = sbi(extension, random(), random(), random(), random(), random(), random());
        EXPECT(r.error, SBI_NOT_SUPPORTED);
        EXPECT(sbi(SBI_BASE, 3, extension, 0, 0, 0, 0).value, 0);
    }
}

static void unknown_functions(void) {
    static const u64 known[] = {SBI_BASE, SBI_TIME, SBI_IPI, SBI_RFENCE, SBI_HSM, SBI_SRST, SBI_DBCN};
    for (u64 i = 0; i < LENGTH(known); i++) {
        EXPECT(sbi(known[i], 99, 1, 2, 3, 4, 5).error, SBI_NOT_SUPPORTED);
        EXPECT(sbi(known[i], ~0ul, 1, 2, 3, 4, 5).error, SBI_NOT_SUPPORTED);
    }
}

// t0-t6, a2-a7 and s-registers survive a call.
static void registers_are_kept(void) {
    u64 before[6] = {1, 2, 3, 4, 5, 6}, after[6];
    asm volatile("ld t0, 0(%0)\n ld t3, 8(%0)\n ld t6, 16(%0)\n ld a2, 24(%0)\n ld a5, 32(%0)\n ld s5, 40(%0)\n"
                 "li a7, 0x10\n li a6, 0\n ecall\n"
                 "sd t0, 0(%1)\n sd t3, 8(%1)\n sd t6, 16(%1)\n sd a2, 24(%1)\n sd a5, 32(%1)\n sd s5, 40(%1)"
                 ::"r"(before), "r"(after) : "t0", "t3", "t6", "a0", "a1", "a2", "a5", "a6", "a7", "s5", "memory");
    for (u64 i = 0; i < 6; i++) EXPECT(after[i], before[i]);
}

static void bad_arguments(void) {
    // A console buffer outside of RAM is refused, not read.
    EXPECT(sbi(SBI_DBCN, 0, 16, 0, 0x10, 0, 0).error != SBI_SUCCESS, 1);
    EXPECT(sbi(SBI_SRST, 0, 0xeeee, 0, 0, 0, 0).error != SBI_SUCCESS, 1);
    EXPECT(sbi(SBI_HSM, 0, ~0ul, 0x80200000, 0, 0, 0).error, SBI_INVALID_PARAM);
}

void test(void) {
    EXPECT((sbi(SBI_BASE, 0, 0, 0, 0, 0, 0).value >> 24 & 0x7f) >= 2, 1);
    unknown_calls();
    unknown_functions();
    registers_are_kept();
    bad_arguments();
}
