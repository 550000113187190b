// Twenty thousand functions that the program generates, each called a few times: what translating costs.
//
// group: own code
#define TIMES 4
#include "generate.h"

#define FUNCTIONS 20000
#define ROOM 256
#define STEPS 24
#define CALLS 10

static u64 work(void) {
    u8 *room = executable(FUNCTIONS * ROOM);
    u64 x = 1;
    for (u32 f = 0; f < FUNCTIONS; f++) generate(room + f * ROOM, STEPS);
    for (u32 call = 0; call < CALLS; call++)
        for (u32 f = 0; f < FUNCTIONS; f++) x = call_at(room + f * ROOM, x) * 3;
    munmap(room, FUNCTIONS * ROOM);
    return x;
}
