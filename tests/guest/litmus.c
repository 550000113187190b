// Litmus tests of RVWMO, with what forbids the odd outcome: MP, SB, LB, S, R, 2+2W and CoRR on two harts while
// the others sleep, so that a small host runs both at a time; then WRC and IRIW on four. The orders are those of
// fences, of AMOs and of LR/SC.
//
// Harts walk side by side through an array of variables, a set for each round. In a round they wait for each other
// for a moment only, until all are there at the array's end: so the loops are hot, and a hart that is not running
// holds nobody up for long.
//
// entry: M
// modes: all
// machine: cpus=4 memory=32M
// exit: 0
// prints: all orders kept
// qemu: yes
#include "rt.h"

#define HARTS_HERE 4
#define BATCH 2048
#define BATCHES 6
#define PATIENCE 256

// The variables of one round; accesses by `s` are checked together where the engine does such things.
struct slot {
    u64 x __attribute__((aligned(64)));
    u64 y __attribute__((aligned(64)));
    struct {
        u64 a, b;
    } seen[HARTS_HERE] __attribute__((aligned(64)));
};

static struct slot slots[BATCH];
// Where each hart is.
static struct {
    volatile u64 step __attribute__((aligned(64)));
    volatile u64 round;
} at[HARTS_HERE];

typedef void part(struct slot *s, u64 me);
struct litmus {
    const char *name;
    u64 harts;
    part *parts[HARTS_HERE];
    int (*odd)(const struct slot *s);
    int allowed; // odd as it is, it is no fault: it shows that harts do meet
};

#define PART(name, text)                                                                                     \
    static void name(struct slot *s, u64 me) {                                                               \
        u64 a = 0, b = 0, t;                                                                                 \
        asm volatile(text                                                                                    \
                     : [a] "+&r"(a), [b] "+&r"(b), [t] "=&r"(t)                                              \
                     : [s] "r"(s), [x] "r"(&s->x), [y] "r"(&s->y), [one] "r"(1ul), [two] "r"(2ul)            \
                     : "memory");                                                                            \
        s->seen[me].a = a;                                                                                   \
        s->seen[me].b = b;                                                                                   \
    }
#define ODD(name, what)                                                                                      \
    static int name(const struct slot *s) { return what; }
#define A(hart) s->seen[hart].a
#define B(hart) s->seen[hart].b

#define X "0(%[s])"
#define Y "64(%[s])"
#define SET(place, v) "sd %[" v "], " place "\n"
#define GET(v, place) "ld %[" v "], " place "\n"
#define FENCE(order) "fence " order "\n"
#define SWAP(bits, place, v) "amoswap.d" bits " zero, %[" v "], (%[" place "])\n"
#define OR(bits, v, place) "amoor.d" bits " %[" v "], zero, (%[" place "])\n"
#define LR(bits, v, place) "lr.d" bits " %[" v "], (%[" place "])\n"
#define SC(bits, place, v)                                                                                   \
    "1: lr.d %[t], (%[" place "])\n sc.d" bits " %[t], %[" v "], (%[" place "])\n bnez %[t], 1b\n"

PART(idle, "")

// Message passing. The third reads the place beforehand, the fourth writes it: what is known of it is old by then.
ODD(mp, A(1) == 1 && B(1) == 0)
PART(mp_set, SET(X, "one") FENCE("w, w") SET(Y, "one"))
PART(mp_get, GET("a", Y) FENCE("r, r") GET("b", X))
PART(mp_get_again, GET("t", X) GET("a", Y) FENCE("r, r") GET("b", X))
PART(mp_set_tso, SET(X, "one") "fence.tso\n" SET(Y, "one"))
PART(mp_get_tso, GET("a", Y) "fence.tso\n" GET("b", X))
PART(mp_set_amo, SET(X, "one") SWAP(".rl", "y", "one"))
PART(mp_get_amo, GET("t", X) OR(".aq", "a", "y") GET("b", X))
PART(mp_set_sc, SET(X, "one") SC(".rl", "y", "one"))
PART(mp_get_lr, GET("t", X) LR(".aq", "a", "y") GET("b", X))

