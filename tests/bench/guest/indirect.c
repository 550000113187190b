// Indirect calls: objects of several kinds behind a table of functions, and callbacks that change as it runs.
//
// group: integer
#define TIMES 5
#include "bench.h"

#define SHAPES 512
#define ROUNDS 20000

struct shape;
struct kind {
    u64 (*measure)(const struct shape *);
    void (*grow)(struct shape *, u64 by);
};
struct shape {
    const struct kind *kind;
    u64 a, b;
};

static u64 square_measure(const struct shape *s) { return s->a * s->a; }
static u64 box_measure(const struct shape *s) { return s->a * s->b; }
static u64 ring_measure(const struct shape *s) { return 3 * (s->a * s->a - s->b * s->b); }
static u64 line_measure(const struct shape *s) { return s->a + s->b; }
static void grow_a(struct shape *s, u64 by) { s->a += by; }
static void grow_both(struct shape *s, u64 by) { s->a += by, s->b ^= by; }
static void swap_sides(struct shape *s, u64 by) {
    u64 t = s->a + by;
    s->a = s->b;
    s->b = t;
}

static const struct kind kinds[] = {
    {square_measure, grow_a}, {box_measure, grow_both}, {ring_measure, swap_sides}, {line_measure, grow_a},
};

static struct shape shapes[SHAPES];

APART static u64 visit(u64 from, u64 step) {
    u64 sum = 0;
    for (u64 i = 0; i < 256; i++) {
        struct shape *s = &shapes[(from + i * step) % SHAPES];
        sum += s->kind->measure(s);
        s->kind->grow(s, sum & 7);
    }
    return sum;
}

static u64 work(void) {
    u64 sum = 0;
    for (u64 i = 0; i < SHAPES; i++) shapes[i] = (struct shape){&kinds[random_next() % 4], i, i / 2};
    for (u64 round = 0; round < ROUNDS; round++) {
        sum = mix(sum, visit(round, 2 * (round % 50) + 1));
        shapes[round % SHAPES].kind = &kinds[sum % 4];
    }
    return sum;
}
