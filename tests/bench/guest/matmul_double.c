// Product of matrices of doubles in 4 × 4 tiles.
//
// group: floating point
#define TIMES 6
#include "bench.h"

#define N 160
#define ROUNDS 6

static double a[N][N], b[N][N], c[N][N];

APART static void tile(u32 i, u32 j) {
    double sum[4][4] = {{0}};
    for (u32 k = 0; k < N; k++)
        for (u32 x = 0; x < 4; x++)
            for (u32 y = 0; y < 4; y++) sum[x][y] += a[i + x][k] * b[k][j + y];
    for (u32 x = 0; x < 4; x++)
        for (u32 y = 0; y < 4; y++) c[i + x][j + y] = sum[x][y];
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 i = 0; i < N; i++)
        for (u32 j = 0; j < N; j++) a[i][j] = (double)(i + 1) / (j + 3), b[i][j] = (double)(i * j % 17) - 8;
    for (u32 round = 0; round < ROUNDS; round++) {
        for (u32 i = 0; i < N; i += 4)
            for (u32 j = 0; j < N; j += 4) tile(i, j);
        sum = mix_double(sum, c[round][N - 1 - round]);
        a[round][round] = c[round][0] / 1024;
    }
    return sum;
}