// Store buffering.
ODD(sb, A(0) == 0 && A(1) == 0)
PART(sb0_bare, SET(X, "one") GET("a", Y))
PART(sb1_bare, SET(Y, "one") GET("a", X))
PART(sb0, SET(X, "one") FENCE("w, r") GET("a", Y))
PART(sb1, SET(Y, "one") FENCE("w, r") GET("a", X))
PART(sb0_full, GET("t", Y) SET(X, "one") FENCE("rw, rw") GET("a", Y))
PART(sb1_full, GET("t", X) SET(Y, "one") FENCE("iorw, iorw") GET("a", X))
PART(sb0_amo, SWAP(".aqrl", "x", "one") OR(".aqrl", "a", "y"))
PART(sb1_amo, SWAP(".aqrl", "y", "one") OR(".aqrl", "a", "x"))
PART(sb0_pair, SWAP(".rl", "x", "one") OR(".aq", "a", "y"))
PART(sb1_pair, SWAP(".rl", "y", "one") OR(".aq", "a", "x"))
PART(sb0_aq, SWAP(".aq", "x", "one") GET("a", Y))
PART(sb1_aq, SWAP(".aq", "y", "one") GET("a", X))
PART(sb0_rl, SET(X, "one") OR(".rl", "a", "y"))
PART(sb1_rl, SET(Y, "one") "amomax.d.rl %[a], zero, (%[x])\n")
PART(sb0_sc, SC(".aqrl", "x", "one") GET("a", Y))
PART(sb1_sc, SC(".aqrl", "y", "one") GET("a", X))
PART(sb0_sc_lr, SC(".rl", "x", "one") LR(".aq", "a", "y"))
PART(sb1_sc_lr, SC(".rl", "y", "one") LR(".aq", "a", "x"))
PART(sb0_lr, SET(X, "one") LR(".aqrl", "a", "y"))
PART(sb1_lr, SET(Y, "one") LR(".aqrl", "a", "x"))

// Load buffering.
ODD(lb, A(0) == 1 && A(1) == 1)
PART(lb0, GET("a", X) FENCE("r, w") SET(Y, "one"))
PART(lb1, GET("a", Y) FENCE("r, w") SET(X, "one"))
PART(lb0_amo, OR(".aq", "a", "x") SET(Y, "one"))
PART(lb1_amo, GET("a", Y) SWAP(".rl", "x", "one"))
PART(lb0_lr, LR(".aq", "a", "x") SET(Y, "one"))
PART(lb1_sc, GET("a", Y) SC(".rl", "x", "one"))

// S, R and 2+2W: the order of stores to one place.
ODD(s_, A(1) == 1 && s->x == 2)
PART(s0, SET(X, "two") FENCE("w, w") SET(Y, "one"))
PART(s1, GET("a", Y) FENCE("r, w") SET(X, "one"))
PART(s0_amo, SET(X, "two") SWAP(".rl", "y", "one"))
PART(s1_amo, OR(".aq", "a", "y") SET(X, "one"))
ODD(r_, s->y == 2 && A(1) == 0)
PART(r0, SET(X, "one") FENCE("w, w") SET(Y, "one"))
PART(r1, SET(Y, "two") FENCE("w, r") GET("a", X))
PART(r0_amo, SET(X, "one") SWAP(".rl", "y", "one"))
PART(r1_amo, SWAP(".aq", "y", "two") GET("a", X))
ODD(w22, s->x == 1 && s->y == 1)
PART(w22_0, SET(X, "one") FENCE("w, w") SET(Y, "two"))
PART(w22_1, SET(Y, "one") FENCE("w, w") SET(X, "two"))
PART(w22_0_amo, SET(X, "one") SWAP(".rl", "y", "two"))
PART(w22_1_sc, SET(Y, "one") SC(".rl", "x", "two"))

// One place is read in one order, by one register or by two.
ODD(corr, A(1) > B(1))
PART(corr_set, SET(X, "one") SET(X, "two"))
PART(corr_get, GET("a", X) GET("b", X))
PART(corr_get_two, GET("t", X) "ld %[a], (%[x])\n" GET("b", X))

// Three and four harts: a store is seen by all others at once.
ODD(wrc, A(1) == 1 && A(2) == 1 && B(2) == 0)
PART(set_x, SET(X, "one"))
PART(set_y, SET(Y, "one"))
PART(wrc1, GET("a", X) FENCE("r, w") SET(Y, "one"))
PART(wrc2, GET("t", X) GET("a", Y) FENCE("r, r") GET("b", X))
PART(wrc1_amo, GET("a", X) SWAP(".rl", "y", "one"))
PART(wrc2_lr, LR(".aq", "a", "y") GET("b", X))
ODD(iriw, A(2) == 1 && B(2) == 0 && A(3) == 1 && B(3) == 0)
PART(iriw2, GET("a", X) FENCE("r, r") GET("b", Y))
PART(iriw3, GET("a", Y) FENCE("r, r") GET("b", X))
PART(iriw2_lr, LR(".aq", "a", "x") GET("b", Y))
PART(iriw3_amo, OR(".aq", "a", "y") GET("b", X))
PART(set_x_amo, SWAP("", "x", "one"))
PART(set_y_sc, SC("", "y", "one"))

