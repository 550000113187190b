// Iterations of z = z * z + c over a grid: double arithmetic with a compare and a branch each step.
//
// group: floating point
#define TIMES 4
#include "bench.h"

#define WIDTH 640
#define DEPTH 150

APART static u32 escape(double cr, double ci) {
    double r = 0, i = 0;
    u32 n = 0;
    while (n < DEPTH && r * r + i * i <= 4) {
        double t = r * r - i * i + cr;
        i = 2 * r * i + ci;
        r = t;
        n++;
    }
    return n;
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 y = 0; y < WIDTH; y++)
        for (u32 x = 0; x < WIDTH; x++) sum += escape(3.0 * x / WIDTH - 2.25, 2.4 * y / WIDTH - 1.2);
    return sum;
}
