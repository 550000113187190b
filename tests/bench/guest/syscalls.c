// System calls that do next to nothing.
//
// group: system
#define TIMES 3
#include "bench.h"

#define CALLS 600000

static u64 work(void) {
    u64 same = 0;
    long parent = syscall(SYS_getppid);
    for (u32 i = 0; i < CALLS; i++) same += syscall(SYS_getppid) == parent;
    return same;
}
