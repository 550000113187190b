// A function in a page of its own that counts letters, into a table that lies DISTANCE behind it.
#include "generate.h"

#define LETTERS 4096
#define CALLS 8000

// Position-independent and without calls, so a copy of it runs anywhere. Not inlined, not changed.
APART static u64 count(u64 *table, const u8 *letters, u64 n) {
    u64 sum = 0;
    for (u64 i = 0; i < n; i++) {
        u64 *at = &table[letters[i] & 63];
        sum = sum * 31 + *at;
        *at += i;
    }
    return sum;
}
#define COUNT_BYTES 256

static u64 work(void) {
    u8 *room = executable(4 * 4096), letters[LETTERS];
    for (u32 i = 0; i < LETTERS; i++) letters[i] = (u8)random_next();
    memcpy(room, (const void *)count, COUNT_BYTES);
    __builtin___clear_cache((char *)room, (char *)room + COUNT_BYTES);
    u64 (*copy)(u64 *, const u8 *, u64) = (void *)room, sum = 0;
    for (u32 call = 0; call < CALLS; call++) sum = mix(sum, copy((u64 *)(room + DISTANCE), letters, LETTERS));
    munmap(room, 4 * 4096);
    return sum;
}
