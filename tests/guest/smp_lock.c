// Locks: spin locks of LR/SC and of AMO swaps, and a ticket lock, each guarding plain data among four harts.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

#define N 4
#define ROUNDS 5000

static u32 lock;
static u32 next_ticket, serving;
static volatile u64 data[8];

static void lrsc_lock(void) {
    u32 t;
    asm volatile("1: lr.w.aq %0, (%1)\n bnez %0, 1b\n sc.w %0, %2, (%1)\n bnez %0, 1b"
                 : "=&r"(t) : "r"(&lock), "r"(1) : "memory");
}
static void unlock(void) { asm volatile("amoswap.w.rl zero, zero, (%0)" ::"r"(&lock) : "memory"); }
static void swap_lock(void) {
    u32 t;
    asm volatile("1: lw %0, 0(%1)\n bnez %0, 1b\n amoswap.w.aq %0, %2, (%1)\n bnez %0, 1b"
                 : "=&r"(t) : "r"(&lock), "r"(1) : "memory");
}
static void ticket_lock(void) {
    u32 mine = __atomic_fetch_add(&next_ticket, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != mine) relax();
}
static void ticket_unlock(void) { __atomic_store_n(&serving, serving + 1, __ATOMIC_RELEASE); }

// All eight words move together; a second hart inside would show.
static void work(void) {
    u64 v = data[0];
    for (u64 i = 0; i < LENGTH(data); i++) {
        EXPECT(data[i], v);
        data[i] = v + 1;
    }
}

static void play(u64 hart) {
    (void)hart;
    meet(N);
    for (u64 i = 0; i < ROUNDS; i++) lrsc_lock(), work(), unlock();
    meet(N);
    for (u64 i = 0; i < ROUNDS; i++) swap_lock(), work(), unlock();
    meet(N);
    for (u64 i = 0; i < ROUNDS / 10; i++) ticket_lock(), work(), ticket_unlock();
}

void test(void) {
    on_harts(N, play);
    EXPECT(data[0], N * (2 * ROUNDS + ROUNDS / 10));
}
