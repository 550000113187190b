// Planets by Newton's law and a leap-frog step: dependent double arithmetic with a root and a division each pair.
//
// group: floating point
#define TIMES 4
#include "bench.h"

#define BODIES 6
#define STEPS 200000

static struct body {
    double at[3], speed[3], mass;
} bodies[BODIES];

APART static void step(double dt) {
    for (u32 i = 0; i < BODIES; i++)
        for (u32 j = i + 1; j < BODIES; j++) {
            struct body *p = &bodies[i], *q = &bodies[j];
            double d[3], square = 0.01;
            for (u32 k = 0; k < 3; k++) d[k] = p->at[k] - q->at[k], square += d[k] * d[k];
            double pull = dt / (square * __builtin_sqrt(square));
            for (u32 k = 0; k < 3; k++) p->speed[k] -= d[k] * q->mass * pull, q->speed[k] += d[k] * p->mass * pull;
        }
    for (u32 i = 0; i < BODIES; i++)
        for (u32 k = 0; k < 3; k++) bodies[i].at[k] += dt * bodies[i].speed[k];
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 i = 0; i < BODIES; i++) {
        bodies[i].mass = i ? 0.001 * i : 1;
        for (u32 k = 0; k < 3; k++) bodies[i].at[k] = i * (1.5 - k), bodies[i].speed[k] = i ? 0.1 * (k + 1.0) / i : 0;
    }
    for (u32 i = 0; i < STEPS; i++) step(0.002);
    for (u32 i = 0; i < BODIES; i++)
        for (u32 k = 0; k < 3; k++) sum = mix_double(sum, bodies[i].at[k]);
    return sum;
}
