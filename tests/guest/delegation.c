// Traps and interrupts delegated to S-mode: what S-mode finds in its CSRs, sret to both modes, traps from M-mode
// that are never delegated, and the controls TVM, TW and TSR.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

volatile u64 seen[4]; // scause, sepc, stval, sstatus

// S-mode's vector: notes what it finds and hands a0 = 1 to whoever ran it, by way of M-mode's ecall trap.
asm(".balign 4\n s_vector:\n la t0, seen\n csrr t1, scause\n sd t1, 0(t0)\n csrr t1, sepc\n sd t1, 8(t0)\n"
    "csrr t1, stval\n sd t1, 16(t0)\n csrr t1, sstatus\n sd t1, 24(t0)\n li a0, 1\n ecall");
extern char s_vector[];

static u64 ebreak(u64 arg) {
    asm volatile("ebreak");
    return arg;
}
static u64 load(u64 p) { return *(volatile u64 *)p; }
static u64 raise_soft(u64 arg) {
    csr_write(sie, BIT(IRQ_SSI));
    csr_set(sip, BIT(IRQ_SSI));
    csr_set(sstatus, MSTATUS_SIE);
    return arg;
}
static u64 read_satp(u64 arg) { return csr_read(satp) + arg; }
static u64 do_sfence(u64 arg) {
    sfence();
    return arg;
}
static u64 do_wfi(u64 arg) {
    wfi();
    return arg;
}
static u64 do_sret(u64 to) {
    csr_write(sepc, to);
    csr_clear(sstatus, MSTATUS_SPP);
    asm volatile("sret");
    return 0;
}
static u64 do_ecall(u64 arg) {
    register u64 a7 asm("a7") = 0;
    asm volatile("ecall" ::"r"(a7));
    return arg;
}

// The vector's own ecall ends in M-mode.
static void expect_delegated(struct trap t, u64 cause, u64 value, enum mode from) {
    EXPECT(t.cause, ECALL_S);
    EXPECT(t.result, 1);
    EXPECT(seen[0], cause);
    EXPECT(seen[2] == value || cause == BREAKPOINT, 1);
    EXPECT((seen[3] & MSTATUS_SPP) != 0, from == S);
    EXPECT(seen[3] & MSTATUS_SIE, 0);
}

static void exceptions(void) {
    csr_write(stvec, s_vector);
    csr_write(medeleg, BIT(BREAKPOINT) | BIT(LOAD_ACCESS) | BIT(ECALL_U));
    expect_delegated(run(U, ebreak, 0), BREAKPOINT, 0, U);
    expect_delegated(run(S, ebreak, 0), BREAKPOINT, 0, S);
    expect_delegated(run(U, load, NOWHERE), LOAD_ACCESS, NOWHERE, U);
    expect_delegated(run(U, do_ecall, 0), ECALL_U, 0, U);
    EXPECT(run(M, ebreak, 0).cause, BREAKPOINT);
    EXPECT(run(M, load, NOWHERE).cause, LOAD_ACCESS);
    csr_write(medeleg, 0);
    EXPECT(run(S, ebreak, 0).cause, BREAKPOINT);
    csr_write(medeleg, 0);
}

static void interrupts(void) {
    csr_write(mideleg, BIT(IRQ_SSI));
    struct trap t = run(S, raise_soft, 0);
    EXPECT(t.cause, ECALL_S);
    EXPECT(seen[0], INTERRUPT | IRQ_SSI);
    csr_clear(mip, BIT(IRQ_SSI));
    csr_write(mie, 0);
    csr_clear(mstatus, MSTATUS_SIE);
    // In U-mode it comes whatever sstatus.SIE says; in M-mode never.
    csr_set(mip, BIT(IRQ_SSI));
    csr_write(mie, BIT(IRQ_SSI));
    EXPECT(run(U, do_wfi, 0).cause, ECALL_S);
    EXPECT(seen[0], INTERRUPT | IRQ_SSI);
    EXPECT(seen[3] & MSTATUS_SPP, 0);
    interrupts_on();
    for (volatile u64 i = 0; i < 1000; i++) {}
    interrupts_off();
    csr_clear(mip, BIT(IRQ_SSI));
    csr_write(mie, 0);
    csr_write(mideleg, 0);
}

static void controls(void) {
    EXPECT(run(S, read_satp, 0).cause, RETURNED);
    EXPECT(run(S, do_sfence, 0).cause, RETURNED);
    csr_set(mstatus, MSTATUS_TVM);
    EXPECT(run(S, read_satp, 0).cause, ILLEGAL);
    EXPECT(run(S, do_sfence, 0).cause, ILLEGAL);
    csr_clear(mstatus, MSTATUS_TVM);
    // sret goes on at sepc, in U-mode, which then calls.
    struct trap t = run(S, do_sret, (u64)do_ecall);
    EXPECT(t.cause, ECALL_U);
    csr_set(mstatus, MSTATUS_TSR);
    EXPECT(run(S, do_sret, (u64)do_ecall).cause, ILLEGAL);
    csr_clear(mstatus, MSTATUS_TSR);
    csr_set(mstatus, MSTATUS_TW);
    EXPECT(run(S, do_wfi, 0).cause, ILLEGAL);
    csr_clear(mstatus, MSTATUS_TW);
}

void test(void) {
    exceptions();
    interrupts();
    controls();
}
