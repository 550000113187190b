// Recursive calls: Ackermann's function and the ways to tile a board, nothing but calls and returns.
//
// group: integer
#define TIMES 7
#include "bench.h"

APART static u64 ackermann(u64 m, u64 n) {
    if (m == 0) return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

// Queens that can be placed on a board of n columns, rows and diagonals as bit sets.
APART static u64 queens(u32 all, u32 columns, u32 left, u32 right) {
    if (columns == all) return 1;
    u64 ways = 0;
    for (u32 free = all & ~(columns | left | right); free; free &= free - 1) {
        u32 bit = free & -free;
        ways += queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return ways;
}

APART static u64 fibonacci(u64 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static u64 work(void) {
    u64 sum = mix(mix(0, ackermann(3, 9)), queens((1 << 10) - 1, 0, 0, 0));
    return mix(sum, fibonacci(33));
}
