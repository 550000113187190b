// Lock-free structures by LR/SC among four harts: counters of both widths and a stack with version numbers that
// keeps every node.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

#define N 4
#define ROUNDS 20000
#define NODES 64

static u64 count64;
static u32 count32[2];

static void add64(u64 *p, u64 n) {
    u64 t, failed;
    asm volatile("1: lr.d %0, (%2)\n add %0, %0, %3\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                 : "=&r"(t), "=&r"(failed) : "r"(p), "r"(n) : "memory");
}
static void add32(u32 *p, u64 n) {
    u64 t, failed;
    asm volatile("1: lr.w.aqrl %0, (%2)\n addw %0, %0, %3\n sc.w.rl %1, %0, (%2)\n bnez %1, 1b"
                 : "=&r"(t), "=&r"(failed) : "r"(p), "r"(n) : "memory");
}

// head: node index + 1 in the low 16 bits (0 = empty), version above.
static u64 head;
static u64 next_of[NODES];
static volatile u32 owned[NODES];

static int swap_head(u64 old, u64 new) {
    u64 seen, failed;
    asm volatile("1: lr.d.aq %0, (%2)\n bne %0, %3, 2f\n sc.d.rl %1, %4, (%2)\n bnez %1, 1b\n2:"
                 : "=&r"(seen), "=&r"(failed) : "r"(&head), "r"(old), "r"(new) : "memory");
    return seen == old;
}

static void push(u64 node) {
    u64 old;
    do {
        old = __atomic_load_n(&head, __ATOMIC_ACQUIRE);
        next_of[node] = old & 0xffff;
        fence();
    } while (!swap_head(old, ((old >> 16) + 1) << 16 | (node + 1)));
}

static i64 pop(void) {
    u64 old, top;
    do {
        old = __atomic_load_n(&head, __ATOMIC_ACQUIRE);
        top = old & 0xffff;
        if (!top) return -1;
    } while (!swap_head(old, ((old >> 16) + 1) << 16 | __atomic_load_n(&next_of[top - 1], __ATOMIC_RELAXED)));
    return (i64)top - 1;
}

static void play(u64 hart) {
    meet(N);
    for (u64 i = 0; i < ROUNDS; i++) {
        add64(&count64, i);
        add32(&count32[i & 1], 1);
    }
    meet(N);
    for (u64 node = hart; node < NODES; node += N) push(node);
    for (u64 i = 0; i < ROUNDS; i++) {
        i64 node = pop();
        if (node < 0) continue;
        EXPECT(__atomic_exchange_n(&owned[node], 1, __ATOMIC_ACQ_REL), 0);
        __atomic_store_n(&owned[node], 0, __ATOMIC_RELEASE);
        push((u64)node);
    }
    meet(N);
}

void test(void) {
    on_harts(N, play);
    EXPECT(count64, N * (ROUNDS * (ROUNDS - 1ul) / 2));
    EXPECT(count32[0] + count32[1], N * ROUNDS);
    u64 nodes = 0;
    while (pop() >= 0) nodes++;
    EXPECT(nodes, NODES);
}
