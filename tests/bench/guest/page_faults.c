// Fresh pages: mapped, touched once each, unmapped.
//
// group: system
#define TIMES 5
#include "bench.h"

#define PAGES 1024
#define ROUNDS 24

static u64 work(void) {
    u64 sum = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        u8 *m = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED) fail("mmap");
        // A page each, also where the kernel would like to give larger ones.
        madvise(m, PAGES * 4096, MADV_NOHUGEPAGE);
        for (u32 page = 0; page < PAGES; page++) m[page * 4096] = (u8)page;
        for (u32 page = 0; page < PAGES; page += 7) sum += m[page * 4096];
        munmap(m, PAGES * 4096);
    }
    return sum;
}
