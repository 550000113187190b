// Code that the program makes itself, as a just-in-time compiler does: functions are written, made executable,
// called, and rewritten.
//
// group: own code
#define TIMES 2
#include "generate.h"

#define FUNCTIONS 64
#define ROOM 512
#define STEPS 40
#define ROUNDS 400
#define CALLS 40

static u64 work(void) {
    u8 *room = executable(FUNCTIONS * ROOM);
    u64 x = 1;
    for (u32 round = 0; round < ROUNDS; round++)
        for (u32 f = 0; f < FUNCTIONS; f++) {
            generate(room + f * ROOM, STEPS);
            for (u32 call = 0; call < CALLS; call++) x = call_at(room + f * ROOM, x) * 3;
        }
    munmap(room, FUNCTIONS * ROOM);
    return x;
}