static const struct litmus tests[] = {
    {"SB without fences", 2, {sb0_bare, sb1_bare}, sb, 1},
    {"SB, fence w,r", 2, {sb0, sb1}, sb, 0},
    {"SB, fence rw,rw", 2, {sb0_full, sb1_full}, sb, 0},
    {"SB, amo.aqrl", 2, {sb0_amo, sb1_amo}, sb, 0},
    {"SB, amo.rl amo.aq", 2, {sb0_pair, sb1_pair}, sb, 0},
    {"SB, amo.aq", 2, {sb0_aq, sb1_aq}, sb, 0},
    {"SB, amo.rl", 2, {sb0_rl, sb1_rl}, sb, 0},
    {"SB, sc.aqrl", 2, {sb0_sc, sb1_sc}, sb, 0},
    {"SB, sc.rl lr.aq", 2, {sb0_sc_lr, sb1_sc_lr}, sb, 0},
    {"SB, lr.aqrl", 2, {sb0_lr, sb1_lr}, sb, 0},
    {"MP, fences", 2, {mp_set, mp_get}, mp, 0},
    {"MP, fences, read before", 2, {mp_set, mp_get_again}, mp, 0},
    {"MP, fence.tso", 2, {mp_set_tso, mp_get_tso}, mp, 0},
    {"MP, amo.rl amo.aq", 2, {mp_set_amo, mp_get_amo}, mp, 0},
    {"MP, sc.rl lr.aq", 2, {mp_set_sc, mp_get_lr}, mp, 0},
    {"LB, fences", 2, {lb0, lb1}, lb, 0},
    {"LB, amo.aq amo.rl", 2, {lb0_amo, lb1_amo}, lb, 0},
    {"LB, lr.aq sc.rl", 2, {lb0_lr, lb1_sc}, lb, 0},
    {"S, fences", 2, {s0, s1}, s_, 0},
    {"S, amo.rl amo.aq", 2, {s0_amo, s1_amo}, s_, 0},
    {"R, fences", 2, {r0, r1}, r_, 0},
    {"R, amo.rl amo.aq", 2, {r0_amo, r1_amo}, r_, 0},
    {"2+2W, fences", 2, {w22_0, w22_1}, w22, 0},
    {"2+2W, amo.rl sc.rl", 2, {w22_0_amo, w22_1_sc}, w22, 0},
    {"CoRR", 2, {corr_set, corr_get}, corr, 0},
    {"CoRR, two registers", 2, {corr_set, corr_get_two}, corr, 0},
    {"WRC, fences", 4, {set_x, wrc1, wrc2, idle}, wrc, 0},
    {"WRC, amo.rl lr.aq", 4, {set_x_amo, wrc1_amo, wrc2_lr, idle}, wrc, 0},
    {"IRIW, fences", 4, {set_x, set_y, iriw2, iriw3}, iriw, 0},
    {"IRIW, lr.aq amo.aq", 4, {set_x_amo, set_y_sc, iriw2_lr, iriw3_amo}, iriw, 0},
};

static void sync(u64 me, u64 count, u64 step) {
    fence();
    at[me].step = step;
    for (u64 other = 0; other < count; other++)
        while (at[other].step < step) relax();
    fence();
}

// All rounds of one batch. A hart waits for its neighbour in each, but loses patience if that does not come.
static void walk(u64 me, u64 count, part *act, u64 round) {
    u64 neighbour = me + 1 == count ? 0 : me + 1, patience = PATIENCE;
    for (u64 i = 0; i < BATCH; i++) {
        at[me].round = ++round;
        for (u64 n = 0; n < patience && at[neighbour].round < round; n++) {}
        patience = at[neighbour].round < round ? patience / 2 : PATIENCE;
        act(&slots[i], me);
    }
}

// How many outcomes of a batch are odd; all is as it was before the first round again.
static u64 look(const struct litmus *t) {
    u64 odd = 0;
    for (u64 i = 0; i < BATCH; i++) {
        odd += t->odd(&slots[i]) != 0;
        slots[i] = (struct slot){0};
    }
    if (odd && !t->allowed) {
        print("FAIL: %s: %u forbidden outcomes of %u\n", t->name, odd, (u64)BATCH);
        finish(1);
    }
    return odd;
}

static void sleep_until_called(u64 hart) {
    csr_set(mie, BIT(IRQ_MSI));
    while (!MSIP(hart)) wfi();
}

static void play(u64 hart) {
    u64 step = 0, awake = 2;
    if (hart >= awake) sleep_until_called(hart);
    for (const struct litmus *t = tests; t < tests + LENGTH(tests); t++) {
        if (hart >= t->harts) {
            step += 2 * BATCHES;
            continue;
        }
        for (; hart == 0 && awake < t->harts; awake++) MSIP(awake) = 1;
        u64 odd = 0;
        for (u64 batch = 0; batch < BATCHES; batch++) {
            sync(hart, t->harts, ++step);
            walk(hart, t->harts, t->parts[hart], step * BATCH);
            sync(hart, t->harts, ++step);
            if (hart == 0) odd += look(t);
        }
        if (t->allowed && hart == 0) print("%s: %u of %u\n", t->name, odd, (u64)(BATCH * BATCHES));
    }
}

void test(void) {
    on_harts(HARTS_HERE, play);
    print("all orders kept\n");
}
