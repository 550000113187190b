// Quicksort of integers, small parts by insertion.
//
// group: integer
#define TIMES 7
#include "bench.h"

#define N 150000
#define ROUNDS 12

static i32 v[N];

APART static void insertion(i32 *a, i64 n) {
    for (i64 i = 1; i < n; i++) {
        i32 x = a[i];
        i64 j = i;
        for (; j && a[j - 1] > x; j--) a[j] = a[j - 1];
        a[j] = x;
    }
}

APART static void quicksort(i32 *a, i64 n) {
    while (n > 16) {
        i32 p = a[0], q = a[n / 2], r = a[n - 1];
        i32 pivot = p < q ? (q < r ? q : p < r ? r : p) : (p < r ? p : q < r ? r : q);
        i64 i = -1, j = n;
        for (;;) {
            while (a[++i] < pivot) {}
            while (a[--j] > pivot) {}
            if (i >= j) break;
            i32 t = a[i];
            a[i] = a[j];
            a[j] = t;
        }
        quicksort(a, j + 1);
        a += j + 1;
        n -= j + 1;
    }
    insertion(a, n);
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        for (u32 i = 0; i < N; i++) v[i] = (i32)random_next();
        quicksort(v, N);
        for (u32 i = 1; i < N; i++)
            if (v[i - 1] > v[i]) fail("not sorted");
        for (u32 i = 0; i < N; i += 97) sum = mix(sum, (u32)v[i]);
    }
    return sum;
}
