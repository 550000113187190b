// The sieve of Eratosthenes over a byte array that fits no first-level cache.
//
// group: integer
#define TIMES 1
#include "bench.h"

#define LIMIT 2000000
#define ROUNDS 8

static u8 composite[LIMIT];

APART static u64 primes(void) {
    u64 count = 0;
    memset(composite, 0, sizeof composite);
    for (u32 i = 2; i < LIMIT; i++) {
        if (composite[i]) continue;
        count++;
        for (u32 j = 2 * i; j < LIMIT; j += i) composite[j] = 1;
    }
    return count;
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 round = 0; round < ROUNDS; round++) sum = mix(sum, primes());
    return sum;
}
