// Litmus tests with the fences that forbid the odd outcome: message passing (MP), store buffering (SB), load
// buffering (LB), and coherent reads of one place (CoRR), two pairs of harts at once. Each round spins both
// harts of a pair to the same start.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// qemu: yes
#include "rt.h"

#define ROUNDS 3000
#define PAIRS 2

// One pair's variables, each on a cache line of its own.
static struct pair {
    volatile u64 x __attribute__((aligned(64)));
    volatile u64 y __attribute__((aligned(64)));
    volatile u64 go[2] __attribute__((aligned(64)));
    volatile u64 seen[2][2] __attribute__((aligned(64)));
} pairs[PAIRS];

static void sync_pair(struct pair *p, u64 me, u64 step) {
    fence();
    p->go[me] = step;
    while (p->go[!me] < step) {}
    fence();
}

struct litmus {
    const char *name;
    void (*part[2])(struct pair *p, volatile u64 *seen);
    int (*forbidden)(struct pair *p);
};

static void mp_write(struct pair *p, volatile u64 *seen) {
    (void)seen;
    p->x = 1;
    asm volatile("fence w, w" ::: "memory");
    p->y = 1;
}
static void mp_read(struct pair *p, volatile u64 *seen) {
    seen[0] = p->y;
    asm volatile("fence r, r" ::: "memory");
    seen[1] = p->x;
}
static int mp_forbidden(struct pair *p) { return p->seen[1][0] == 1 && p->seen[1][1] == 0; }

static void sb_x(struct pair *p, volatile u64 *seen) {
    p->x = 1;
    asm volatile("fence w, r" ::: "memory");
    seen[0] = p->y;
}
static void sb_y(struct pair *p, volatile u64 *seen) {
    p->y = 1;
    asm volatile("fence w, r" ::: "memory");
    seen[0] = p->x;
}
static int sb_forbidden(struct pair *p) { return p->seen[0][0] == 0 && p->seen[1][0] == 0; }

// The same by AMOs with both orderings, which are sequentially consistent among themselves.
static void sb_amo_x(struct pair *p, volatile u64 *seen) {
    u64 v;
    asm volatile("amoswap.d.aqrl zero, %1, (%2)\n amoor.d.aqrl %0, zero, (%3)"
                 : "=&r"(v) : "r"(1ul), "r"(&p->x), "r"(&p->y) : "memory");
    seen[0] = v;
}
static void sb_amo_y(struct pair *p, volatile u64 *seen) {
    u64 v;
    asm volatile("amoswap.d.aqrl zero, %1, (%2)\n amoor.d.aqrl %0, zero, (%3)"
                 : "=&r"(v) : "r"(1ul), "r"(&p->y), "r"(&p->x) : "memory");
    seen[0] = v;
}

static void lb_x(struct pair *p, volatile u64 *seen) {
    seen[0] = p->x;
    asm volatile("fence r, w" ::: "memory");
    p->y = 1;
}
static void lb_y(struct pair *p, volatile u64 *seen) {
    seen[0] = p->y;
    asm volatile("fence r, w" ::: "memory");
    p->x = 1;
}
static int lb_forbidden(struct pair *p) { return p->seen[0][0] == 1 && p->seen[1][0] == 1; }

static void corr_write(struct pair *p, volatile u64 *seen) {
    (void)seen;
    p->x = 1;
    p->x = 2;
}
static void corr_read(struct pair *p, volatile u64 *seen) {
    seen[0] = p->x;
    seen[1] = p->x;
}
static int corr_forbidden(struct pair *p) { return p->seen[1][0] > p->seen[1][1]; }

static const struct litmus tests[] = {
    {"MP", {mp_write, mp_read}, mp_forbidden},
    {"SB", {sb_x, sb_y}, sb_forbidden},
    {"SB by AMO", {sb_amo_x, sb_amo_y}, sb_forbidden},
    {"LB", {lb_x, lb_y}, lb_forbidden},
    {"CoRR", {corr_write, corr_read}, corr_forbidden},
};

static void play(u64 hart) {
    struct pair *p = &pairs[hart / 2];
    u64 me = hart & 1, step = 0;
    for (u64 t = 0; t < LENGTH(tests); t++)
        for (u64 round = 0; round < ROUNDS; round++) {
            if (me == 0) p->x = p->y = 0;
            sync_pair(p, me, ++step);
            tests[t].part[me](p, p->seen[me]);
            sync_pair(p, me, ++step);
            if (me == 0 && tests[t].forbidden(p)) {
                print("FAIL: %s, forbidden outcome in round %u\n", tests[t].name, round);
                finish(1);
            }
        }
}

void test(void) { on_harts(2 * PAIRS, play); }
