// Processes that are forked, touch some memory of their own, and end.
//
// group: system
#define TIMES 2
#include "bench.h"

#define FORKS 400
#define PAGES 64

static u8 memory[PAGES * 4096];

static u64 work(void) {
    u64 sum = 0;
    memset(memory, 1, sizeof memory);
    for (u32 i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            for (u32 page = 0; page < PAGES; page += 4) memory[page * 4096] = (u8)i;
            _exit(memory[(i * 4) % PAGES * 4096] & 0x7f);
        }
        int status;
        waitpid(child, &status, 0);
        sum = mix(sum, (u64)WEXITSTATUS(status));
    }
    return sum;
}
