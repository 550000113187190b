// SHA-256 of a megabyte, some times over (FIPS 180-4). The constants are computed: the first 32 bits of the
// fractional parts of square and cube roots of primes.
//
// group: integer
#define TIMES 5
#include "bench.h"

#define SIZE 65536
#define ROUNDS 40

static u32 k[64], start[8];
static u8 data[SIZE];

// The first 32 bits of the fraction of the `root`-th root of n, by bisection in integers.
static u32 root_fraction(u64 n, u32 root) {
    unsigned __int128 low = 0, high = (unsigned __int128)32 << 32;
    while (high - low > 1) {
        unsigned __int128 x = (low + high) / 2;
        // x is scaled by 2^32, so its square by 2^64 and its cube by 2^96.
        int above = root == 2 ? x * x > (unsigned __int128)n << 64 : x * x * x > (unsigned __int128)n << 96;
        if (above) high = x;
        else low = x;
    }
    return (u32)low;
}

static void make_constants(void) {
    u32 found = 0;
    for (u32 n = 2; found < 64; n++) {
        u32 prime = 1;
        for (u32 d = 2; d * d <= n; d++) prime &= n % d != 0;
        if (!prime) continue;
        if (found < 8) start[found] = root_fraction(n, 2);
        k[found++] = root_fraction(n, 3);
    }
}

static inline u32 rotate(u32 x, u32 n) { return x >> n | x << (32 - n); }

APART static void compress(u32 h[8], const u8 *block) {
    u32 w[64], s[8];
    for (u32 i = 0; i < 16; i++) {
        const u8 *p = block + 4 * i;
        w[i] = (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
    }
    for (u32 i = 16; i < 64; i++) {
        u32 x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    memcpy(s, h, sizeof s);
    for (u32 i = 0; i < 64; i++) {
        u32 e = s[4], a = s[0];
        u32 one = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (s[6] ^ (e & (s[5] ^ s[6]))) + k[i] + w[i];
        u32 two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & s[1]) | (s[2] & (a | s[1])));
        for (u32 j = 7; j; j--) s[j] = s[j - 1];
        s[4] += one;
        s[0] = one + two;
    }
    for (u32 i = 0; i < 8; i++) h[i] += s[i];
}

static u64 work(void) {
    u32 h[8];
    make_constants();
    if (k[0] != 0x428a2f98 || start[7] != 0x5be0cd19) fail("constants are wrong");
    memcpy(h, start, sizeof h);
    for (u32 i = 0; i < SIZE; i++) data[i] = (u8)random_next();
    for (u32 round = 0; round < ROUNDS; round++)
        for (u32 at = 0; at < SIZE; at += 64) compress(h, data + at);
    u64 sum = 0;
    for (u32 i = 0; i < 8; i++) sum = mix(sum, h[i]);
    return sum;
}
