// mstatus.FS: off makes every floating-point instruction and CSR illegal; an instruction that changes the
// registers or flags makes it dirty, with SD; reading leaves it as it is.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

enum { OFF = 0, INITIAL = 1, CLEAN = 2, DIRTY = 3 };

static u64 memory[2];

#define FP(name, text)                                                                                       \
    static u64 name(u64 arg) {                                                                               \
        asm volatile(text ::"r"(arg), "r"(memory) : "t0", "ft0", "ft1", "memory");                           \
        return 0;                                                                                            \
    }
FP(add, "fadd.d ft0, ft1, ft1")
FP(move_in, "fmv.d.x ft0, zero")
FP(load_fp, "fld ft0, 0(%1)")
FP(write_frm, "csrw frm, zero")
FP(write_fflags, "csrw fflags, zero")
FP(move_out, "fmv.x.d t0, ft0")
FP(store_fp, "fsd ft0, 0(%1)")
FP(read_fcsr, "csrr t0, fcsr")
FP(classify, "fclass.d t0, ft0")
FP(compressed_load, "mv a5, %1\n .option push\n .option rvc\n c.fld fa5, 0(a5)\n .option pop")

static u64 (*const changing[])(u64) = {add, move_in, load_fp, write_frm, write_fflags, compressed_load};
static u64 (*const reading[])(u64) = {move_out, store_fp, read_fcsr, classify};

static void set_fs(u64 fs) {
    csr_clear(mstatus, MSTATUS_FS);
    csr_set(mstatus, fs << 13);
}
static u64 fs(void) { return csr_read(mstatus) >> 13 & 3; }

static void check(u64 (*f)(u64), enum mode mode, int changes) {
    set_fs(OFF);
    EXPECT(run(mode, f, 0).cause, ILLEGAL);
    EXPECT(fs(), OFF);
    for (u64 state = INITIAL; state <= DIRTY; state++) {
        set_fs(state);
        EXPECT(csr_read(mstatus) >> 63, state == DIRTY);
        EXPECT(run(mode, f, 0).cause, RETURNED);
        // The manual lets a hart be imprecise towards dirty, never towards clean.
        if (changes || state == DIRTY) EXPECT(fs(), DIRTY);
        EXPECT(fs() == state || fs() == DIRTY, 1);
        EXPECT(csr_read(mstatus) >> 63, fs() == DIRTY);
        EXPECT(csr_read(sstatus) >> 13 & 3, fs());
    }
}

// A reserved rounding mode in frm makes the dynamic form illegal, and only that.
static u64 set_reserved_frm(u64 arg) {
    csr_write(frm, 5);
    return arg;
}
FP(add_statically_rounded, "fadd.d ft0, ft1, ft1, rne")

void test(void) {
    for (enum mode mode = U; mode <= M; mode++) {
        if (mode == 2) continue;
        for (u64 i = 0; i < LENGTH(changing); i++) check(changing[i], mode, 1);
        for (u64 i = 0; i < LENGTH(reading); i++) check(reading[i], mode, 0);
    }
    set_fs(CLEAN);
    EXPECT(run(S, set_reserved_frm, 0).cause, RETURNED);
    EXPECT(run(S, add, 0).cause, ILLEGAL);
    EXPECT(run(S, add_statically_rounded, 0).cause, RETURNED);
    csr_write(frm, 0);
    // Values and flags survive the round through memory.
    set_fs(CLEAN);
    u64 bits;
    asm volatile("fmv.d.x ft0, %1\n fmv.x.d %0, ft0" : "=r"(bits) : "r"(0x7ff4000000000001) : "ft0");
    EXPECT(bits, 0x7ff4000000000001);
}
