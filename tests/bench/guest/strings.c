// Strings and memory: copies of all alignments and sizes, lengths, searches and comparisons, byte by byte and by
// the C library.
//
// group: integer
#define TIMES 10
#include "bench.h"

#define SIZE 32768
#define ROUNDS 1000

static char a[SIZE], b[SIZE + 64];

APART static void copy_bytes(char *to, const char *from, u64 n) {
    for (u64 i = 0; i < n; i++) {
        to[i] = from[i];
        __asm__ volatile("" ::: "memory"); // stays a loop over bytes
    }
}

APART static u64 length(const char *s) {
    const char *p = s;
    while (*p) {
        p++;
        __asm__ volatile("");
    }
    return (u64)(p - s);
}

APART static u64 count(const char *s, char c) {
    u64 n = 0;
    for (; *s; s++) n += *s == c;
    return n;
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 i = 0; i + 1 < SIZE; i++) a[i] = (char)('a' + random_next() % 26);
    for (u32 round = 0; round < ROUNDS; round++) {
        u32 shift = round % 64, n = SIZE - 64 - round * 13 % 4096;
        memcpy(b + shift, a, n);
        copy_bytes(b + shift % 7, a + shift, n / 4);
        b[n] = 0;
        sum = mix(sum, length(b) + strlen(b + shift));
        sum = mix(sum, count(b, 'e') + (u64)(memchr(a + shift, 0, SIZE - shift) != NULL));
        sum = mix(sum, strcmp(a, b) < 0);
        memmove(a + 1, a, 2000);
        a[0] = b[round];
        sum = mix(sum, (u64)(strstr(a, "zyx") != NULL));
        for (u32 i = 0; i < 64; i++) memset(b + i * 100, (int)('b' + i % 20), i * 2);
    }
    return sum;
}
