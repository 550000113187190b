// AES-128 in counter mode by tables of 32-bit words (FIPS 197). The tables are computed.
//
// group: integer
#define TIMES 16
#include "bench.h"

#define BLOCKS 4096
#define ROUNDS 40

static u8 sbox[256];
static u32 table[4][256];
static u32 keys[44];

static u8 times2(u8 x) { return (u8)(x << 1 ^ (x & 0x80 ? 0x1b : 0)); }
static u32 rotate_left(u32 x, u32 n) { return n ? x << n | x >> (32 - n) : x; }

// Inverses by walking the field with the generator 3 and its inverse at once.
static void make_tables(void) {
    u8 p = 1, q = 1;
    do {
        p = (u8)(p ^ times2(p));
        q ^= (u8)(q << 1), q ^= (u8)(q << 2), q ^= (u8)(q << 4);
        if (q & 0x80) q ^= 0x09;
        u8 s = q;
        for (u32 i = 1; i < 5; i++) s ^= (u8)(q << i | q >> (8 - i));
        sbox[p] = s ^ 0x63;
    } while (p != 1);
    sbox[0] = 0x63;
    for (u32 i = 0; i < 256; i++) {
        u32 s = sbox[i], d = times2(sbox[i]), word = d << 24 | s << 16 | s << 8 | (s ^ d);
        for (u32 t = 0; t < 4; t++) table[t][i] = rotate_left(word, 32 - 8 * t);
    }
}

static void expand_key(const u32 key[4]) {
    u8 constant = 1;
    memcpy(keys, key, 16);
    for (u32 i = 4; i < 44; i++) {
        u32 t = keys[i - 1];
        if (i % 4 == 0) {
            t = rotate_left(t, 8);
            t = (u32)sbox[t >> 24] << 24 | (u32)sbox[t >> 16 & 255] << 16 | (u32)sbox[t >> 8 & 255] << 8 |
                sbox[t & 255];
            t ^= (u32)constant << 24;
            constant = times2(constant);
        }
        keys[i] = keys[i - 4] ^ t;
    }
}

APART static void encrypt(const u32 in[4], u32 out[4]) {
    u32 s[4], t[4];
    for (u32 i = 0; i < 4; i++) s[i] = in[i] ^ keys[i];
    for (u32 round = 1; round < 10; round++) {
        for (u32 i = 0; i < 4; i++)
            t[i] = table[0][s[i] >> 24] ^ table[1][s[(i + 1) & 3] >> 16 & 255] ^
                   table[2][s[(i + 2) & 3] >> 8 & 255] ^ table[3][s[(i + 3) & 3] & 255] ^ keys[4 * round + i];
        memcpy(s, t, sizeof s);
    }
    for (u32 i = 0; i < 4; i++)
        out[i] = ((u32)sbox[s[i] >> 24] << 24 | (u32)sbox[s[(i + 1) & 3] >> 16 & 255] << 16 |
                  (u32)sbox[s[(i + 2) & 3] >> 8 & 255] << 8 | sbox[s[(i + 3) & 3] & 255]) ^ keys[40 + i];
}

// Appendix B of the standard.
static void check(void) {
    static const u32 key[4] = {0x2b7e1516, 0x28aed2a6, 0xabf71588, 0x09cf4f3c};
    static const u32 in[4] = {0x3243f6a8, 0x885a308d, 0x313198a2, 0xe0370734};
    u32 out[4];
    expand_key(key);
    encrypt(in, out);
    if (out[0] != 0x3925841d || out[3] != 0x196a0b32) fail("AES is wrong");
}

static u64 work(void) {
    u32 counter[4] = {0}, out[4];
    u64 sum = 0;
    make_tables();
    check();
    for (u32 round = 0; round < ROUNDS * BLOCKS; round++) {
        counter[3]++;
        encrypt(counter, out);
        sum = mix(sum, (u64)out[0] << 32 | out[2]);
    }
    return sum;
}
