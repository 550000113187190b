// Pointer chase: one cycle through BYTES of memory in random order, a cache line a step.
#include "bench.h"

#define LINES (BYTES / 64)

static struct line {
    struct line *next;
    u64 rest[7];
} lines[LINES];
static u32 order[LINES];

APART static struct line *walk(struct line *at, u64 steps) {
    while (steps--) at = at->next;
    return at;
}

static u64 work(void) {
    for (u32 i = 0; i < LINES; i++) order[i] = i;
    for (u32 i = LINES - 1; i; i--) {
        u32 j = (u32)(random_next() % (i + 1)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (u32 i = 0; i < LINES; i++) lines[order[i]].next = &lines[order[(i + 1) % LINES]];
    return (u64)(walk(lines, STEPS) - lines);
}
