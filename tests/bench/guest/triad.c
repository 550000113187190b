// The triad of vector benchmarks: a[i] = b[i] + s * c[i] over arrays larger than the caches.
//
// group: floating point
#define TIMES 4
#include "bench.h"

#define N 1000000
#define ROUNDS 30

static double a[N], b[N], c[N];

APART static void triad(double s) {
    for (u32 i = 0; i < N; i++) a[i] = b[i] + s * c[i];
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 i = 0; i < N; i++) b[i] = i % 1000, c[i] = 1.0 / (1 + i % 77);
    for (u32 round = 0; round < ROUNDS; round++) {
        triad(0.5 + round);
        sum = mix_double(sum, a[round * 31337 % N]);
        b[round] = a[N - 1 - round];
    }
    return sum;
}
