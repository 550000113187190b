// Integer matrix product by the textbook's three loops, the second matrix read by columns.
//
// group: integer
#define TIMES 12
#include "bench.h"

#define N 120
#define ROUNDS 30

static i32 a[N][N], b[N][N], c[N][N];

APART static void multiply(void) {
    for (u32 i = 0; i < N; i++)
        for (u32 j = 0; j < N; j++) {
            i32 s = 0;
            for (u32 k = 0; k < N; k++) s += a[i][k] * b[k][j];
            c[i][j] = s;
        }
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 i = 0; i < N; i++)
        for (u32 j = 0; j < N; j++) a[i][j] = (i32)(random_next() % 201) - 100, b[i][j] = (i32)(i * j % 31);
    for (u32 round = 0; round < ROUNDS; round++) {
        multiply();
        for (u32 i = 0; i < N; i++) sum = mix(sum, (u32)c[i][(i * 7 + round) % N]);
        a[round % N][round * 3 % N] = c[round % N][0] % 100;
    }
    return sum;
}
