// Precise traps: cause, pc and value of illegal instructions of both lengths, ebreak, ecall from each mode, and
// data faults; registers and memory are as before the instruction that trapped.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

static u32 code[16] __attribute__((aligned(64)));

static struct trap run_code(enum mode mode) {
    fence_i();
    return run_at(mode, (u64)code, 0);
}

static void illegal_instructions(void) {
    static const u32 words[] = {
        0xffffffff, 0x0000007f, // reserved long forms of all ones
        0xfff0101b,             // slliw with a funct7 there is not
        0x30200077,             // an unknown opcode
        0x0000500f | 7u << 12,  // misc-mem with a funct3 there is not
        0xc0001073,             // csrw cycle: read-only
        0x9f301073,             // csrw of a CSR that is not there
    };
    for (u64 i = 0; i < LENGTH(words); i++)
        for (enum mode mode = U; mode <= S; mode++) {
            code[0] = words[i];
            struct trap t = run_code(mode);
            EXPECT(t.cause, ILLEGAL);
            EXPECT(t.pc, (u64)code);
            EXPECT(t.value == words[i] || t.value == 0, 1);
            EXPECT(t.from, mode);
        }
    static const u16 halves[] = {0x0000, 0x8000, 0x2001 & 0, 0x9c41};
    for (u64 i = 0; i < LENGTH(halves); i++) {
        code[0] = halves[i] | 0x00010000u;
        struct trap t = run_code(S);
        EXPECT(t.cause, ILLEGAL);
        EXPECT(t.value == halves[i] || t.value == 0, 1);
    }
    // Privileged instructions one mode too low.
    static const u32 privileged[] = {0x30200073, 0x10200073, 0x12000073, 0x30002573, 0x10002573, 0x18001073};
    for (u64 i = 0; i < LENGTH(privileged); i++) {
        code[0] = privileged[i];
        EXPECT(run_code(U).cause, ILLEGAL);
    }
}

static void environment_calls(void) {
    code[0] = 0x00000073;
    for (enum mode mode = U; mode <= S; mode++) {
        struct trap t = run_code(mode);
        EXPECT_TRAP(t, mode == U ? ECALL_U : ECALL_S, (u64)code, 0);
        EXPECT(t.from, mode);
    }
    EXPECT_TRAP(run_code(M), ECALL_M, (u64)code, 0);
}

static void breakpoints(void) {
    code[0] = 0x00100073;
    EXPECT(run_code(U).cause, BREAKPOINT);
    EXPECT(run_code(S).pc, (u64)code);
    u64 value = run_code(S).value;
    EXPECT(value == (u64)code || value == 0, 1);
    code[0] = 0x90020001; // c.nop, c.ebreak
    EXPECT(run_code(S).cause, BREAKPOINT);
    EXPECT(run_code(S).pc, (u64)code + 2);
}

// The faulting instruction is one of several that work on the same registers.
static u64 fault_in_the_middle(u64 address) {
    u64 *witness = (u64 *)code;
    asm volatile("li t0, 1\n sd t0, 0(%0)\n li t0, 2\n"
                 "ld t0, 0(%1)\n" // faults: t0 keeps 2
                 "li t0, 3\n sd t0, 0(%0)" ::"r"(witness), "r"(address) : "t0", "memory");
    return 0;
}

static u64 fault_with_update(u64 address) {
    asm volatile("li a0, 5\n mv a1, %0\n amoadd.d a0, a0, (a1)" ::"r"(address) : "a0", "a1", "memory");
    return 0;
}

static void data_faults(void) {
    struct trap t = run(S, fault_in_the_middle, NOWHERE);
    EXPECT(t.cause, LOAD_ACCESS);
    EXPECT(t.value, NOWHERE);
    EXPECT(this_hart()->x[5], 2);
    EXPECT(*(u64 *)code, 1);
    t = run(U, fault_with_update, NOWHERE + 8);
    EXPECT(t.cause, STORE_ACCESS);
    EXPECT(t.value, NOWHERE + 8);
    EXPECT(t.result, 5);
}

static void jumps_to_nowhere(void) {
    EXPECT_TRAP(run_at(S, NOWHERE, 0), FETCH_ACCESS, NOWHERE, NOWHERE);
    EXPECT_TRAP(run_at(U, NOWHERE + 2, 0), FETCH_ACCESS, NOWHERE + 2, NOWHERE + 2);
    // jalr drops the lowest bit of its target.
    code[0] = 0x00150567; // jalr a0, 1(a0)
    fence_i();
    struct trap t = run_at(S, (u64)code, NOWHERE);
    EXPECT(t.cause, FETCH_ACCESS);
    EXPECT(t.pc, NOWHERE);
    EXPECT(t.result, (u64)code + 4); // the link was written: the jump itself did not trap
}

void test(void) {
    illegal_instructions();
    environment_calls();
    breakpoints();
    data_faults();
    jumps_to_nowhere();
}
